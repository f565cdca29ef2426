"""`rivega_transformer`: runs one encoder for the components that listen to it."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import catalogue
import srsly
from spacy import util
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example, validate_examples
from spacy.util import minibatch, registry
from spacy.vocab import Vocab
from thinc.api import Config, Model, Optimizer, set_dropout_rate

from ...pipes.batched import Batchwise
from ...post.versions import spacy_transformers_fits
from .carrier import FullTransformerBatch, TransformerData
from .data import read_encoded
from .listener import TransformerListener, make_listener

DEFAULT_CONFIG = Config().from_str("""
[transformer]
max_batch_items = 4096

[transformer.set_extra_annotations]
@annotation_setters = "spacy-transformers.null_annotation_setter.v1"

[transformer.model]
@architectures = "rivega.KnowledgeTransformerModel.v1"
name = "xlm-roberta-base"
""")["transformer"]
ATTRIBUTE = "trf_data"


def make_transformer(
    nlp: Language,
    name: str,
    model: Model[list[Doc], Any],
    set_extra_annotations: Callable[[list[Doc], Any], None] | None,
    max_batch_items: int,
) -> "SharedTransformer":
    """`rivega_transformer`, and `transformer` where spacy-transformers is not used.

    model (Model): `rivega.KnowledgeTransformerModel.v1`.
    set_extra_annotations (Optional[Callable]): Called with the posts of a batch and what the encoder made of them.
    max_batch_items (int): Posts times the tokens of the longest that go to the model at once.
    """
    return SharedTransformer(nlp.vocab, model, set_extra_annotations, name=name, max_batch_items=max_batch_items)


class SharedTransformer(Batchwise):
    """One encoder for several components, which hold `TransformerListener`s in its place.

    Its output is on `doc._.trf_data`. In training it takes the step when the last listener has given its gradient back.
    """

    def __init__(
        self,
        vocab: Vocab,
        model: Model[list[Doc], Any],
        set_extra_annotations: Callable[[list[Doc], Any], None] | None = None,
        *,
        name: str = "transformer",
        max_batch_items: int = 4096,
    ) -> None:
        self.vocab = vocab
        self.model = model
        self.name = name
        self.set_extra_annotations = set_extra_annotations
        self.cfg: dict[str, Any] = {"max_batch_items": max_batch_items}
        self.listener_map: dict[str, list[Any]] = {}
        _register_attribute()

    @property
    def listening_components(self) -> list[str]:
        """Names of the components that listen."""
        return list(self.listener_map)

    @property
    def listeners(self) -> list[Any]:
        """The layers that listen."""
        return [listener for found in self.listener_map.values() for listener in found]

    def add_listener(self, listener: Model, component_name: str) -> None:
        """Let a layer of another component listen."""
        found = self.listener_map.setdefault(component_name, [])
        if listener not in found:
            found.append(listener)
        if self.model.has_dim("nO") and listener.has_dim("nO") is None:
            listener.set_dim("nO", self.model.get_dim("nO"))

    def remove_listener(self, listener: Model, component_name: str) -> bool:
        """Let a layer no longer listen. RETURNS (bool): Whether it did."""
        found = self.listener_map.get(component_name, [])
        if listener not in found:
            return False
        found.remove(listener)
        if not found:
            del self.listener_map[component_name]
        return True

    def find_listeners(self, component: Any) -> None:
        """Let all layers of a component listen that are meant to. component (Pipe): It."""
        model = getattr(component, "model", None)
        for layer in model.walk() if isinstance(model, Model) else ():
            # By its name: spacy-transformers' listeners do the same for this component.
            if layer.name == TransformerListener.name and getattr(layer, "upstream_name", None) in ("*", self.name):
                self.add_listener(layer, component.name)

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Encode posts, those of similar length together. YIELDS (Doc): In the order given."""
        for docs in minibatch(stream, batch_size):
            for part in by_length(docs, self.cfg["max_batch_items"]):
                self.annotate(part)
            yield from self.left(docs)

    def predict(self, docs: Iterable[Doc]) -> Any:
        """What the encoder makes of posts, which are not changed. RETURNS (FullTransformerBatch): One entry of `doc_data` a post."""
        docs = list(docs)
        return self.model.predict(docs) if any(map(len, docs)) else FullTransformerBatch.empty(len(docs))

    def set_annotations(self, docs: Iterable[Doc], predictions: Any) -> None:
        """Put it on the posts."""
        docs = list(docs)
        for doc, data in zip(docs, predictions.doc_data):
            doc._.set(ATTRIBUTE, data)
        if self.set_extra_annotations is not None:
            self.set_extra_annotations(docs, predictions)

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Run the encoder and leave its output with the listeners; the step is taken when the last gives its gradient back.

        examples (Iterable[Example]): Of which the predicted side is encoded. drop (float): Dropout.
        sgd (Optional[Optimizer]): Takes the step; None leaves the gradients.
        losses (Optional[Dict[str, float]]): Gets the squared gradient under the component's name.
        """
        examples = list(examples)
        validate_examples(examples, "SharedTransformer.update")
        losses = {} if losses is None else losses
        docs = [example.predicted for example in examples]
        if not any(map(len, docs)):
            return losses
        set_dropout_rate(self.model, drop)
        batch, backprop = self.model.begin_update(docs)
        losses.setdefault(self.name, 0.0)
        gathered: list[list[Any]] = []

        def gather(gradients: list[TransformerData]) -> None:
            arrays = [list(gradient.tensors) for gradient in gradients]
            losses[self.name] += float(sum((array**2).sum() for row in arrays for array in row))
            if not gathered:
                gathered.extend([array.copy() for array in row] for row in arrays)
                return
            for total, row in zip(gathered, arrays):
                for mine, array in zip(total, row):
                    mine += array

        def finish(gradients: list[TransformerData]) -> Any:
            gather(gradients)
            found = backprop(batch.unsplit_by_doc(gathered))
            if sgd is not None:
                self.model.finish_update(sgd)
            gathered.clear()
            return found

        listeners = self.listeners
        number = TransformerListener.get_batch_id(docs)
        for listener in listeners:
            listener.receive(number, batch.doc_data, finish if listener is listeners[-1] else gather)
        return losses

    def get_loss(self, docs: Any, golds: Any, scores: Any) -> None:
        """The encoder has no loss of its own."""

    def initialize(self, get_examples: Callable[[], Iterable[Example]], *, nlp: Language | None = None, **_: Any) -> None:
        """Read the encoder that training begins from, and find who listens. nlp (Optional[Language]): The pipeline."""
        self.model.initialize(X=[Doc(Vocab(), words=["hello"])])
        after = False
        for _name, component in nlp.pipeline if nlp is not None else []:
            after = after or component is self
            if after:
                self.find_listeners(component)

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Save it as a folder with `cfg`, `model` and `vocab`."""
        parts = {
            "cfg": lambda p: srsly.write_json(p, self.cfg),
            "vocab": lambda p: self.vocab.to_disk(p),
            "model": lambda p: self.model.to_disk(p),
        }
        util.to_disk(path, parts, exclude)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> "SharedTransformer":
        """Read what `to_disk` of this component or of spacy-transformers' saved, but for `cfg`: its settings are the config's to say."""
        parts: dict[str, Any] = {
            "vocab": lambda p: self.vocab.from_disk(p),
            "cfg": lambda p: None,
            "model": lambda p: self.model.from_bytes(Path(p).read_bytes()),
        }
        util.from_disk(path, parts, exclude)
        return self


def by_length(docs: list[Doc], most: int) -> list[list[Doc]]:
    """Posts of similar length in groups, so that a group's size times its longest stays within `most` where a single post does."""
    groups: list[list[Doc]] = []
    for doc in sorted(docs, key=len, reverse=True):
        if not groups or len(groups[-1][0]) * (len(groups[-1]) + 1) > most:
            groups.append([])
        groups[-1].append(doc)
    return groups


def _register_attribute() -> None:
    if not Doc.has_extension(ATTRIBUTE):
        Doc.set_extension(ATTRIBUTE, default=None)


def _nothing(docs: list[Doc], batch: Any) -> None:
    """No annotations beside the output."""


def _null_setter() -> Callable[[list[Doc], Any], None]:
    return _nothing


def _stand_in() -> None:
    """Take the names of spacy-transformers that a config uses, where that package is not used."""
    registries: Any = registry
    if not catalogue.check_exists("spacy", "annotation_setters"):
        registries.annotation_setters = catalogue.create("spacy", "annotation_setters", entry_points=True)
    registries.annotation_setters.register("spacy-transformers.null_annotation_setter.v1", func=_null_setter)
    registries.architectures.register("spacy-transformers.TransformerListener.v1", func=make_listener)
    Language.factory("transformer", assigns=[f"doc._.{ATTRIBUTE}"], default_config=DEFAULT_CONFIG, func=make_transformer)
    read_encoded()


Language.factory("rivega_transformer", assigns=[f"doc._.{ATTRIBUTE}"], default_config=DEFAULT_CONFIG, func=make_transformer)
if not spacy_transformers_fits():
    _stand_in()

__all__ = ["SharedTransformer", "by_length", "make_transformer"]
