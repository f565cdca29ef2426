"""The tiny network of the vision tests."""

from vision_tiny import tiny_weights  # noqa: F401
