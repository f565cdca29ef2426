"""Photographs with boxes: the annotation files, which photo may be used for what, and a reader for `spacy train`."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends.small.phrases.bank import GROUPS, Phrase, PhraseBank, load_bank
from ..backends.small.phrases.open import related
from ..post.errors import Errors, RivegaError
from ..post.jsonl import read_lines

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc
    from spacy.training import Example

# The data sets by the beginnings of their folders' names, the longest first. In the first three, a kind that they annotate and that
# a photo has no box of is not in the photo; the others name what a photo is about and no more.
SOURCES = {
    "voc2012": "voc2012",
    "voc": "voc",
    "ccp": "ccp",
    "coco_lightly": "coco_lightly",
    "coco": "coco",
    **{
        name: name
        for name in [
            "ecssd",
            "sod_bsd",
            "gulshan151",
            "davis16",
            "football_match",
            "camvid_streets",
            "human290",
            "caltech101_cutouts",
            "caltech101_photos",
            "flickrlogos27",
            "shop_signs",
            "road_signs",
            "fod_tools",
            "places_by_eye",
            "imagenet_1000",
            "grocery",
        ]
    },
}
VOC_KINDS = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]
_COCO_NAMES = {
    "airplane": "aeroplane",
    "motorcycle": "motorbike",
    "couch": "sofa",
    "tv": "tvmonitor",
    "potted plant": "pottedplant",
    "dining table": "diningtable",
    "monitor": "tvmonitor",
}
# Street photographs of dressed people, where nothing but the person is annotated: what is certainly not in them.
_NOT_IN_CCP = {
    "aeroplane",
    "bird",
    "boat",
    "bus",
    "cat",
    "cow",
    "horse",
    "sheep",
    "sofa",
    "train",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "oven",
    "sink",
}
# Kinds that VOC does not annotate and that its photos hardly hold.
_NOT_IN_VOC = {"elephant", "bear", "zebra", "giraffe", "snowboard", "surfboard", "broccoli", "donut", "toilet"} | {"stop sign"}
SPLITS = ("train", "dev", "heldout")
ANY_SIGN = "shop sign or logo"


@dataclass(frozen=True)
class Photo:
    """One annotated photograph.

    source (str): A value of SOURCES.
    id (str): As its data set has it.
    path (Path): The stored JPEG.
    kinds (Tuple[str, ...]): Kind of each object (names of the phrase bank).
    boxes (np.ndarray): N x 4 float, XYXY pixels of the stored JPEG, half-open.
    hard (np.ndarray): N bool: marked difficult, or a crowd.
    labels (Tuple[str, ...]): Kinds that it shows, no one says where.
    """

    source: str
    id: str
    path: Path
    kinds: tuple[str, ...]
    boxes: np.ndarray
    hard: np.ndarray
    labels: tuple[str, ...] = ()

    def knows(self, kind: str) -> bool:
        """Whether no box of this kind means that there is none in the photo."""
        return kind not in self.maybe_shown

    @property
    def maybe_shown(self) -> frozenset[str]:
        """FrozenSet[str]: Kinds that it may show although it has no box of them."""
        return _maybe_shown(self.source, frozenset((*self.kinds, *self.labels)))


# Of the kinds that photographs are rarely annotated with, one cannot say that a photo without a box has none.
_EVERYWHERE = {
    "person",
    "car",
    "bird",
    "bottle",
    "chair",
    "pottedplant",
    "diningtable",
    "tvmonitor",
    "sofa",
    "boat",
    "animal",
    "vehicle",
}


@lru_cache(maxsize=1)
def _relations() -> dict[str, list[str]]:
    return related(load_bank().open)


@cache
def _maybe_shown(source: str, named: frozenset[str]) -> frozenset[str]:
    bank = load_bank()
    annotates = source in ("voc", "voc2012", "coco", "coco_lightly")
    words = {word for kind in named for word in kind.lower().split()}
    parents = {parent for kind in named for parent in keys_of(kind)}
    close = {other for kind in named for other in _relations().get(kind, ())}
    maybe = set()
    for name, kind in bank.open.items():
        everyday = kind.common or kind.person or (source == "shop_signs" and kind.label == "ORG")
        # Street photographs of dressed people hold clothes and bags of all kinds.
        everyday = everyday or (source == "ccp" and not kind.parents)
        if kind.person and annotates:
            everyday = "person" in named
        nearly: Any = name in close or words & set(name.lower().split()) or named & set(kind.parents)
        # A "dog" may be any of its breeds, and a breed any other one.
        nearly = nearly or (parents & set(kind.parents)) - {"animal", "vehicle"}
        nearly = nearly or (parents & set(kind.parents) and not annotates and not close)
        if everyday or nearly:
            maybe.add(name)
    if source in ("coco", "coco_lightly"):
        return frozenset(maybe)
    if source in ("voc", "voc2012"):
        return frozenset(maybe | {kind for kind in bank.kinds if kind not in (*VOC_KINDS, *GROUPS, *_NOT_IN_VOC)})
    if source == "ccp":
        return frozenset(maybe | {kind for kind in bank.kinds if kind not in _NOT_IN_CCP})
    for name in bank.kinds:
        mine = {name, *GROUPS.get(name, ())}
        rare = bool(mine & _NOT_IN_CCP) or name in _NOT_IN_VOC or name in ("motorbike", "bicycle", "truck", "dog")
        if name in _EVERYWHERE or not rare or words & mine or parents & mine:
            maybe.add(name)
    return frozenset(maybe)


def split_of(source: str, photo_id: str) -> str:
    """Which split a photo belongs to: of all sets but COCO, ids divisible by five are held out for measuring.

    source (str): A value of SOURCES.
    photo_id (str): Its id.
    RETURNS (str): "heldout", "dev" (a slice of the rest, for choices) or "train".
    """
    number = int(photo_id)
    if source != "coco" and number % 5 == 0:
        return "heldout"
    return "dev" if number % 20 == 1 else "train"


def read_photos(folder: Path, split: str, *, bank: PhraseBank) -> list[Photo]:
    """Read the annotations of all photo folders.

    folder (Path): Holds folders named as in SOURCES, each with annotations.jsonl and images/.
    split (str): "train", "dev" or "heldout".
    bank (PhraseBank): Whose kinds are kept.
    RETURNS (List[Photo]): The photos of the split, in the order of the files.
    RAISES (RivegaError): If there is no such folder, or no such split.
    """
    if split not in SPLITS:
        raise RivegaError(Errors.E202.format(split=split, splits=", ".join(SPLITS)))
    files = sorted(Path(folder).glob("*/annotations.jsonl"))
    photos: list[Photo] = []
    for file in files:
        source = next((s for start, s in SOURCES.items() if file.parent.name.startswith(start)), None)
        if source is None:
            continue
        for number, row in read_lines(file):
            if isinstance(row, str):
                raise RivegaError(Errors.E311.format(path=file, line=number, reason=row))
            if split_of(source, str(row["id"])) == split:
                photos.append(_photo(row, source, file.parent, set(bank.all_kinds)))
    if not photos:
        raise RivegaError(Errors.E203.format(folder=folder))
    return photos


def _photo(row: dict, source: str, folder: Path, known: set) -> Photo:
    kinds: list[str] = []
    boxes: list[list[float]] = []
    hard: list[bool] = []
    for item in row["objects"]:
        kind = _bank_name(item["class"])
        # CCP's clothing labels share names with COCO classes ("tie") but not their meaning of a box.
        if kind not in known or (source == "ccp" and kind != "person"):
            continue
        x0, y0, x1, y1 = (float(v) for v in item["bbox"])
        if x1 - x0 < 1 or y1 - y0 < 1:
            continue
        kinds.append(kind)
        boxes.append([x0, y0, x1, y1])
        hard.append(bool(item.get("difficult")) or bool(item.get("iscrowd")))
    return Photo(
        source=source,
        id=str(row["id"]),
        path=folder / row["file"],
        kinds=tuple(kinds),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        hard=np.array(hard, bool),
        labels=(_bank_name(row["label"]),) if row.get("label") and _bank_name(row["label"]) in known else (),
    )


def _bank_name(kind: str) -> str:
    return _COCO_NAMES.get(kind, kind)


def keys_of(kind: str) -> tuple[str, ...]:
    """What an object of a kind answers to: the kind, what that is one of, and, for a logo, any sign of a company.

    kind (str): A kind of the bank or an open one.
    RETURNS (Tuple[str, ...]): Kinds.
    """
    found = load_bank().open.get(kind)
    if found is None:
        return (kind, *(group for group, members in GROUPS.items() if kind in members))
    return (kind, *found.parents, *((ANY_SIGN,) if kind.endswith(" logo") else ()))


def kind_members(kind: str) -> tuple[str, ...]:
    """The kinds that a kind stands for: itself, or the members of a group ("animal")."""
    return GROUPS.get(kind, (kind,))


def make_photo_corpus(
    path: str, split: str = "train", absent: int = 4, limit: int = 0, seed: int = 0
) -> Callable[["Language"], Iterable["Example"]]:
    """`rivega.PhotoCorpus.v1`: photographs as posts, for training entailment and grounder with `spacy train`.

    path (str): Folder with voc*/, ccp*/ and coco*/.
    split (str): "train", "dev", or "heldout" for the final measurement.
    absent (int): Entities a post names that its photo does not show.
    limit (int): Take only so many photos; 0: all.
    seed (int): Of names, expansions and, in training, the order; every pass over the training split differs.
    RETURNS (Callable[[Language], Iterable[Example]]): The reader.
    RAISES (RivegaError): E209 for negative numbers.
    """
    for option, value in (("absent", absent), ("limit", limit)):
        if value < 0:
            raise RivegaError(Errors.E209.format(option=option, least=0, value=value))
    return PhotoCorpus(path, split=split, absent=absent, limit=limit, seed=seed)


class PhotoCorpus:
    """Reads photos and writes a post about each (see `make_photo_corpus`)."""

    def __init__(self, path: str, *, split: str, absent: int, limit: int, seed: int) -> None:
        self.path, self.split, self.absent, self.limit, self.seed = path, split, absent, limit, seed
        self.epoch = 0

    def __call__(self, nlp: "Language") -> Iterator["Example"]:
        bank = load_bank()
        photos = read_photos(Path(self.path), self.split, bank=bank)
        rng = np.random.default_rng((self.seed, self.epoch))
        if self.split == "train":
            self.epoch += 1
            photos = [photos[i] for i in rng.permutation(len(photos))]
        for photo in photos[: self.limit or None]:
            yield self._example(nlp, photo, bank, rng)

    def _example(self, nlp: "Language", photo: Photo, bank: PhraseBank, rng: np.random.Generator) -> "Example":
        from spacy.training import Example

        shown = sorted({kind for kind, hard in zip(photo.kinds, photo.hard) if not hard})
        missing = [kind for kind in bank.kinds if photo.knows(kind) and not set(kind_members(kind)) & set(photo.kinds)]
        named: list[Named] = []
        for kind in shown:
            mine = [box for box, own, hard in zip(photo.boxes, photo.kinds, photo.hard) if own == kind and not hard]
            named.append(Named(bank.sample(kind, rng), True, [[float(v) for v in box] for box in mine]))
        for number in range(self.absent):
            phrase = bank.absent(rng) if number % 2 or not missing else bank.sample(missing[rng.integers(len(missing))], rng)
            named.append(Named(phrase, False, []))
        order = [named[i] for i in rng.permutation(len(named))]
        predicted, reference = _post(nlp, photo, order), _post(nlp, photo, order)
        for ent, item in zip(reference.ents, order):
            ent._.groundable = item.shown
            ent._.boxes = item.boxes
        return Example(predicted, reference)


@dataclass(frozen=True)
class Named:
    """An entity of a post about a photo: its phrase, whether the photo shows it, and its gold boxes."""

    phrase: Phrase
    shown: bool
    boxes: list[list[float]]


def _post(nlp: "Language", photo: Photo, named: list[Named]) -> "Doc":
    from spacy.tokens import Doc, Span

    words: list[str] = []
    places: list[tuple[int, int]] = []
    for number, item in enumerate(named):
        if number:
            words.append(",")
        start = len(words)
        words.extend(item.phrase.name.split())
        places.append((start, len(words)))
    doc = Doc(nlp.vocab, words=words)
    doc.ents = [Span(doc, start, end, label=item.phrase.label) for (start, end), item in zip(places, named)]
    doc._.image = photo.path
    doc.user_data["id"] = f"{photo.source}-{photo.id}"
    for ent, item in zip(doc.ents, named):
        ent._.expansion = item.phrase.expansion or None
    return doc
