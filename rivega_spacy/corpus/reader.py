"""`rivega.Corpus.v1`: examples for `spacy train` in which the predicted side keeps what the pipeline works from.

spaCy's own Corpus rebuilds the predicted posts from their words alone: the picture and the knowledge would be lost. Here they
are carried over; entities, boxes and judgements are not, they are what is to be predicted. A component that is trained apart from
the tagger gets the gold entities too (`filter`), else there would be nothing to ask it about when it is measured.

Memory: one .spacy file is read at a time and its posts are made one after the other, so `rivega convert --shard N` keeps a large
corpus out of memory. `shuffle` alone holds all posts, for an order in which any post may come anywhere; with `buffer` the files come
in random order, and a window of so many posts is drawn from as it moves over them. `spacy train` itself lists and shuffles a whole
pass unless `[training] max_epochs = -1`, which is what streaming needs.
"""

import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example

from ..expansion.component import EntityExpander, Expander
from ..ner.targets import check_missing_labels, set_missing_labels
from ..post.errors import Errors, RivegaError
from ..post.extensions import ID_KEY, IMAGE_KEY
from .docbin import docbin_files, read_docbin
from .sources import per_source

KNOWLEDGE = ("present", "absent", "alternate", "caption")
# Labels of the paper's entailment pairs (section IV-C 1): the picture shows it, the picture does not.
ENTAILS, CONTRADICTS = "e", "c"


class PostCorpus:
    """`rivega.Corpus.v1`: posts of .spacy files as examples, the reader for `[corpora.train]` and `[corpora.dev]`.

    path (Union[str, Path]): A .spacy file or a folder of them (`rivega convert`).
    knowledge (str): "present" keeps z, "absent" takes it away, "caption" puts the caption in its place (the idea of ITA, Wang et al. 2022),
        "alternate" takes it away from every second example: a dev set
        read so chooses a model that is good with and without.
    limit (int): Read so many posts at most; 0 reads all.
    shuffle (bool): In another order each time it is read.
    max_length (int): Leave out posts of more tokens; 0 leaves out none.
    sources (Optional[Union[List[str], Literal["all"]]]): Whose knowledge and expansions: names of models, as in `rivega enrich`. One
        name for dev and test; several, or "all" that a post has, make one example of each ("Mix", for training). None takes what the
        post came with, and so does a post that has nothing of any of them.
    filter (str): "none": all posts, and the predicted side has no entities. The others keep only posts with a picture, and of those
        the entities that a component learns from, and put these on the predicted side too, with their expansions: "entailment":
        entities that gold judged (label e or c, see `entailment_pairs`); "grounding": entities that the picture shows, with boxes,
        taken as groundable; "segmentation": entities with a mask, their boxes given.
    images (Optional[Union[str, Path]]): Folder that relative picture references start from.
    buffer (int): With `shuffle`: posts held at a time; 0 holds all of them (see above).
    expander (Optional[Expander]): Writes the expansions of entities that have none, as `rivega_expander` will do at run time: give it the
        `model` of that. None leaves them without; if no entity has one, reader and component say so once.
    zero_boxes (bool): Entities that gold says are not shown are given the box (0, 0, 0, 0), for a grounder that is to do without
        entailment (the paper's footnote 4).
    missing_labels (Optional[List[str]]): Entity types that these posts do not annotate, so that what is outside their entities may be one
        of them; `rivega_ner` does not learn it as O. Posts whose own `missing_labels` field says so need no setting.
    Called with the pipeline it yields examples; words are those of the file.
    RAISES (RivegaError): E151, E390, E416 or E738 for values that are none of these; (PostError) E391, while reading, for a post
        that has an entity of a type said to be missing.
    """

    def __init__(
        self,
        path: str | Path,
        knowledge: str = "present",
        limit: int = 0,
        shuffle: bool = False,
        max_length: int = 0,
        sources: list[str] | Literal["all"] | None = None,
        filter: str = "none",
        images: str | Path | None = None,
        buffer: int = 0,
        expander: Expander | None = None,
        missing_labels: list[str] | None = None,
        zero_boxes: bool = False,
    ) -> None:
        if knowledge not in KNOWLEDGE:
            raise RivegaError(Errors.E738.format(option="knowledge", allowed=f"one of {', '.join(KNOWLEDGE)}", value=knowledge))
        if filter not in FILTERS:
            raise RivegaError(Errors.E738.format(option="filter", allowed=f"one of {', '.join(FILTERS)}", value=filter))
        if buffer < 0 or (buffer and not shuffle):
            raise RivegaError(Errors.E151.format(value=buffer))
        if isinstance(sources, list) and (not sources or len(set(sources)) != len(sources)):
            raise RivegaError(
                Errors.E416.format(field="sources", value=sources, wanted='a list of different names, "all", or null')
            )
        self.path = Path(path)
        self.knowledge = knowledge
        self.limit = limit
        self.shuffle = shuffle
        self.max_length = max_length
        self.sources = sources
        self.filter = filter
        self.images = None if images is None else Path(images)
        self.buffer = buffer
        self.expander = None if expander is None else EntityExpander(None, expander)
        self.missing_labels = check_missing_labels(missing_labels)
        self.zero_boxes = zero_boxes

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """YIELDS (Example): One a post that has words and passes the filter; one for each of several `sources`."""
        docbin_files(self.path)  # says at once if there is nothing to read
        wanted, given = FILTERS[self.filter]
        count = number = known = expanded = entities = 0
        for post in self._in_order(nlp):
            if not len(post) or (self.max_length and len(post) > self.max_length):
                continue
            if wanted is not None and not keep_entities(post, wanted):
                continue
            if self.limit and count >= self.limit:
                break
            count += 1
            set_missing_labels(post, self.missing_labels)
            for reference in self.versions(post):
                number += 1
                if self.knowledge == "caption":
                    reference._.knowledge = reference._.caption
                known += bool(reference._.knowledge)
                if self.expander is not None:
                    self.expander(reference)
                entities += len(reference.ents)
                expanded += sum(bool(ent._.expansion) for ent in reference.ents)
                if self.zero_boxes:
                    _set_zero_boxes(reference)
                if self.knowledge == "absent" or (self.knowledge == "alternate" and number % 2 == 0):
                    reference._.knowledge = None
                predicted = bare_copy(reference)
                if given is not None:
                    give_entities(predicted, reference, given)
                yield Example(predicted, reference)
        if count and not known and self.knowledge != "absent":
            warnings.warn(Errors.W115.format(path=self.path, count=count), stacklevel=2)
        if entities and not expanded and given is not None:
            warnings.warn(Errors.W860.format(path=self.path, count=entities), stacklevel=2)

    def versions(self, doc: Doc) -> Iterator[Doc]:
        """The post as it is, or once for each source that is asked for."""
        # A tagger reads knowledge alone: without it the examples would all be the same.
        same = self.knowledge == "absent" and self.filter == "none"
        if self.sources is None or same:
            yield doc
        else:
            yield from per_source(doc, None if self.sources == "all" else self.sources)

    def _in_order(self, nlp: Language) -> Iterator[Doc]:
        if not self.shuffle:
            yield from read_docbin(self.path, nlp.vocab, images=self.images)
        elif not self.buffer:
            held = list(read_docbin(self.path, nlp.vocab, images=self.images))
            random.shuffle(held)
            yield from held
        else:
            files = docbin_files(self.path)
            random.shuffle(files)
            yield from window_shuffle(
                (doc for file in files for doc in read_docbin(file, nlp.vocab, images=self.images)), self.buffer
            )


def window_shuffle(docs: Iterator[Doc], size: int) -> Iterator[Doc]:
    """A stream in another order, while at most `size` posts are held.

    docs (Iterator[Doc]): The stream.
    size (int): At least 1; a post comes earlier by less than this.
    YIELDS (Doc): Each once.
    """
    held: list[Doc] = []
    for doc in docs:
        if len(held) < size:
            held.append(doc)
            continue
        place = random.randrange(size)
        held[place], doc = doc, held[place]
        yield doc
    random.shuffle(held)
    yield from held


def entailment_pairs(doc: Doc) -> Iterator[tuple[Span, str]]:
    """What an entailment model learns from a post.

    doc (Doc): A gold post.
    YIELDS (Tuple[Span, str]): Each entity that gold judged, with "e" (the picture shows it) or "c" (it does not).
    """
    for ent in doc.ents:
        if ent._.groundable is not None:
            yield ent, ENTAILS if ent._.groundable else CONTRADICTS


def keep_entities(doc: Doc, wanted: Callable[[Doc], list[Span]]) -> bool:
    """Leave a gold post only the entities that are learnt from.

    doc (Doc): The post; it is changed.
    wanted (Callable[[Doc], List[Span]]): Those entities.
    RETURNS (bool): Whether there is a picture, and any of them.
    """
    kept = wanted(doc) if doc._.image is not None else []
    if kept:
        doc.set_ents(kept, default="outside")
    return bool(kept)


def give_entities(predicted: Doc, reference: Doc, given: tuple[str, ...]) -> None:
    """Put the gold entities on the predicted side, with what a component is given of them.

    predicted (Doc): A bare copy of the reference; it is changed.
    reference (Doc): With entities.
    given (Tuple[str, ...]): The attributes that are taken over.
    """
    predicted.set_ents([Span(predicted, ent.start, ent.end, label=ent.label_) for ent in reference.ents], default="outside")
    for ours, gold in zip(predicted.ents, reference.ents):
        for name in given:
            ours._.set(name, gold._.get(name))


def _set_zero_boxes(doc: Doc) -> None:
    for ent in doc.ents:
        if ent._.groundable is False:
            ent._.groundable = True
            ent._.boxes = [[0.0, 0.0, 0.0, 0.0]]


def _judged(doc: Doc) -> list[Span]:
    return [ent for ent, _ in entailment_pairs(doc)]


def _boxed(doc: Doc) -> list[Span]:
    return [ent for ent in doc.ents if ent._.groundable is not False and ent._.boxes]


def _masked(doc: Doc) -> list[Span]:
    return [ent for ent in _boxed(doc) if ent._.mask_rle is not None]


# name -> which entities are kept, and what of them the predicted side is given.
FILTERS: dict[str, tuple[Callable[[Doc], list[Span]] | None, tuple[str, ...] | None]] = {
    "none": (None, None),
    "entailment": (_judged, ("expansion",)),
    "grounding": (_boxed, ("expansion", "groundable")),
    "segmentation": (_masked, ("expansion", "groundable", "boxes")),
}


def bare_copy(doc: Doc) -> Doc:
    """The post as the pipeline gets it: words, picture, knowledge, caption, description and id; nothing that is predicted.

    doc (Doc): An annotated post.
    RETURNS (Doc): A new one with the same words.
    """
    copy = Doc(doc.vocab, words=[token.text for token in doc], spaces=[bool(token.whitespace_) for token in doc])
    for key in (ID_KEY, IMAGE_KEY):
        if key in doc.user_data:
            copy.user_data[key] = doc.user_data[key]
    copy._.knowledge = doc._.knowledge
    copy._.caption = doc._.caption
    copy._.description = doc._.description
    return copy


__all__ = [
    "FILTERS", "KNOWLEDGE", "PostCorpus", "bare_copy", "entailment_pairs", "give_entities", "keep_entities", "window_shuffle",
]  # fmt: skip
