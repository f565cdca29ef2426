"""Annotated posts beside Twitter-GMNER's training split: Twitter-2015 and Twitter-2017 posts that are in none of its splits.

Every Twitter-GMNER post comes from one of the two, so what is taken is chosen by id and, because the same words were posted more than once,
by text: nothing whose words stand in dev or test gets through. Tokens and tags are brought to Twitter-GMNER's form ("#" and "@"
stand alone and outside the entity, the last link is cut off). The knowledge recorded for Twitter-2017 is another answer than that for Twitter-GMNER:
training posts that have both are written once more with it (the paper's Mix).
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..corpus.posts_jsonl import read_json_lines

_LINK = re.compile(r"https?:")


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of compact JSON lines."""
    return [row for _, row in read_json_lines(path)]


def in_gmner_form(tokens: list[str], tags: list[str]) -> tuple[list[str], list[str]]:
    """Tokens and BIO tags as Twitter-GMNER writes them."""
    pairs = list(zip(tokens, (tag.replace("MISC", "OTHER") for tag in tags)))
    if pairs and _LINK.match(pairs[-1][0]):
        pairs.pop()
    result: list[tuple[str, str]] = []
    for token, tag in pairs:
        if len(token) > 1 and token[0] in "@#":
            result += [(token[0], tag if tag[0] == "I" else "O"), (token[1:], tag)]
        elif token.startswith(("http://t.co/", "https://t.co/")):
            head, tail = token.split("co/", 1)
            result += [(head, tag), ("co/" + tail, "I" + tag[1:] if tag[0] == "B" else tag)]
        else:
            result.append((token, tag))
    return [token for token, _ in result], [tag for _, tag in result]


def words(tokens: list[str]) -> str:
    """What two posts with the same words have in common: letters and digits without links."""
    return re.sub(r"\W", "", " ".join(token for token in tokens if not token.startswith(("http", "co/"))).lower())


def more_posts(folder: Path) -> Iterator[dict[str, Any]]:
    """YIELDS (Dict): Rows for `rivega convert`."""
    splits = {name: read(folder / f"twitter_gmner_{name}.jsonl.gz") for name in ("train", "dev", "test")}
    known = {row["id"] for rows in splits.values() for row in rows}
    measured = {words(row["tokens"]) for name in ("dev", "test") for row in splits[name]}
    seen = {words(row["tokens"]) for row in splits["train"]}
    training = {row["id"]: row for row in splits["train"]}
    for year in ("2015", "2017"):
        for part in ("train", "valid", "test"):
            knowledge = {row["id"]: row["knowledge"] for row in read(folder / f"twitter{year}_{part}_knowledge.jsonl.gz")}
            for row in read(folder / f"twitter{year}_{part}.jsonl.gz"):
                z = knowledge.get(row["id"]) or ""
                twin = training.get(row["id"])
                if twin is not None and z and z != twin["knowledge"]:
                    yield {"id": f"{row['id']}-mix", "tokens": twin["tokens"], "tags": twin["tags"], "knowledge": z}
                if row["id"] in known:
                    continue
                tokens, tags = in_gmner_form(row["tokens"], row["tags"])
                if tokens and words(tokens) not in measured and words(tokens) not in seen:
                    seen.add(words(tokens))
                    yield {"id": row["id"], "tokens": tokens, "tags": tags, "knowledge": z}
