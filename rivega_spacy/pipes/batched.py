"""What the vision components share: batches over a stream, in which one post's trouble stays its own."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc
from spacy.training import Example, validate_examples
from spacy.util import minibatch
from spacy.vocab import Vocab
from thinc.api import Model, Optimizer

from ..post.errors import Errors, SetupError
from ..post.expressions import check_expression
from ..post.failures import Failing
from ..post.labels import check_labels
from .network_asking import learn, start_model
from .settings import ConfiguredWeights


class Batchwise(Failing, TrainablePipe):
    """A component whose `predict` takes a batch of posts and whose failures stay with the post that caused them (failures.py)."""

    def __call__(self, doc: Doc) -> Doc:
        self.annotate([doc])
        self.left([doc])
        return doc

    def annotate(self, docs: Sequence[Doc]) -> None:
        """Annotate posts, one by one where they cannot be annotated together. RAISES (SetupError): If the component cannot work at all."""
        try:
            self.set_annotations(docs, self.predict(docs))
        except SetupError:
            raise
        except Exception as error:  # whatever a model raises stays with the post it belongs to, and the others go on
            if len(docs) == 1:
                self.fail(docs, error)
                return
            for doc in docs:
                self.annotate([doc])


class BatchedPipe(Batchwise, ConfiguredWeights, TrainablePipe):
    """Such a component over a stream."""

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Process a stream; what the posts of a batch need of the model is asked of it together.

        stream (Iterable[Doc]): The posts.
        batch_size (int): Posts a batch.
        YIELDS (Doc): The same posts in the same order; what failed is noted on the post, or left to the handler of `nlp.set_error_handler`.
        RAISES (SetupError): If the component cannot work at all.
        """
        for docs in minibatch(stream, size=batch_size):
            self.annotate(docs)
            yield from self.left(docs)


class AskingVisionPipe(BatchedPipe):
    """A component that asks a network about expressions and pictures, and learns through its `train_step` (contract.py).

    model (Model): Answers about pictures and expressions.
    name (str): The component's name in the pipeline.
    expression (str): In which words it asks (`expressions.EXPRESSIONS`).
    labels (Optional[Dict[str, str]]): Types of labels beside those that are known (labels.py).
    scorer (Optional[Callable]): The scoring method.
    settings (Any): What the component has besides, for its `cfg`.
    """

    failure_message = Errors.E205

    def __init__(
        self,
        vocab: Vocab,
        model: Model,
        name: str,
        *,
        expression: str,
        labels: dict[str, str] | None,
        scorer: Callable | None,
        **settings: Any,
    ) -> None:
        self.vocab = vocab
        self.model = model
        self.name = name
        self.scorer = scorer
        self.expression = check_expression(expression)
        self.cfg: dict[str, Any] = {**settings, "labels": check_labels(labels)}
        self.remember_settings()

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Learn from the gold entities of the references (see `rivega_spacy.pipes.network_asking.learn`).

        examples (Iterable[Example]): References carry picture, entities, `groundable` and `boxes`.
        drop (float): Dropout.
        sgd (Optional[Optimizer]): Takes the step if given.
        losses (Optional[Dict[str, float]]): Changed in place.
        RETURNS (Dict[str, float]): The losses.
        """
        examples = list(examples)
        validate_examples(examples, f"{type(self).__name__}.update")
        losses = {} if losses is None else losses
        return learn(
            self.model,
            examples,
            self.name,
            drop=drop,
            losses=losses,
            sgd=sgd,
            expression=self.expression,
            labels=self.cfg["labels"],
        )

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        weights: str | None = None,
        word_vectors: str | None = None,
        wordnet: str | None = None,
    ) -> None:
        """Give the network its first weights.

        get_examples (Callable): Not needed; nothing is inferred from the data.
        nlp (Optional[Language]): The pipeline.
        weights (Optional[str]): A file of weights to begin from (`[initialize.components.NAME]`).
        word_vectors (Optional[str]): Folder of the sentence encoder that new word vectors are distilled from.
        wordnet (Optional[str]): Folder of WordNet's database files, for networks that look classes up by nouns.
        """
        start_model(self.model, self.name, weights=weights, word_vectors=word_vectors, wordnet=wordnet)
