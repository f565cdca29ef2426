"""PyTorch networks that serve two stages, or port a published one, and what wraps them for Thinc."""
