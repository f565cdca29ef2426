"""The tiny network of the vision tests, and photos for it."""

from vision_tiny import photos, seen_weights, tiny_weights  # noqa: F401
