"""`rivega_segmenter`: writes `span._.mask_rle` for every entity that has boxes."""

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example, validate_examples
from spacy.vocab import Vocab
from thinc.api import Config, Model, Optimizer

from ..pipes.batched import BatchedPipe
from ..pipes.contract import promise
from ..pipes.learning import learn_from
from ..pipes.queries import BoxedPicture, BoxPrompt, ScoredMasks, Segmenter
from ..post import images
from ..post.boxes import box_iou, core_box
from ..post.errors import Errors, RivegaError
from ..post.expressions import Expression, expression_of
from ..post.extensions import all_masks, post_name, record_error
from ..post.images import doc_image
from ..post.rle import decode_mask, encode_mask, rle_iou
from .loss import mask_loss

default_segmenter_config = """
[model]
@architectures = "rivega.SmallSegmenter.v2"
size = 128
margin = 0.2
widths = [32, 64, 128, 256]
depths = [2, 2, 4, 3]
fine = [48, 24]
flip = true
"""
DEFAULT_SEGMENTER_MODEL = Config().from_str(default_segmenter_config)["model"]

# Masks below this score say less about a thing's extent than the grounder does (chosen on dev photographs).
TRUSTED = 0.6
# Boxes that overlap more than this are around one thing that the post names twice.
SAME = 0.7


class MaskResult(NamedTuple):
    """What the segmenter found for one entity.

    rle (Optional[Dict[str, Any]]): The union of the masks of its boxes, or None if no box can be used.
    score (Optional[float]): How sure the model is, 0..1: of several boxes the mean, weighted by mask area.
    unusable (List[List[float]]): Boxes that are empty or lie beside the picture.
    tight (List[List[float]]): The boxes drawn closer to their masks, where that was asked for; else none.
    """

    rle: dict[str, Any] | None
    score: float | None
    unusable: list[list[float]]
    tight: Sequence[list[float]] = ()


@Language.factory(
    "rivega_segmenter",
    assigns=["span._.mask_rle", "span._.mask", "span._.mask_score", "span._.boxes"],
    requires=["doc.ents", "span._.boxes"],
    default_config={"model": DEFAULT_SEGMENTER_MODEL, "tighten_boxes": 0.0, "scorer": {"@scorers": "rivega.mask_scorer.v1"}},
    default_score_weights={"mask_miou": 1.0},
)
def make_segmenter(
    nlp: Language, name: str, model: Model | Segmenter, tighten_boxes: float, scorer: Callable | None
) -> "BoxSegmenter":
    """Construct the component.

    model (Union[Model, Segmenter]): What turns boxes into masks: a Thinc model that can be trained, such as
        `rivega.SmallSegmenter.v2`, or any function with the same arguments, such as `rivega.SAM.v1`, `rivega.HFSam.v1` and
        `rivega.GrabCut.v1`.
    tighten_boxes (float): How far the sides of a box that a grounder found move to those of its mask: 0 leaves the box, 1 takes
        the mask's. Boxes that came with the post, and those whose mask has a score below 0.6, stay.
    scorer (Optional[Callable]): The scoring method.
    """
    return BoxSegmenter(nlp.vocab, model, name, tighten_boxes=tighten_boxes, scorer=scorer)


class BoxSegmenter(BatchedPipe):
    """Box-based segmentation: from the boxes of groundable entities to masks (paper, section IV-C 2)."""

    settings = ("tighten_boxes",)
    fractions = ("tighten_boxes",)

    def __init__(
        self,
        vocab: Vocab,
        model: Model | Segmenter,
        name: str = "rivega_segmenter",
        *,
        tighten_boxes: float = 0.0,
        scorer: Callable | None = None,
    ) -> None:
        self.vocab = vocab
        self.trainable = isinstance(model, Model)
        self.model = model if isinstance(model, Model) else _as_model(model)
        self.name = name
        self.scorer = scorer
        self.cfg: dict[str, Any] = {"tighten_boxes": tighten_boxes}
        self._misfits = 0
        self.remember_settings()

    @property
    def is_trainable(self) -> bool:
        """True if the model learns: SAM and GrabCut do not."""
        return self.trainable

    def predict(self, docs: Iterable[Doc]) -> list[list[MaskResult | None]]:
        """Masks for every entity of every post that has boxes; the posts stay as they are.

        docs (Iterable[Doc]): The posts.
        RETURNS (List[List[Optional[MaskResult]]]): One list a post, in the order of `doc.ents`; None for entities
            without boxes, for those judged not groundable, and in posts whose picture cannot be read.
        """
        docs = list(docs)
        results: list[list[MaskResult | None]] = [[None] * len(doc.ents) for doc in docs]
        part = _Part(self.model, results, self.cfg["tighten_boxes"])
        for number, doc in enumerate(docs):
            spans = _boxed_entities(doc)
            image = doc_image(doc, self.name) if spans else None
            if image is None:
                continue
            for place, span in spans:
                usable = [box for box in span._.boxes if _usable(box, image)]
                unusable = [box for box in span._.boxes if box not in usable]
                results[number][place] = MaskResult(None, None, unusable)
                if usable:
                    # A grounder scores its boxes; others were given.
                    part.add(number, place, image, usable, found=span._.box_score is not None, expression=expression_of(span))
        part.finish()
        return results

    def set_annotations(self, docs: Iterable[Doc], results: list[list[MaskResult | None]]) -> None:
        """Write `mask_rle` and `mask_score`, and boxes that were tightened; entities that have no mask lose one they had before."""
        for doc, found in zip(docs, results):
            for ent, result in zip(doc.ents, found):
                ent._.mask_rle = result.rle if result else None
                ent._.mask_score = result.score if result else None
                if result and result.tight:
                    ent._.boxes = [list(box) for box in result.tight]
                for box in result.unusable if result else ():
                    message = Errors.E305.format(post=post_name(doc), entity=ent.text, box=box)
                    record_error(doc, self.name, message)

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Learn from the boxes and masks of the reference posts.

        examples (Iterable[Example]): Reference posts whose entities have `boxes` and `mask_rle`. Of an entity with
            several boxes each box learns the part of the mask within it.
        drop (float): Dropout, where the model has any.
        sgd (Optional[Optimizer]): The optimiser; without it the gradients are kept.
        losses (Optional[Dict[str, float]]): Running losses by component.
        RETURNS (Dict[str, float]): The losses.
        RAISES (RivegaError): E306 if the model cannot be trained.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        if not self.is_trainable:
            raise RivegaError(Errors.E306.format(name=self.name))
        examples = list(examples)
        validate_examples(examples, "BoxSegmenter.update")
        # In training the model takes masks too and returns logits, targets and weights in one array.
        prompts = [prompt for eg in examples for prompt in self._gold_prompts(eg.reference)]
        return learn_from(self, prompts, examples, drop=drop, sgd=sgd, losses=losses) if prompts else losses

    def get_loss(self, examples: Iterable[Example], scores: np.ndarray) -> tuple[float, np.ndarray]:
        """Cross-entropy plus Dice of what `model.begin_update` gave for the examples, and its gradient."""
        return mask_loss(scores[:, 0], scores[:, 1], scores[:, 2])

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: Any | None = None,
        encoder: Path | None = None,
        weights: Path | None = None,
    ) -> None:
        """Check that there are masks to learn from.

        get_examples (Callable[[], Iterable[Example]]): The training posts.
        nlp (Optional[Language]): The pipeline.
        labels (Optional[Any]): Not used; masks have no labels.
        encoder (Optional[Path]): Weights of a trained small vision network, whose image encoder the model starts from.
        weights (Optional[Path]): The file `model` of a trained segmenter, to go on from it; how to run and train is this config's to say.
        RAISES (RivegaError): E307 if none of the first hundred posts has a mask; E330-E332 if the encoder does not fit.
        """
        if not self.is_trainable:
            return
        for number, example in enumerate(get_examples()):
            if any(ent._.mask_rle is not None and ent._.boxes for ent in example.reference.ents):
                break
            if number >= 100:
                raise RivegaError(Errors.E307.format(name=self.name))
        self.model.initialize()
        if weights is not None:
            self.model.from_disk(weights)
        if encoder is not None:
            if "load_encoder" not in self.model.attrs:
                raise RivegaError(Errors.E332.format(name=self.name))
            self.model.attrs["load_encoder"](self.model, Path(encoder))

    def _note_misfit(self, reference: Doc, ent: Span, size: tuple[int, ...], image: np.ndarray) -> None:
        """One mask that is not its picture's ends no training; the first is told, and how many there were at every power of ten."""
        self._misfits += 1
        if math.log10(self._misfits).is_integer():
            warnings.warn(
                Errors.W461.format(
                    count=self._misfits, post=post_name(reference), entity=ent.text, mask=size, image=image.shape[:2]
                ),
                stacklevel=2,
            )

    def _gold_prompts(self, reference: Doc) -> list[Any]:
        boxed = [ent for _, ent in _boxed_entities(reference)]
        gold = [ent for ent in boxed if ent._.mask_rle is not None]
        image = doc_image(reference, self.name) if gold else None
        if image is None:
            return []
        boxes: list[list[float]] = []
        masks: list[np.ndarray] = []
        expressions: list[Expression | None] = []
        for ent in gold:
            size = tuple(ent._.mask_rle["size"])
            if size != image.shape[:2]:
                self._note_misfit(reference, ent, size, image)
                continue
            mask = decode_mask(ent._.mask_rle)
            usable = [box for box in ent._.boxes if _usable(box, image)]
            for box in usable:
                boxes.append(box)
                masks.append(mask if len(usable) == 1 else _within(mask, box))
                expressions.append(expression_of(ent))
        if not boxes:
            return []
        if not reads_phrases(self.model):
            return [(image, np.array(boxes), masks)]
        every = [list(box) for ent in boxed for box in ent._.boxes if _usable(box, image)]
        return [BoxPrompt(image, np.array(boxes), expressions, [others_of(box, every) for box in boxes], masks)]


class _Part:
    """Entities of a batch whose pictures, and the masks to come, have no more than `images.PART_BYTES`.

    model (Model): Makes the masks.
    results (List[List[Optional[MaskResult]]]): Where they go.
    tighten (float): How far boxes that a grounder found move to their masks.
    """

    def __init__(self, model: Model, results: list[list[MaskResult | None]], tighten: float) -> None:
        self.model = model
        self.results = results
        self.tighten = tighten
        self._empty()

    def _empty(self) -> None:
        self.held = 0
        # Number of the post -> its picture, its boxes, and which of them belong to the entity at which place and were found.
        self.waiting: dict[int, tuple[np.ndarray, list[list[float]], list[tuple[int, range, bool]], list[Expression | None]]] = {}

    def add(
        self, number: int, place: int, image: np.ndarray, boxes: list[list[float]], *, found: bool, expression: Expression
    ) -> None:
        """An entity of a post, and whether a grounder found its boxes. Where it does not fit any more, what waits is done first."""
        masks = image.shape[0] * image.shape[1] * len(boxes)
        if self.waiting and self.held + masks + (0 if number in self.waiting else image.nbytes) > images.PART_BYTES:
            self.finish()
        if number not in self.waiting:
            self.waiting[number] = (image, [], [], [])
            self.held += image.nbytes
        _, known, rows, expressions = self.waiting[number]
        expressions.extend([expression] * len(boxes))
        rows.append((place, range(len(known), len(known) + len(boxes)), found))
        known.extend(boxes)
        self.held += masks

    def finish(self) -> None:
        """Make the masks of what waits; they are kept as run lengths."""
        prompts: list[Any] = []
        for image, boxes, _, expressions in self.waiting.values():
            array = np.array(boxes, dtype="float64").reshape(-1, 4)
            if reads_phrases(self.model):
                prompts.append(BoxPrompt(image, array, expressions, [others_of(box, boxes) for box in boxes]))
            else:
                prompts.append((image, array))
        found = self.model.predict(prompts) if prompts else []
        for (number, (_, boxes, rows, _)), masks in zip(self.waiting.items(), found):
            for place, picks, movable in rows:
                unusable = cast(MaskResult, self.results[number][place]).unusable
                result = _join([masks[pick] for pick in picks], unusable)
                if movable and self.tighten:
                    tight = [_tightened(boxes[pick], masks[pick], self.tighten) for pick in picks]
                    result = result._replace(tight=[*tight, *unusable])
                self.results[number][place] = result
        self._empty()


def score_masks(examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
    """Mean intersection over union of the masks of all entities that have one in the reference.

    examples (Iterable[Example]): Reference and predicted posts.
    RETURNS (Dict[str, Any]): `mask_miou`, 0..1 (an entity that was not found, has no predicted mask or one of another size counts 0, of
        several gold masks the best counts; None without any gold mask), and `mask_miou_per_type`.
    """
    by_type: dict[str, list[float]] = {}
    for example in examples:
        predicted = {(ent.start_char, ent.end_char): ent for ent in example.predicted.ents}
        for gold in example.reference.ents:
            masks = all_masks(gold)
            if not masks:
                continue
            match = predicted.get((gold.start_char, gold.end_char))
            # Masks of two sizes are of two pictures: nothing of the one is right for the other.
            rle = match._.mask_rle if match is not None and match._.groundable is not False else None
            fitting = [(mask, rle) for mask in masks if rle is not None and list(mask["size"]) == list(rle["size"])]
            iou = max((rle_iou(mask, own) for mask, own in fitting), default=0.0)
            by_type.setdefault(gold.label_, []).append(iou)
    every = [iou for ious in by_type.values() for iou in ious]
    return {
        "mask_miou": float(np.mean(every)) if every else None,
        "mask_miou_per_type": {label: float(np.mean(ious)) for label, ious in sorted(by_type.items())},
    }


def make_mask_scorer() -> Callable[..., dict[str, Any]]:
    """`rivega.mask_scorer.v1`: see `score_masks`."""
    return score_masks


def reads_phrases(model: Model) -> bool:
    """Whether a segmenter is asked with `BoxPrompt`s, which say what each box is around and where other things are."""
    return promise(model, "reads_phrases") is not None


def others_of(box: Sequence[float], every: Sequence[Sequence[float]]) -> np.ndarray:
    """Boxes of other things than that of one box.

    box (Sequence[float]): XYXY pixels.
    every (Sequence[Sequence[float]]): Boxes of all things, this one among them.
    RETURNS (ndarray): m x 4; without those that overlap it so much that they are around the same thing.
    """
    known = np.array(every, dtype="float64").reshape(-1, 4)
    return known[box_iou([box], known)[0] <= SAME]


def _boxed_entities(doc: Doc) -> list[tuple[int, Span]]:
    """Entities to be segmented, with their place in `doc.ents`. Boxes from elsewhere come without a verdict (None)."""
    return [(place, ent) for place, ent in enumerate(doc.ents) if ent._.groundable is not False and ent._.boxes]


def _usable(box: Sequence[float], image: np.ndarray) -> bool:
    height, width = image.shape[:2]
    return min(box[2], width) - max(box[0], 0) > 0 and min(box[3], height) - max(box[1], 0) > 0


def _within(mask: np.ndarray, box: Sequence[float]) -> np.ndarray:
    part = np.zeros_like(mask)
    x1, y1 = (max(int(np.floor(x)), 0) for x in box[:2])
    x2, y2 = (int(np.ceil(x)) for x in box[2:])
    part[y1:y2, x1:x2] = mask[y1:y2, x1:x2]
    return part


def _tightened(box: Sequence[float], drawn: tuple[np.ndarray, float], share: float) -> list[float]:
    mask, score = drawn
    core = core_box(mask) if score >= TRUSTED else None
    return [float(old + share * (new - old)) for old, new in zip(box, core)] if core is not None else list(box)


def _join(masks: ScoredMasks, unusable: list[list[float]]) -> MaskResult:
    union = masks[0][0]
    for mask, _ in masks[1:]:
        union = union | mask
    weights = [float(mask.sum()) + 1e-6 for mask, _ in masks]
    score = float(np.average([score for _, score in masks], weights=weights))
    return MaskResult(encode_mask(union), score, unusable)


def _as_model(segmenter: Segmenter) -> Model[list[BoxedPicture], list[ScoredMasks]]:
    return Model("segmenter", _call_segmenter, attrs={"segmenter": _Unsaved(segmenter)})


def _call_segmenter(model: Model, prompts: list[BoxedPicture], is_train: bool) -> tuple[list[ScoredMasks], Callable]:
    return model.attrs["segmenter"].call(prompts), _no_gradient


def _no_gradient(gradient: Any) -> list[Any]:
    return []


class _Unsaved:
    """Keeps a function on a model; on disk it is named by the config alone."""

    def __init__(self, call: Segmenter) -> None:
        self.call = call
