"""Posts as `rivega annotate` writes and a person corrects them, and as README has them: text with `ents`, back into training data."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import spacy

from ...ner.schemes import TaggedSpan, bio_tags, fits_tag
from ...post.extensions import TEXT_FIELDS
from ...post.given_ents import Place, entity_fields, entity_place, unused_fields
from ...post.post_files import Post
from ...post.rle import rle_to_box
from ..posts_jsonl import read_json_lines
from ..sources import EXPANSIONS_FIELD
from .dirt import Dirt


@dataclass
class _Entity:
    """number (int): Its place in the post's own list. place (Place): Where it stands. fields (Dict): What else is said of it."""

    number: int
    place: Place
    fields: dict[str, Any]


def read_annotated(path: str | Path, dirt: Dirt, *, lang: str = "rivega") -> Iterator[Post]:
    """Posts of a file.

    path (Union[str, Path]): JSON lines with `text`; optional `ents` ([start_char, end_char, label] or the objects that `rivega annotate`
        writes), `expansions` (one for each of `ents`), `id`, `image`, `knowledge`, `caption`, `description`.
    dirt (Dirt): Takes what does not fit.
    lang (str): Language class whose tokenizer makes the tokens. A token in which an entity begins or ends is cut there.
    YIELDS (Dict[str, Any]): The post's own fields, with `id`, `tokens`, `spaces` (whether a blank follows each token), `tags`, and
        `ents` as objects of what is used: `start`, `end`, `label`, `expansion`, `groundable`, `boxes`, `mask_rle`, `masks`.
    """
    rows = ((f"{path}, line {number}", str(number), row) for number, row in read_json_lines(path))
    yield from annotated_posts(rows, dirt, lang=lang)


def annotated_posts(rows: Iterable[tuple[str, str, Post]], dirt: Dirt, *, lang: str = "rivega") -> Iterator[Post]:
    """The same for posts of that form wherever they come from.

    rows (Iterable[Tuple[str, str, Dict[str, Any]]]): Where a post stands, for messages; its id if it has none itself; the post.
    dirt (Dirt), lang (str): As above.
    """
    tokenizer = spacy.blank(lang).tokenizer
    for where, number, row in rows:
        name = number if row.get("id") is None else str(row["id"])
        text = row.get("text")
        if not isinstance(text, str):
            dirt.note("bad_post", where)
            continue
        for field in unused_fields(row, "ents"):
            dirt.note("unused_entities", f"{name} `{field}`")
        if row.get("errors"):
            dirt.note("with_errors", name)
        wrong = [field for field in TEXT_FIELDS if not isinstance(row.get(field), str | None)]
        for field in wrong:
            dirt.note("bad_field", f"{name} `{field}`: a string or null")
        row = {key: value for key, value in row.items() if key not in wrong}
        entities = _entities(row, text, name, dirt)
        words, spaces, starts = _words(tokenizer(text), [side for entity in entities for side in entity.place[:2]])
        first = {start: place for place, start in enumerate(starts)}
        ends = {start + len(word): place + 1 for place, (start, word) in enumerate(zip(starts, words))}
        tagged = [TaggedSpan(first[entity.place.start], ends[entity.place.end], entity.place.label) for entity in entities]
        whole = {side for token in tokenizer(text) for side in (token.idx, token.idx + len(token))}
        for entity in entities:
            if not {entity.place.start, entity.place.end} <= whole:
                dirt.note("split_token", f"{name} {text[entity.place.start : entity.place.end]!r}")
        yield {
            **{key: value for key, value in row.items() if key not in ("errors", "expansions")},
            "id": name,
            "tokens": words,
            "spaces": spaces,
            "tags": bio_tags(tagged, len(words)),
            "ents": [{**dict(zip(("start", "end", "label"), entity.place)), **entity.fields} for entity in entities],
            **_by_model(row, [entity.number for entity in entities]),
        }


def _entities(row: Post, text: str, name: str, dirt: Dirt) -> list[_Entity]:
    """The entities that can be used, in the order of the text."""
    given = row.get("ents")
    if given is None:
        return []
    if not isinstance(given, list):
        dirt.note("bad_entity", f"{name} {given!r:.60}")
        return []
    expansions = row.get("expansions")
    if expansions is not None and not (isinstance(expansions, list) and len(expansions) == len(given)):
        dirt.note("bad_field", f"{name} `expansions`: one is needed for each of `ents`")
        expansions = None
    found: list[_Entity] = []
    for number, value in enumerate(given):
        place = entity_place(value, text)
        place = None if place is None else _trimmed(place, text)
        if (
            place is None
            or not fits_tag(place.label)
            or any(place.start < other.place.end and other.place.start < place.end for other in found)
        ):
            dirt.note("bad_entity", f"{name} {value!r:.60}")
            continue
        what = f"{name} {text[place.start : place.end]!r}"
        if place.moved:
            dirt.note("moved_entity", what)
        fields = entity_fields(value, lambda key, wanted: dirt.note("bad_field", f"{what} `{key}`: {wanted}"))
        if expansions is not None and isinstance(expansions[number], str):
            fields["expansion"] = expansions[number]
        elif expansions is not None and expansions[number] is not None:
            dirt.note("bad_field", f"{what} `expansions`: a string or null")
        found.append(_Entity(number, place, _settled(fields, value, what, dirt)))
    return sorted(found, key=lambda entity: entity.place.start)


def _trimmed(place: Place, text: str) -> Place:
    """Without blanks at its rims."""
    inner = text[place.start : place.end]
    left, right = len(inner) - len(inner.lstrip()), len(inner) - len(inner.rstrip())
    return place._replace(start=place.start + left, end=place.end - right)


def _settled(fields: dict[str, Any], value: Any, what: str, dirt: Dirt) -> dict[str, Any]:
    """What of an entity's object is learnt from; where its parts contradict each other, what counts."""
    boxes = fields.get("boxes", [])
    if fields.get("groundable") is False and (boxes or "mask_rle" in fields):
        dirt.note("not_shown", what)
        boxes = []
        fields = {key: kept for key, kept in fields.items() if key not in ("boxes", "mask_rle", "masks")}
    one = value.get("box") if isinstance(value, dict) else None
    if boxes and one is not None and list(one) not in boxes:
        dirt.note("other_box", what)
    if not boxes and "mask_rle" in fields:
        fields["boxes"] = boxes = [rle_to_box(mask) for mask in fields.get("masks", [fields["mask_rle"]])]
    if boxes:
        fields["groundable"] = True
    used = ("expansion", "groundable", "boxes", "mask_rle", "masks")
    return {key: fields[key] for key in used if key in fields}


def _by_model(row: Post, kept: list[int]) -> Post:
    """Expansions of several models stay in step with the entities that are left."""
    lists = row.get(EXPANSIONS_FIELD)
    count = len(row["ents"]) if isinstance(row.get("ents"), list) else 0
    if not isinstance(lists, dict):
        return {}
    return {
        EXPANSIONS_FIELD: {
            name: [values[n] for n in kept] for name, values in lists.items() if isinstance(values, list) and len(values) == count
        }
    }


def _words(tokens: Any, borders: list[int]) -> tuple[list[str], list[bool], list[int]]:
    """Tokens of a text, cut at the borders of entities: words, whether a blank follows each, where each begins."""
    words: list[str] = []
    spaces: list[bool] = []
    starts: list[int] = []
    for token in tokens:
        end = token.idx + len(token.text)
        cuts = sorted({token.idx, end, *(border for border in borders if token.idx < border < end)})
        for start, stop in zip(cuts, cuts[1:]):
            words.append(token.text[start - token.idx : stop - token.idx])
            spaces.append(stop == end and bool(token.whitespace_))
            starts.append(start)
    return words, spaces, starts


def own_regions(post: Post, *, boxes: bool, masks: bool) -> list[dict[str, Any]] | None:
    """The entities of a post without the regions that come from another source.

    post (Dict[str, Any]): As `read_annotated` yields it, or any other.
    boxes (bool): Boxes, and with them judgements and masks, come from elsewhere. masks (bool): Masks do.
    RETURNS (Optional[List[Dict[str, Any]]]): `ents`; None if the post has none in that form.
    """
    ents = post.get("ents")
    if "spaces" not in post or not isinstance(ents, list):
        return None
    left_out = ("groundable", "boxes", "mask_rle", "masks") if boxes else ("mask_rle", "masks") if masks else ()
    return [{key: value for key, value in ent.items() if key not in left_out} for ent in ents]
