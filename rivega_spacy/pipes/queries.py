"""What is asked about one picture: the unit that entailment and grounding networks work on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..post.errors import Errors, RivegaError
from ..post.expressions import Expression


@dataclass(frozen=True)
class ImageQueries:
    """All referring expressions of one post about its one picture, so that the picture is encoded once.

    image (ndarray): HxWx3 uint8, RGB, EXIF orientation applied; reduced where the architecture promises to need less (contract.py).
    expressions (List[Expression]): One for each entity asked about; a network words it as it was trained to read it.
    caption (str): One line that describes the picture; "" if none is known.
    image_key (str): Digest of the picture, equal for equal pictures; "" turns caching off.
    frame (Optional[Tuple[int, int]]): Height and width of the picture itself, whose pixels boxes are in; None takes those of `image`.
    RAISES (RivegaError): E264 for text in place of an expression: it could not be taken apart again.
    """

    image: np.ndarray
    expressions: list[Expression]
    caption: str = ""
    image_key: str = ""
    frame: tuple[int, int] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture."""
        return self.frame or (self.image.shape[0], self.image.shape[1])

    def __post_init__(self) -> None:
        for expression in self.expressions:
            if not isinstance(expression, Expression):
                raise RivegaError(Errors.E264.format(value=expression))


@dataclass(frozen=True)
class QueryTarget:
    """What is right for one expression, in training.

    groundable (Optional[bool]): Whether the picture shows it; None if nobody said.
    boxes (ndarray): n x 4 XYXY pixels of the picture, every gold box; n = 0 if it is not shown.
    masks (Tuple[Dict, ...]): Gold masks as RLE of the picture's size; empty if there are none.
    """

    groundable: bool | None
    boxes: np.ndarray
    masks: tuple[dict[str, Any], ...] = ()


# A picture, HxWx3 uint8, with its boxes, n x 4 XYXY pixels: what a segmenter is asked.
BoxedPicture = tuple[np.ndarray, np.ndarray]
# For each box or expression its mask, HxW bool, and a score from 0 to 1: what it answers about one picture.
ScoredMasks = list[tuple[np.ndarray, float]]
Segmenter = Callable[[list[BoxedPicture]], list[ScoredMasks]]


class BoxPrompt(NamedTuple):
    """What a segmenter that promises to read phrases (contract.py) is asked about one picture.

    image (ndarray): HxWx3 uint8, RGB.
    boxes (ndarray): n x 4 XYXY pixels.
    expressions (Sequence[Optional[Expression]]): What each box is around; None, or none at all, if nothing is known.
    others (Sequence[ndarray]): For each box those of other things, m x 4; none at all if none are known.
    masks (Sequence[ndarray]): In training, the mask of each box, HxW bool.
    """

    image: np.ndarray
    boxes: np.ndarray
    expressions: Sequence[Expression | None] = ()
    others: Sequence[np.ndarray] = ()
    masks: Sequence[np.ndarray] = ()

    def expression_of(self, number: int) -> Expression | None:
        """What a box is around."""
        return self.expressions[number] if self.expressions else None

    def others_of(self, number: int) -> np.ndarray:
        """Boxes of other things, m x 4."""
        return np.asarray(self.others[number], dtype="float64").reshape(-1, 4) if self.others else np.zeros((0, 4))


# Where the references of `rivega.PhotoViews.v1` keep, in their user data, a view of a photograph instead of the photograph:
# `contract.TrainViews` learns from them.
VIEW_KEY = "rivega_view"
