"""Entities that were in the training posts, and those that were not: a tagger that only remembers does well on the first alone."""

from collections.abc import Iterable
from dataclasses import replace

from .entries import one_box_entries
from .matching import FOLDED_TYPES, MatchOptions
from .mentions import Annotations, Mention
from .tasks import Scores, score

SEEN, UNSEEN = "seen", "unseen"
Known = set[tuple[str, str]]


def known_names(mentions: Iterable[Mention]) -> Known:
    """Text and type of all entities of training posts. mentions (Iterable[Mention]): They."""
    return {(_text(mention.text), FOLDED_TYPES.get(mention.type, mention.type)) for mention in mentions}


def score_by_novelty(predicted: Annotations, gold: Annotations, known: Known, options: MatchOptions) -> dict[str, Scores]:
    """Scores of the entities that training has, and of those that it has not.

    predicted (Annotations), gold (Annotations): As for `score`.
    known (Set[Tuple[str, str]]): From `known_names`.
    options (MatchOptions): The rules.
    RETURNS (Dict[str, Scores]): "seen" and "unseen". A gold entity is seen where training has its text, upper and lower case alike, under
        the same type. A prediction goes with the gold entity of its place, else by its own text and type; so each counts in one part only.
    """
    if options.rule == "entry":
        # What is an entry shows only beside all entities of its post.
        gold, options = one_box_entries(gold), replace(options, rule="offset")
    place = {(m.post, where): _is_known(m, known) for m in gold.mentions for where in (m.tokens, m.chars, m.text)}

    def seen(mention: Mention) -> bool:
        for where in (mention.tokens, mention.chars, mention.text):
            if where is not None and (mention.post, where) in place:
                return place[mention.post, where]
        return _is_known(mention, known)

    found = {}
    for name, wanted in ((SEEN, True), (UNSEEN, False)):
        sides = [
            replace(side, posts={post: [m for m in mentions if seen(m) is wanted] for post, mentions in side.posts.items()})
            for side in (predicted, gold)
        ]
        found[name] = score(sides[0], sides[1], options)
    return found


def _is_known(mention: Mention, known: Known) -> bool:
    return (_text(mention.text), FOLDED_TYPES.get(mention.type, mention.type)) in known


def _text(text: str) -> str:
    return " ".join(text.split()).casefold()


__all__ = ["SEEN", "UNSEEN", "known_names", "score_by_novelty"]
