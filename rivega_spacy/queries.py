"""What is asked about one picture: the unit that entailment and grounding networks work on."""
from dataclasses import dataclass
from typing import List

import numpy as np


@dataclass(frozen=True)
class ImageQueries:
    """All referring expressions of one post about its one picture, so that the picture is encoded once.

    image (ndarray): HxWx3 uint8, RGB, EXIF orientation applied.
    expressions (List[str]): "Name (TYPE) — expansion", one for each entity asked about.
    caption (str): One line that describes the picture; "" where none is known.
    image_key (str): Digest of the picture, equal for equal pictures; "" turns caching off.
    """

    image: np.ndarray
    expressions: List[str]
    caption: str = ""
    image_key: str = ""
