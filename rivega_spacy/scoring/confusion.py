"""What was taken for what: types against types, and which posts went worst and best."""

from collections.abc import Sequence
from dataclasses import dataclass

from .matching import Group, MatchOptions, Pair
from .tasks import Scores

MISSED = "not found"
SPURIOUS = "not in gold"
# The most telling task that could be scored decides which posts are worst.
_RANKED_BY = ("smner", "gmner", "mner")


def confuse_types(groups: Sequence[Group], options: MatchOptions) -> dict[tuple[str, str], int]:
    """Gold types against predicted types.

    groups (Sequence[Group]): `Scores.groups`.
    options (MatchOptions): The type mapping.
    RETURNS (Dict[Tuple[str, str], int]): Count by (gold, predicted); `MISSED` stands for no prediction, `SPURIOUS` for no gold.
        Within a group (one place, or one text) equal types are paired first.
    """
    table: dict[tuple[str, str], int] = {}
    for group in groups:
        pairs = group.count(_same_type)
        pairs += _leftover_pairs(group, pairs)
        cells = [(options.type_of(group.gold[gold]), options.type_of(group.predicted[ours])) for ours, gold in pairs]
        used_ours, used_gold = {ours for ours, _ in pairs}, {gold for _, gold in pairs}
        cells += [(SPURIOUS, options.type_of(m)) for place, m in enumerate(group.predicted) if place not in used_ours]
        cells += [(options.type_of(m), MISSED) for place, m in enumerate(group.gold) if place not in used_gold]
        for cell in cells:
            table[cell] = table.get(cell, 0) + 1
    return table


def _same_type(pair: Pair) -> bool:
    return pair.same_type


def _leftover_pairs(group: Group, pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    ours = [place for place in range(len(group.predicted)) if place not in {left for left, _ in pairs}]
    gold = [place for place in range(len(group.gold)) if place not in {right for _, right in pairs}]
    return list(zip(ours, gold))


@dataclass(frozen=True)
class RankedPost:
    """A post and how it went.

    post (str): Its id.
    right (int), predicted (int), gold (int): Counts of the task it was ranked by.
    """

    post: str
    right: int
    predicted: int
    gold: int

    @property
    def errors(self) -> int:
        """Wrong predictions and gold entities that were not found."""
        return self.predicted + self.gold - 2 * self.right


def rank_posts(scores: Scores) -> tuple[str | None, list[RankedPost]]:
    """Posts from worst to best.

    scores (Scores): From `score`.
    RETURNS (Tuple[Optional[str], List[RankedPost]]): The task they are ranked by (SMNER, GMNER or MNER), and the posts that have
        or were given entities: most errors first, among the faultless those with the fewest entities first.
    """
    task = next((name for name in _RANKED_BY if name in scores.tasks), None)
    if task is None:
        return None, []
    rows = scores.tasks[task].per_post
    posts = [RankedPost(post, *(int(x) for x in row)) for post, row in zip(scores.posts, rows) if row[1] or row[2]]
    return task, sorted(posts, key=lambda post: (-post.errors, post.right))
