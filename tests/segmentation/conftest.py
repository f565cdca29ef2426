"""The tiny segmenter of its tests."""

from segmenter_tiny import tiny_nlp  # noqa: F401
