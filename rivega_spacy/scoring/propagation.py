"""A pipeline over gold posts, and where its errors come from: gold answers fed in, one stage after the other."""

from collections.abc import Callable, Iterable, Iterator

from spacy.language import Language
from spacy.tokens import Doc, Span

from ..corpus.reader import bare_copy
from ..post.boxes import box_area
from ..post.errors import Errors, RivegaError
from ..post.posts import GIVEN_ENTS_KEY
from .mentions import Annotations, doc_annotations

# What of gold is fed in, by the name of the row in the table. The first four add up; the last two replace one stage alone.
VARIANTS: dict[str, frozenset[str]] = {
    "pipeline": frozenset(),
    "gold entities": frozenset({"entities"}),
    "gold entities + groundability": frozenset({"entities", "groundability"}),
    "gold entities + groundability + boxes": frozenset({"entities", "groundability", "boxes"}),
    "gold groundability alone": frozenset({"groundability"}),
    "gold groundability + boxes, own entities": frozenset({"groundability", "boxes"}),
}
# What the stage assigns before which each is put in: the grounder and the segmenter, whatever they are called.
_BOXES, _MASKS = "span._.boxes", "span._.mask_rle"


def run_pipeline(
    nlp: Language,
    references: Iterable[Doc],
    *,
    gold: frozenset[str] = frozenset(),
    knowledge: str = "present",
    own_tokens: bool = False,
    batch_size: int | None = None,
) -> Iterator[Doc]:
    """Process gold posts as if they were new, with picture, caption and knowledge.

    nlp (Language): The pipeline.
    references (Iterable[Doc]): Gold posts; they are not changed.
    gold (FrozenSet[str]): What of gold the pipeline is given: of "entities", "groundability", "boxes". Groundability is put in
        before the grounder, boxes (the largest of an entity's) before the segmenter; entities that gold does not have keep
        what the pipeline says.
    knowledge (str): "present" keeps z, "absent" takes it away, "caption" puts the caption in its place.
    own_tokens (bool): Let the pipeline tokenize the text; else it gets gold's tokens, as the published scores do.
    batch_size (Optional[int]): Posts a batch.
    YIELDS (Doc): Processed posts in order.
    RAISES (RivegaError): E517 if the pipeline lacks the stage before which gold is to be put in.
    """
    places = _injections(nlp, gold)
    originals: dict[int, Doc] = {}

    def start() -> Iterator[Doc]:
        for reference in references:
            doc = _fresh(nlp, reference, knowledge, own_tokens)
            if "entities" in gold:
                _give_entities(doc, reference)
            originals[id(doc)] = reference
            yield doc

    docs: Iterator[Doc] = start()
    for name, component in nlp.pipeline:
        for inject in places.get(name, ()):
            docs = _apply(docs, inject, originals)
        docs = _stage(nlp, name, component, docs, batch_size or nlp.batch_size)
    for doc in docs:
        originals.pop(id(doc), None)
        yield doc


def propagate(
    nlp: Language, references: list[Doc], *, variants: Iterable[str] = tuple(VARIANTS), knowledge: str = "present"
) -> dict[str, Annotations]:
    """What the pipeline finds under each way of feeding gold in.

    nlp (Language): The pipeline.
    references (List[Doc]): Gold posts.
    variants (Iterable[str]): Names of `VARIANTS`.
    knowledge (str): As in `run_pipeline`.
    RETURNS (Dict[str, Annotations]): Predictions by variant, to be scored.
    """
    return {
        name: doc_annotations(run_pipeline(nlp, references, gold=VARIANTS[name], knowledge=knowledge), name=name)
        for name in variants
    }


def _stage(nlp: Language, name: str, component: Callable[[Doc], Doc], docs: Iterator[Doc], batch_size: int) -> Iterator[Doc]:
    if hasattr(component, "pipe"):
        return component.pipe(docs, batch_size=batch_size)
    return (component(doc) for doc in docs)


def _fresh(nlp: Language, reference: Doc, knowledge: str, own_tokens: bool) -> Doc:
    doc = bare_copy(reference)
    if own_tokens:
        tokenized = nlp.make_doc(reference.text)
        tokenized.user_data.update(doc.user_data)
        doc = tokenized
    if knowledge == "absent":
        doc._.knowledge = None
    elif knowledge == "caption":
        doc._.knowledge = doc._.caption
    return doc


def _give_entities(doc: Doc, reference: Doc) -> None:
    spans = [doc.char_span(ent.start_char, ent.end_char, label=ent.label_, alignment_mode="expand") for ent in reference.ents]
    doc.set_ents([span for span in spans if span is not None], default="outside")
    doc.user_data[GIVEN_ENTS_KEY] = True


def _apply(docs: Iterator[Doc], inject: Callable[[Span, Span], None], originals: dict[int, Doc]) -> Iterator[Doc]:
    for doc in docs:
        known = {(ent.start_char, ent.end_char): ent for ent in originals[id(doc)].ents}
        for ent in doc.ents:
            match = known.get((ent.start_char, ent.end_char))
            if match is not None:
                inject(ent, match)
        yield doc


def _give_groundability(ent: Span, match: Span) -> None:
    if match._.groundable is not None:
        ent._.groundable = match._.groundable
        if not match._.groundable:
            ent._.boxes = []


def _give_boxes(ent: Span, match: Span) -> None:
    if ent._.groundable and match._.boxes:
        ent._.boxes = [max(match._.boxes, key=box_area)]


def _injections(nlp: Language, gold: frozenset[str]) -> dict[str, list[Callable[[Span, Span], None]]]:
    """Before which component what is put in."""
    result: dict[str, list[Callable[[Span, Span], None]]] = {}
    for what, assigned, inject in (("groundability", _BOXES, _give_groundability), ("boxes", _MASKS, _give_boxes)):
        if what in gold:
            names = [name for name in nlp.pipe_names if assigned in nlp.get_pipe_meta(name).assigns]
            if not names:
                raise RivegaError(Errors.E517.format(assigned=assigned, option=f"gold {what}"))
            result.setdefault(names[0], []).append(inject)
    return result
