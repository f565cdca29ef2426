"""The tiny network of the vision tests, and photos for it."""

from vision_tiny import photos, tiny_weights  # noqa: F401
