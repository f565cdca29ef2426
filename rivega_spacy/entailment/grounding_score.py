"""`rivega.GroundingScore.v1`: a detector's score as entailment: what is found with confidence is shown."""

from collections.abc import Callable
from functools import partial
from typing import Any

from thinc.api import Model
from thinc.types import Floats1d, Floats2d

from ..backends.backend import no_gradient
from ..pipes.contract import LoadWeights, promise
from ..pipes.queries import ImageQueries


def grounding_score(grounder: Model[list[ImageQueries], list[Floats2d]]) -> Model[list[ImageQueries], list[Floats1d]]:
    """`rivega.GroundingScore.v1`.

    Detectors' scores are no probabilities of being shown: fit the component's threshold on dev posts with `rivega fit-threshold`.

    grounder (Model[List[ImageQueries], List[Floats2d]]): For example `rivega.GroundingDINO.v1` or `rivega.OWLv2.v1`.
    RETURNS (Model[List[ImageQueries], List[Floats1d]]): The score of each expression's best box. It is not trained here.
    """
    load = promise(grounder, "load")
    attrs = {} if load is None else {"load": partial(_load, load=load)}
    return Model("grounding_score", _forward, init=_init, layers=[grounder], attrs=attrs)


def _forward(model: Model, batch: list[ImageQueries], is_train: bool) -> tuple[list[Floats1d], Callable]:
    rows: list[Any] = model.layers[0].predict(batch)
    found = [model.ops.asarray1f(row.reshape(-1, 5)[:, 4]) for row in rows]
    return found, no_gradient


def _load(model: Model, weights: str, *, load: LoadWeights) -> None:
    load(model.layers[0], weights)


def _init(model: Model, X: Any = None, Y: Any = None) -> None:
    model.layers[0].initialize()
