"""What was found in posts, one entity a line, as a table in plain text."""

import unicodedata
from collections.abc import Sequence

from spacy.tokens import Doc, Span

from ..post.rle import rle_area
from .expected import PostCheck


def entity_table(docs: Sequence[Doc], checks: dict[str, PostCheck]) -> str:
    """What was found, one entity a line.

    docs (Sequence[Doc]): Processed posts.
    checks (Dict[str, PostCheck]): Comparison with what is expected, by post id; may be empty.
    RETURNS (str): A table in plain text.
    """
    rows = [["post", "entity", "type", "tagger", "expansion", "in picture", "box", "mask"]]
    if checks:
        rows[0].append("as expected?")
    for number, doc in enumerate(docs, start=1):
        name = str(doc.user_data.get("id") or number)
        check = checks.get(name)
        for ent in doc.ents:
            row = [name, ent.text, ent.label_, _score(ent._.ner_score), ent._.expansion or "-", _seen(ent), _box(ent), _mask(ent)]
            if checks:
                verdict = check.verdicts.get((ent.start_char, ent.end_char)) if check else None
                row.append("-" if verdict is None else "yes" if verdict.right else f"NO: {verdict.reason}")
            rows.append(row)
        for text in check.missed if check else []:
            rows.append([name, text, *["-"] * 6, "NO: not found in the text"])
        if not doc.ents and not (check and check.missed):
            rows.append([name, "(none)", *["-"] * (len(rows[0]) - 2)])
    cells = [[_short(cell) for cell in row[:-1]] + [row[-1]] for row in rows]
    widths = [max(_width(row[column]) for row in cells) for column in range(len(rows[0]))]
    lines = ["  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths)).rstrip() for row in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _seen(ent: Span) -> str:
    if ent._.groundable is None:
        return "not judged"
    return f"{'yes' if ent._.groundable else 'no'} {_score(ent._.groundable_score)}"


def _box(ent: Span) -> str:
    return "-" if ent._.box is None else " ".join(f"{side:.0f}" for side in ent._.box)


def _mask(ent: Span) -> str:
    if ent._.mask_rle is None:
        return "-"
    height, width = ent._.mask_rle["size"]
    area = rle_area(ent._.mask_rle)
    return f"{area} px ({area / (height * width):.0%})"


def _short(text: str, limit: int = 32) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _width(text: str) -> int:
    """Columns a terminal needs: two for East Asian letters and emoji, none for marks."""
    return sum(0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)
