"""What an entailment or grounding architecture promises, in writing: the Thinc model that it returns, and what that keeps in its `attrs`.

The model maps a batch of `ImageQueries` to one array a picture, a row an expression: entailment n probabilities that the picture shows
it, grounding n x 5, a box (XYXY pixels of the picture) and its score. Thinc's `attrs` are a dict, so each further promise has a name in
it, and `promise` is the one way to ask for it. Each may be absent: then the component says what the architecture cannot do.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, overload

from thinc.api import Model

from .queries import ImageQueries, QueryTarget


class TrainStep(Protocol):
    """`attrs["train_step"]`: the architecture can be trained on posts."""

    def __call__(
        self, model: Model, batch: list[ImageQueries], targets: list[list[QueryTarget]], *, dropout: float
    ) -> dict[str, float]:
        """Run the network forward and backward and leave the gradients in it; `model.finish_update` takes the step.

        batch (List[ImageQueries]): Pictures with expressions.
        targets (List[List[QueryTarget]]): What is right, for each expression of each picture.
        dropout (float): `[training] dropout`.
        RETURNS (Dict[str, float]): Losses by name; "loss" is the one that is reported, without it their sum. Empty where the batch
            teaches nothing.
        """
        ...


class TrainViews(Protocol):
    """`attrs["train_views"]`: the architecture also learns from the views of photographs that `rivega.PhotoViews` makes."""

    def __call__(self, model: Model, views: Sequence[Any], *, dropout: float) -> dict[str, float]:
        """As `TrainStep`, of views of one size, which bring their questions and answers along; "loss" is in what is returned."""
        ...


class LoadWeights(Protocol):
    """`attrs["load"]`: `[initialize.components.NAME] weights` is read at once, so that what is wrong with it is said now."""

    def __call__(self, model: Model, weights: Any) -> None:
        """weights (Union[str, Path]): File or folder of published or trained weights."""
        ...


class Start(Protocol):
    """`attrs["start"]`: if no weights are given the architecture begins from word vectors and, if it has one, a known backbone."""

    def __call__(self, model: Model, word_vectors: str | Path | None, wordnet: str | Path | None) -> None:
        """word_vectors (Optional[Union[str, Path]]): Folder of a sentence encoder. wordnet (Optional[Union[str, Path]]): Folder of WordNet's files."""
        ...


class PictureSide(Protocol):
    """`attrs["picture_side"]`: the architecture needs no more than so many pixels of a picture's shorter side, and answers in those of
    `ImageQueries.size`; a large JPEG is then decoded reduced."""

    def __call__(self, model: Model) -> int:
        """RETURNS (int): Pixels; 0 if it wants the picture as it is."""
        ...


@overload
def promise(model: Model, name: Literal["reads_phrases"]) -> bool | None: ...
@overload
def promise(model: Model, name: Literal["picture_side"]) -> PictureSide | None: ...
@overload
def promise(model: Model, name: Literal["train_step"]) -> TrainStep | None: ...
@overload
def promise(model: Model, name: Literal["train_views"]) -> TrainViews | None: ...
@overload
def promise(model: Model, name: Literal["load"]) -> LoadWeights | None: ...
@overload
def promise(model: Model, name: Literal["start"]) -> Start | None: ...
def promise(model: Model, name: str) -> Any:
    """What a model's architecture can do beside answering.

    model (Model): The model.
    name (str): "train_step", "train_views", "load", "start", "picture_side" or, of segmenters, "reads_phrases": they are asked with
        `queries.BoxPrompt`s, and others with pairs of picture and boxes.
    RETURNS (Optional[Callable]): It, see the protocols above; None if the architecture does not promise it.
    """
    return model.attrs.get(name)
