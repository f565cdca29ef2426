"""Which prediction is held against which gold entity: the two matching rules, and one-to-one matching."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

from ..post.boxes import box_iou, pair_iou
from ..post.errors import Errors, RivegaError
from ..post.rle import rle_iou
from .mentions import Annotations, Mention, Offsets

RULES = ("offset", "text", "entry")
TYPES = ("raw", "folded", "none")
COMPARISONS = (">=", ">")
# Twitter-2017 says MISC for what Twitter-2015 and Twitter-GMNER call OTHER; "folded" takes them as one type.
FOLDED_TYPES = {"MISC": "OTHER"}


@dataclass(frozen=True)
class MatchOptions:
    """When a prediction is right.

    rule (str): "offset": the same place in the text; "text": the same surface text in the same post, as often as gold has it
        (the rule of the paper's own script); "entry": the same place, against gold as a list of one-box entries (entries.py).
    types (str): "raw" as written; "folded" with MISC taken as OTHER; "none" ignores types everywhere.
    iou (float): Threshold that box and mask have to reach.
    comparison (str): ">=" (the paper's script) or ">" (the paper's prose).
    RAISES (RivegaError): E510 for any other value.
    """

    rule: str = "offset"
    types: str = "folded"
    iou: float = 0.5
    comparison: str = ">="

    def __post_init__(self) -> None:
        for option, known in (("rule", RULES), ("types", TYPES), ("comparison", COMPARISONS)):
            if getattr(self, option) not in known:
                raise RivegaError(Errors.E510.format(option=option, value=getattr(self, option), known=", ".join(known)))
        if not 0.0 <= self.iou <= 1.0:
            raise RivegaError(Errors.E511.format(value=self.iou))

    def type_of(self, mention: Mention) -> str:
        """The type that is compared."""
        if self.types == "none":
            return ""
        return FOLDED_TYPES.get(mention.type, mention.type) if self.types == "folded" else mention.type

    def reaches(self, iou: float, threshold: float | None = None) -> bool:
        """Whether an IoU is enough.

        iou (float): 0..1.
        threshold (Optional[float]): Instead of `self.iou`.
        """
        limit = self.iou if threshold is None else threshold
        return iou >= limit if self.comparison == ">=" else iou > limit


class Pair(NamedTuple):
    """One prediction beside one gold entity of the same place or text.

    predicted (int), gold (int): Their places within the group.
    same_type (bool): Under the options' type mapping.
    box_iou (Optional[float]): Best IoU of the predicted box with any gold one; None if either side has none.
    mask_iou (Optional[float]): The same for masks.
    """

    predicted: int
    gold: int
    same_type: bool
    box_iou: float | None
    mask_iou: float | None


@dataclass
class Group:
    """All predictions and gold entities of one place (rule `offset`) or one text (rule `text`) of one post.

    post (str): Id of the post.
    predicted (List[Mention]), gold (List[Mention]): Either may be empty.
    pairs (List[Pair]): Every prediction with every gold entity.
    """

    post: str
    predicted: list[Mention]
    gold: list[Mention]
    pairs: list[Pair]

    def count(self, accept: Callable[[Pair], bool]) -> list[tuple[int, int]]:
        """The most pairs that are acceptable with each prediction and each gold entity used once.

        accept (Callable[[Pair], bool]): Whether a pair is right.
        RETURNS (List[Tuple[int, int]]): Places of prediction and gold entity of each pair of a largest matching.
        """
        if len(self.pairs) == 1:
            return [(0, 0)] if accept(self.pairs[0]) else []
        edges: dict[int, list[int]] = {}
        for pair in self.pairs:
            if accept(pair):
                edges.setdefault(pair.predicted, []).append(pair.gold)
        return largest_matching(edges)

    def alignment(self) -> Iterator[tuple[int, Mention, Mention]]:
        """Each prediction with the gold entity that has the same place in the group.

        Where there are more predictions than gold entities the last one stands for the rest: judging a prediction's own
        claim (entailment, box, mask) takes nothing away from another's.
        YIELDS (Tuple[int, Mention, Mention]): Number of the pair in `pairs`, prediction, gold entity.
        """
        for place, mention in enumerate(self.predicted):
            if self.gold:
                gold = min(place, len(self.gold) - 1)
                yield place * len(self.gold) + gold, mention, self.gold[gold]


def largest_matching(edges: dict[int, list[int]]) -> list[tuple[int, int]]:
    """A largest one-to-one matching, by augmenting paths.

    edges (Dict[int, List[int]]): For each left node the right nodes it may be matched with.
    RETURNS (List[Tuple[int, int]]): Matched (left, right) pairs.
    """
    owner: dict[int, int] = {}

    def place(left: int, tried: set[int]) -> bool:
        for right in edges[left]:
            if right not in tried:
                tried.add(right)
                if right not in owner or place(owner[right], tried):
                    owner[right] = left
                    return True
        return False

    for left in edges:
        place(left, set())
    return sorted((left, right) for right, left in owner.items())


def make_groups(predicted: Annotations, gold: Annotations, options: MatchOptions) -> list[Group]:
    """Lay predictions and gold entities side by side.

    predicted (Annotations), gold (Annotations): Two annotations of the same posts.
    options (MatchOptions): The rule, and what types are the same.
    RETURNS (List[Group]): In the order of gold's posts, posts that gold does not know last.
    RAISES (RivegaError): E512 if rule `offset` finds no unit (tokens, characters) that both sides have.
    """
    key = _make_key(predicted, gold, options.rule)
    places = aligned_places(predicted, gold) if key is _by_chars else {}
    groups: list[Group] = []
    for post in [*gold.posts, *(post for post in predicted.posts if post not in gold.posts)]:
        sides: dict[Hashable, tuple[list[Mention], list[Mention]]] = {}
        for side, source in enumerate((predicted, gold)):
            for place, mention in enumerate(source.posts.get(post, ())):
                # Without a place in the text nothing can be the same: such an entity stands alone.
                name: Any = key(mention)
                if name is not None and post in places:
                    name = places[post][side](name)
                name = ("nowhere", side, place) if name is None else name
                sides.setdefault(name, ([], []))[side].append(mention)
        for ours, theirs in sides.values():
            groups.append(Group(post, ours, theirs, _make_pairs(ours, theirs, options)))
    return groups


def aligned_places(predicted: Annotations, gold: Annotations) -> dict[str, tuple[Callable[[Offsets], Offsets], ...]]:
    """Places in texts that differ in nothing but blanks: how many other characters stand before them.

    predicted (Annotations), gold (Annotations): Two annotations of the same posts.
    RETURNS (Dict[str, Tuple[Callable, Callable]]): For posts whose text has other blanks on either side, from a place in the predictions'
        text, and from one in gold's, to one that both share.
    """
    found: dict[str, tuple[Callable[[Offsets], Offsets], ...]] = {}
    for post, ours in predicted.texts.items():
        theirs = gold.texts.get(post, ours)
        if ours != theirs and same_but_blanks(ours, theirs):
            found[post] = (_without_blanks(ours), _without_blanks(theirs))
    return found


def same_but_blanks(one: str, other: str) -> bool:
    """Whether two texts hold the same characters in the same order, blanks aside."""
    return "".join(one.split()) == "".join(other.split())


def _without_blanks(text: str) -> Callable[[Offsets], Offsets]:
    before = [0, *accumulate(not sign.isspace() for sign in text)]

    def move(place: Offsets) -> Offsets:
        start, end = (before[min(max(side, 0), len(text))] for side in place)
        return start, end

    return move


def _make_key(predicted: Annotations, gold: Annotations, rule: str) -> Callable[[Mention], Hashable | None]:
    if rule == "text":
        return _by_text
    units = [unit for unit in predicted.units() if unit in gold.units()]
    if not units:
        ours, theirs = "/".join(predicted.units()) or "no", "/".join(gold.units()) or "no"
        raise RivegaError(Errors.E512.format(predicted=ours, gold=theirs))
    # Characters first: they mean the same place however each side cut the text into tokens.
    return _by_chars if "chars" in units else _by_tokens


def _by_text(mention: Mention) -> Hashable:
    return mention.text


def _by_tokens(mention: Mention) -> Hashable | None:
    return mention.tokens


def _by_chars(mention: Mention) -> Hashable | None:
    return mention.chars


def _make_pairs(predicted: Sequence[Mention], gold: Sequence[Mention], options: MatchOptions) -> list[Pair]:
    pairs = []
    for i, ours in enumerate(predicted):
        for j, theirs in enumerate(gold):
            pairs.append(
                Pair(
                    i, j, options.type_of(ours) == options.type_of(theirs), best_box_iou(ours, theirs), best_mask_iou(ours, theirs)
                )
            )
    return pairs


def best_box_iou(predicted: Mention, gold: Mention) -> float | None:
    """Best IoU of the prediction's box with any gold one; None if either side has no box."""
    box = predicted.box
    if box is None or not gold.boxes:
        return None
    if len(gold.boxes) == 1:
        return pair_iou(box, gold.boxes[0])
    return float(box_iou([box], gold.boxes).max())


def best_mask_iou(predicted: Mention, gold: Mention) -> float | None:
    """Best IoU of the prediction's mask with any gold one, on the run lengths; None if either side has no mask.

    A mask of another size than the gold one belongs to another picture (or another scale of it) and overlaps nothing.
    """
    mask = predicted.mask
    if mask is None or not gold.masks:
        return None
    size = list(mask["size"])
    return max((rle_iou(mask, other) if list(other["size"]) == size else 0.0) for other in gold.masks)
