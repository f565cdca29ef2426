"""Architectures that are gone: what loads a pipeline saved with one says so, and what to do."""

from typing import Any

from thinc.api import Model

from ...post.errors import Errors, SetupError


def removed_segmenter(
    size: Any = None,
    widths: Any = None,
    depths: Any = None,
    flip: Any = None,
    refine: Any = None,
    batch_size: Any = None,
    jitter: Any = None,
    ema_decay: Any = None,
    seed: Any = None,
) -> Model:
    """`rivega.SmallSegmenter.v1`. Its arguments are those of saved configs, which would else be refused for them.

    RAISES (SetupError): E963, always.
    """
    raise SetupError(Errors.E963)


__all__ = ["removed_segmenter"]
