"""Tiny networks that the tests of several backends share."""

from segmenter_tiny import tiny_nlp  # noqa: F401
from vision_tiny import tiny_weights  # noqa: F401
