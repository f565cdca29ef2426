"""Gold as SAKE and its like count it: a list of entries of one box each (arXiv 2604.20146).

On the 1,500 test posts of Twitter-GMNER v2.0 it has 2,703 entries, 2,497 distinct (start, end, type), where the offsets of this package
give 2,543 entities. Both numbers come out exactly when two things are done: an entity with several boxes stands once for each of them,
and an entity that begins at the token where another one ends is not read.
"""

from dataclasses import replace

from .mentions import Annotations, Mention


def one_box_entries(gold: Annotations) -> Annotations:
    """The gold annotations as entries.

    gold (Annotations): As read; not changed.
    RETURNS (Annotations): Entities that follow another one without a token between them left out (one that follows such a one stays); of
        several boxes one an entry, with the mask of the same place where there are as many masks as boxes, else with all masks.
    """
    result = replace(gold, posts={}, notes=list(gold.notes))
    for post, mentions in gold.posts.items():
        result.add_post(post)
        for mention in _read(mentions, gold.texts.get(post, "")):
            for entry in _entries(mention):
                result.add(entry)
    distinct = {(m.post, m.tokens or m.chars, m.type) for m in result.mentions}
    result.notes.append(f"gold as entries of one box: {len(result.mentions)}, of which {len(distinct)} differ in place or type")
    return result


def _read(mentions: list[Mention], text: str) -> list[Mention]:
    kept: list[Mention] = []
    for mention in sorted(mentions, key=lambda mention: mention.tokens or mention.chars or (0, 0)):
        if not kept or not _adjacent(kept[-1], mention, text):
            kept.append(mention)
    return kept


def _adjacent(first: Mention, second: Mention, text: str) -> bool:
    if first.tokens is not None and second.tokens is not None:
        return first.tokens[1] == second.tokens[0]
    if first.chars is not None and second.chars is not None:
        return not text[first.chars[1] : second.chars[0]].strip() and first.chars[1] <= second.chars[0]
    return False


def _entries(mention: Mention) -> list[Mention]:
    if len(mention.boxes) < 2:
        return [mention]
    paired = len(mention.masks) == len(mention.boxes)
    return [
        replace(mention, boxes=(box,), masks=(mention.masks[place],) if paired else mention.masks)
        for place, box in enumerate(mention.boxes)
    ]


__all__ = ["one_box_entries"]
