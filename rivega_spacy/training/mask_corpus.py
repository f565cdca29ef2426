"""rivega.MaskCorpus.v1: photographs with instance masks as training posts for the segmenter."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example

from ..backends.small.phrases.bank import Phrase, load_bank, with_article
from ..post.errors import Errors, RivegaError
from ..post.jsonl import read_lines

# Boxes of other things take up more than this share of a covered thing's own.
COVERED = 0.3
# Kinds as the sets call them, in the words of the phrase bank.
KINDS = {
    "airplane": "aeroplane",
    "couch": "sofa",
    "dining table": "diningtable",
    "monitor": "tvmonitor",
    "motorcycle": "motorbike",
    "potted plant": "pottedplant",
    "tv": "tvmonitor",
}


class MaskedObject(NamedTuple):
    """One object of a photograph.

    label (str): Its class, for example "person".
    box (List[float]): x1, y1, x2, y2 in pixels of the stored picture.
    rle (Dict[str, Any]): Its mask, COCO RLE at the size of the stored picture.
    """

    label: str
    box: list[float]
    rle: dict[str, Any]


class MaskedPhoto(NamedTuple):
    """One photograph with the objects that are to be learnt.

    id (str): Its id within the source.
    path (str): The picture.
    objects (List[MaskedObject]): At least one.
    covered (Sequence[bool]): For each of them, whether boxes of other things take up much of its own.
    others (Sequence[List[float]]): Boxes of all things of the photograph, those not to be learnt too.
    """

    id: str
    path: str
    objects: list[MaskedObject]
    covered: Sequence[bool] = ()
    others: Sequence[list[float]] = ()


def make_mask_corpus(
    path: str,
    sources: dict[str, float],
    every: int = 5,
    remainders: list[int] | None = None,
    whole: list[str] | None = None,
    classes: dict[str, list[str]] | None = None,
    min_side: float = 10.0,
    min_mask_box_iou: float = 0.8,
    drawn: str | None = None,
    drawn_share: float = 0.0,
    min_score: float = 0.75,
    boxes_per_epoch: int = 0,
    max_boxes: int = 4,
    phrases: bool = False,
    covered: int = 1,
    seed: int = 0,
) -> "MaskCorpus":
    """Read photographs with masks.

    path (str): Folder that holds the sources.
    sources (Dict[str, float]): For each source (a folder with `annotations.jsonl`, relative to `path` or absolute) its share of
        the boxes drawn. Shares count only where `boxes_per_epoch` is set.
    every (int), remainders (Optional[List[int]]): Read the ids whose remainder by `every` is listed; None reads all but 0,
        since the ids divisible by 5 are held out for measuring.
    whole (Optional[List[str]]): Sources that are read whatever the ids.
    classes (Optional[Dict[str, List[str]]]): For a source the classes to read; all if it is not named.
    min_side (float): Leave out objects whose box is narrower or lower than this many pixels.
    min_mask_box_iou (float): Leave out masks whose own box agrees less with the annotated one, where that is stated.
    drawn (Optional[str]), drawn_share (float): One more source and its share: masks that
        `rivega_spacy.training.self_training` drew into boxes. Looked for within `path`, then from the working folder on.
    min_score (float): Leave out drawn masks that the segmenter was less sure of.
    boxes_per_epoch (int): Draw so many boxes, at random by the shares; 0 reads every object once, in order.
    max_boxes (int): Boxes a post at most, so that crowded pictures do not make up whole batches.
    phrases (bool): Things are called as posts call them, by a name and an expansion drawn from the phrase bank, and the photograph's
        other things are there with their boxes: what a segmenter that reads phrases learns from.
    covered (int): How often a thing is drawn of whose box others' boxes take up more than 30 %.
    seed (int): Seed of the drawing.
    RETURNS (MaskCorpus): Called with the pipeline, it yields examples.
    """
    if drawn:
        within = (Path(path) / drawn / "annotations.jsonl").is_file()
        sources = {**sources, drawn if within else str(Path(drawn).resolve()): drawn_share}
    return MaskCorpus(
        path,
        sources,
        every=every,
        remainders=remainders,
        whole=whole,
        classes=classes,
        min_side=min_side,
        min_mask_box_iou=min_mask_box_iou,
        min_score=min_score,
        boxes_per_epoch=boxes_per_epoch,
        max_boxes=max_boxes,
        phrases=phrases,
        covered=covered,
        seed=seed,
    )


class MaskCorpus:
    """Posts made of photographs: the text names the objects, each an entity with its box and mask.

    Boxes and entities are set on the predicted post as well, so that `spacy train` measures masks from given boxes.
    """

    def __init__(
        self,
        path: str,
        sources: dict[str, float],
        *,
        every: int = 5,
        remainders: Sequence[int] | None = None,
        whole: Sequence[str] | None = None,
        classes: dict[str, list[str]] | None = None,
        min_side: float = 10.0,
        min_mask_box_iou: float = 0.8,
        min_score: float = 0.75,
        boxes_per_epoch: int = 0,
        max_boxes: int = 4,
        phrases: bool = False,
        covered: int = 1,
        seed: int = 0,
    ) -> None:
        self.path = Path(path)
        self.sources = dict(sources)
        self.every = every
        self.remainders = set(range(1, every)) if remainders is None else set(remainders)
        self.whole = set(whole or [])
        self.classes = {source: set(names) for source, names in (classes or {}).items()}
        self.min_side = min_side
        self.min_mask_box_iou = min_mask_box_iou
        self.min_score = min_score
        self.boxes_per_epoch = boxes_per_epoch
        self.max_boxes = max_boxes
        self.namer = Namer(seed) if phrases else None
        self.covered = covered
        self.seed = seed
        self._epoch = 0
        self._photos: dict[str, list[MaskedPhoto]] | None = None

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """One pass.

        nlp (Language): The pipeline, for its vocabulary.
        YIELDS (Example): Reference and predicted post of up to `max_boxes` objects of one photograph.
        RAISES (RivegaError): E310-E312 if annotations are missing, broken or empty.
        """
        photos = self.photos()
        stream = self._draw(photos) if self.boxes_per_epoch else self._all(photos)
        for photo in stream:
            yield photo_example(nlp, photo, self.namer)

    def photos(self) -> dict[str, list[MaskedPhoto]]:
        """All photographs that pass the filters, by source; read once."""
        if self._photos is None:
            self._photos = {source: list(self._read(source)) for source in self.sources}
            if not any(self._photos.values()):
                raise RivegaError(Errors.E312.format(sources=sorted(self.sources), path=self.path))
        return self._photos

    def _read(self, source: str) -> Iterator[MaskedPhoto]:
        folder = self.path / source
        annotations = folder / "annotations.jsonl"
        if not annotations.is_file():
            raise RivegaError(Errors.E310.format(path=annotations))
        for number, row in read_lines(annotations):
            try:
                if isinstance(row, str):
                    raise ValueError(row)
                wanted = source in self.whole or int(row["id"]) % self.every in self.remainders
                objects = list(self._objects(source, row)) if wanted else []
                boxes = [[float(side) for side in item["bbox"]] for item in row["objects"]] if objects else []
                path = str(folder / row["file"])
            except (KeyError, ValueError, TypeError, OverflowError) as error:
                reason = f"{type(error).__name__}: {error}"
                raise RivegaError(Errors.E311.format(path=annotations, line=number, reason=reason)) from error
            if objects:
                shares = [covered_share(item.box, boxes) > COVERED for item in objects]
                yield MaskedPhoto(str(row["id"]), path, objects, shares, boxes)

    def _objects(self, source: str, row: dict[str, Any]) -> Iterator[MaskedObject]:
        wanted = self.classes.get(source)
        for item in row["objects"]:
            x1, y1, x2, y2 = item["bbox"]
            if (
                item.get("segmentation")
                and not item.get("iscrowd")
                and (wanted is None or item["class"] in wanted)
                and min(x2 - x1, y2 - y1) >= self.min_side
                and item.get("mask_box_iou", 1.0) >= self.min_mask_box_iou
                and item.get("score", 1.0) >= self.min_score
            ):
                yield MaskedObject(item["class"], [x1, y1, x2, y2], item["segmentation"])

    def _all(self, photos: dict[str, list[MaskedPhoto]]) -> Iterator[MaskedPhoto]:
        for source in self.sources:
            for photo in photos[source]:
                for start in range(0, len(photo.objects), self.max_boxes):
                    yield _part(photo, range(start, min(start + self.max_boxes, len(photo.objects))))

    def _draw(self, photos: dict[str, list[MaskedPhoto]]) -> Iterator[MaskedPhoto]:
        """Each source's boxes in random order, over and over, in the stated shares."""
        rng = np.random.default_rng([self.seed, self._epoch])
        self._epoch += 1
        names = [source for source in self.sources if photos[source]]
        shares = np.array([self.sources[source] for source in names], dtype="float64")
        decks = {source: _shuffled(photos[source], self.max_boxes, self.covered, rng) for source in names}
        drawn: dict[str, int] = defaultdict(int)
        for _ in range(self.boxes_per_epoch):
            if sum(drawn.values()) >= self.boxes_per_epoch:
                break
            # The source that lags furthest behind its share is next.
            lag = [drawn[source] / share if share else np.inf for source, share in zip(names, shares)]
            source = names[int(np.argmin(lag))]
            photo = next(decks[source])
            drawn[source] += len(photo.objects)
            yield photo


def _shuffled(photos: list[MaskedPhoto], max_boxes: int, covered: int, rng: np.random.Generator) -> Iterator[MaskedPhoto]:
    """Photographs without end, with their objects in chance groups; covered things several times."""
    while True:
        groups: list[tuple[int, Sequence[int]]] = []
        for place, photo in enumerate(photos):
            picks = [number for number, often in enumerate(photo.covered) for _ in range(covered if often else 1)]
            order = [picks[i] for i in rng.permutation(len(picks))]
            groups.extend((place, order[i : i + max_boxes]) for i in range(0, len(order), max_boxes))
        for pick in rng.permutation(len(groups)):
            place, numbers = groups[pick]
            yield _part(photos[place], numbers)


def _part(photo: MaskedPhoto, numbers: Sequence[int]) -> MaskedPhoto:
    """A photograph with some of its objects."""
    return photo._replace(objects=[photo.objects[i] for i in numbers], covered=[photo.covered[i] for i in numbers])


def covered_share(box: Sequence[float], boxes: Sequence[Sequence[float]]) -> float:
    """How much of a box the boxes of other things take up.

    box (Sequence[float]): XYXY pixels. boxes (Sequence[Sequence[float]]): Those of all things, this one among them.
    RETURNS (float): 0..1.
    """
    x1, y1, x2, y2 = (int(round(side)) for side in box)
    taken = np.zeros((max(y2 - y1, 1), max(x2 - x1, 1)), bool)
    for other in boxes:
        if list(other) != list(box):
            left, top, right, bottom = (int(round(side)) for side in other)
            taken[max(top - y1, 0) : max(bottom - y1, 0), max(left - x1, 0) : max(right - x1, 0)] = True
    return float(taken.mean())


class Namer:
    """What things are called in posts: names and expansions from the phrase bank; kinds that it does not have by their own words.

    seed (int): Seed of the drawing.
    """

    def __init__(self, seed: int) -> None:
        self.bank = load_bank()
        self.kinds = set(self.bank.all_kinds)
        self.rng = np.random.default_rng([seed, 1])

    def __call__(self, kind: str) -> Phrase:
        """kind (str): For example "person". RETURNS (Phrase): Name, type, expansion."""
        known = KINDS.get(kind, kind)
        if known in self.kinds:
            return self.bank.sample(known, self.rng)
        if kind == "object":
            return Phrase("", "", "")
        return Phrase(kind, "OTHER", with_article(kind) if self.rng.random() < 0.5 else "")


def photo_example(nlp: Language, photo: MaskedPhoto, namer: Callable[[str], Phrase] | None = None) -> Example:
    """A post about a photograph: "person, dining table", each an entity with box and mask.

    nlp (Language): The pipeline, for its vocabulary.
    photo (MaskedPhoto): Picture and objects.
    namer (Optional[Callable[[str], Phrase]]): What to call things of a kind; without it they are called by their kind, and the
        photograph's other things are left out.
    RETURNS (Example): The predicted post has entities and boxes, the reference post masks too.
    """
    phrases = [namer(item.label) if namer else Phrase(item.label, _label(item.label), "") for item in photo.objects]
    known = [item.box for item in photo.objects]
    others = [box for box in photo.others if box not in known] if namer else []
    reference = _photo_doc(nlp, photo, phrases, others)
    for ent, item in zip(reference.ents, photo.objects):
        ent._.mask_rle = item.rle
    return Example(_photo_doc(nlp, photo, phrases, others), reference)


def _label(kind: str) -> str:
    return "PER" if kind == "person" else "OTHER"


def _photo_doc(nlp: Language, photo: MaskedPhoto, phrases: Sequence[Phrase], others: Sequence[list[float]]) -> Doc:
    words: list[str] = []
    bounds: list[tuple[int, int, str]] = []
    for phrase in [*phrases, *(Phrase("", "", "") for _ in others)]:
        parts = phrase.name.split() or ["object"]
        bounds.append((len(words), len(words) + len(parts), phrase.label or "OTHER"))
        words.extend([*parts, ","])
    doc = Doc(nlp.vocab, words=words[:-1])
    doc.user_data["id"] = photo.id
    doc._.image = photo.path
    doc.ents = [Span(doc, start, end, label=label) for start, end, label in bounds]
    for ent, box in zip(doc.ents, [*(item.box for item in photo.objects), *others]):
        ent._.boxes = [box]
        ent._.groundable = True
    for ent, phrase in zip(doc.ents, phrases):
        if phrase.expansion:
            ent._.expansion = phrase.expansion
    return doc
