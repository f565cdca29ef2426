"""What a data set holds, counted as the paper counts it: Tables II and III, Figure 4, and what a detector misses."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from spacy.tokens import Doc

from ..corpus.sources import source_names
from ..post.boxes import box_iou
from ..post.extensions import ID_KEY, all_masks
from .candidates import Candidates

NONE, ONE, SEVERAL = "none", "one", "several"


@dataclass
class Counted:
    """Counts of a set of posts.

    posts (int), entities (int): All of them.
    groundable (int): Entities with a box (or a mask, if there are no boxes): the positive VE pairs, and the VG pairs.
    boxes (int), masks (int): Different ones of each post, named by an entity. Two entities of one name share theirs.
    pairs (int): Entities of which something is said: VE pairs.
    mixed (int), mixed_pairs (int), mixed_shown (int): Examples, VE and VG pairs, with every language model's answers read apart (Mix).
    missed (int): Groundable entities of which no candidate box covers any box.
    by_type (Dict[str, List[int]]): Entities, and groundable ones, by type.
    pictures (Counter): Posts with no region, one, or several.
    """

    posts: int = 0
    entities: int = 0
    groundable: int = 0
    boxes: int = 0
    masks: int = 0
    pairs: int = 0
    mixed: int = 0
    mixed_pairs: int = 0
    mixed_shown: int = 0
    missed: int = 0
    by_type: dict[str, list[int]] = field(default_factory=dict)
    pictures: Counter[str] = field(default_factory=Counter)

    def add(self, doc: Doc, candidates: Candidates | None = None, iou: float = 0.5) -> None:
        """Count a gold post. candidates (Optional[Candidates]): Boxes of a detector; iou (float): What covers."""
        times = max(1, len(source_names(doc)))
        boxes: dict[str, list[Any]] = {}
        masks: dict[str, list[Any]] = {}
        self.posts += 1
        self.mixed += times
        for ent in doc.ents:
            found, drawn = list(ent._.boxes), all_masks(ent)
            shown = bool(found or drawn)
            boxes[ent.text], masks[ent.text] = found, drawn
            self.entities += 1
            self.groundable += shown
            self.pairs += shown or ent._.groundable is not None
            self.mixed_pairs += times * (shown or ent._.groundable is not None)
            self.mixed_shown += times * shown
            row = self.by_type.setdefault(ent.label_, [0, 0])
            row[0] += 1
            row[1] += shown
            if candidates is not None and found:
                known = candidates.get(str(doc.user_data.get(ID_KEY, "")))
                self.missed += known is None or not len(known) or float(box_iou(known, found).max()) < iou
        self.boxes += sum(map(len, boxes.values()))
        self.masks += sum(map(len, masks.values()))
        regions = sum(map(len, (masks if any(masks.values()) else boxes).values()))
        self.pictures[NONE if not regions else ONE if regions == 1 else SEVERAL] += 1

    def take(self, other: "Counted") -> None:
        """Add the counts of another set."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for label, (entities, shown) in other.by_type.items():
            row = self.by_type.setdefault(label, [0, 0])
            self.by_type[label] = [row[0] + entities, row[1] + shown]
        self.pictures.update(other.pictures)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        types = {label: {"entities": row[0], "groundable": row[1]} for label, row in sorted(self.by_type.items())}
        return {**{name: getattr(self, name) for name in _NUMBERS}, "by_type": types, "pictures": dict(self.pictures)}


_NUMBERS = ("posts", "entities", "groundable", "boxes", "masks", "pairs", "mixed", "mixed_pairs", "mixed_shown", "missed")


def count(docs: Iterable[Doc], candidates: Candidates | None = None, iou: float = 0.5) -> Counted:
    """Counts of posts. docs (Iterable[Doc]): Gold posts; candidates, iou: See `Counted.add`."""
    result = Counted()
    for doc in docs:
        result.add(doc, candidates, iou)
    return result


def statistics(splits: dict[str, Counted], others: dict[str, dict[str, Counted]], *, detector: bool = False) -> dict[str, Any]:
    """The figures of the paper's tables from the counts of the splits.

    splits (Dict[str, Counted]): Of Twitter-GMNER: "train", "dev", "test", as far as they are there.
    others (Dict[str, Dict[str, Counted]]): The same of Twitter-2015 ("T15") and Twitter-2017 ("T17").
    detector (bool): Whether candidate boxes were given.
    RETURNS (Dict[str, Any]): `splits` (with "total"; `masks` is None if no post of any split has one: they were not given), `sizes`
        (split -> column of Table III -> number; "+" is Mix, which only training has), `pictures` (shares of posts with no region, one, several; 0..1), `by_type`, and `missed` with a detector.
    """
    total = Counted()
    for counted in splits.values():
        total.take(counted)
    every = {**splits, "total": total}
    sizes: dict[str, dict[str, int]] = {name: {} for name in every}
    for column, parts in (("GMNER", splits), *others.items()):
        _fill(sizes, column, parts, "posts", "mixed")
    for column, plain, mixed in (("VE", "pairs", "mixed_pairs"), ("VG", "groundable", "mixed_shown")):
        _fill(sizes, column, splits, plain, mixed)
    result: dict[str, Any] = {
        "splits": {name: _without_masks(counted.to_dict(), total) for name, counted in every.items()},
        "sizes": sizes,
        "pictures": {kind: total.pictures[kind] / total.posts if total.posts else 0.0 for kind in (NONE, ONE, SEVERAL)},
        "by_type": total.to_dict()["by_type"],
    }
    if detector:
        result["missed"] = {
            name: {
                "not groundable": counted.entities - counted.groundable,
                "groundable": counted.groundable,
                "not groundable, with misses": counted.entities - counted.groundable + counted.missed,
                "groundable, without misses": counted.groundable - counted.missed,
            }
            for name, counted in every.items()
        }
    return result


def _without_masks(row: dict[str, Any], total: Counted) -> dict[str, Any]:
    return row if total.masks else {**row, "masks": None}


def _fill(sizes: dict[str, dict[str, int]], column: str, parts: dict[str, Counted], plain: str, mixed: str) -> None:
    """One column of Table III, and the one with a plus: of training posts every answer counts, of others one."""
    for name, value, sign in [
        *((name, getattr(counted, plain), "") for name, counted in parts.items()),
        *((name, getattr(counted, mixed if name == "train" else plain), "+") for name, counted in parts.items()),
    ]:
        sizes.setdefault(name, {})[column + sign] = value
    for sign in ("", "+"):
        sizes["total"][column + sign] = sum(sizes[name][column + sign] for name in parts)


def lines(result: dict[str, Any]) -> Iterator[str]:
    """The statistics as text."""
    columns = ("posts", "entities", "groundable", "boxes", "masks", "pairs")
    yield f"{'':8}" + "".join(f"{column:>12}" for column in columns)
    for name, row in result["splits"].items():
        yield f"{name:8}" + "".join(f"{'–' if row[column] is None else row[column]:>12}" for column in columns)
    yield ""
    shown = list(next(iter(result["sizes"].values()), {}))
    yield f"{'':8}" + "".join(f"{column:>8}" for column in shown)
    for name, row in result["sizes"].items():
        yield f"{name:8}" + "".join(f"{row.get(column, 0):8d}" for column in shown)
    yield ""
    yield "pictures with no region, one, several: " + ", ".join(f"{100 * share:.1f} %" for share in result["pictures"].values())
    for label, row in result["by_type"].items():
        yield f"{label}: {row['groundable']} of {row['entities']} groundable"
    for name, row in result.get("missed", {}).items():
        yield f"{name}: " + ", ".join(f"{key} {value}" for key, value in row.items())


__all__ = ["Counted", "count", "lines", "statistics"]
