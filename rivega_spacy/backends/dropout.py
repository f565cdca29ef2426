"""Dropout that costs next to nothing on a CPU."""

import torch


class FeatureDropout(torch.nn.Module):
    """Dropout of whole features of a row: one draw for each row and feature, shared by all positions (Gal and Ghahramani, 2016).

    On a CPU drawing the random numbers of ordinary dropout takes as long as the layers themselves.

    p (float): Share of features that is dropped, 0..1.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """B x ... x width to the same shape."""
        if not self.training or not self.p:
            return vectors
        draw = torch.rand((vectors.shape[0], *(1 for _ in vectors.shape[1:-1]), vectors.shape[-1]), device=vectors.device)
        return vectors * ((draw >= self.p).to(vectors.dtype) / (1 - self.p))


def share_dropout(module: torch.nn.Module) -> None:
    """Put FeatureDropout in the place of every Dropout of a transformers encoder, and leave attention weights undropped, so
    that torch's fused attention serves training, too.

    module (Module): Changed in place; doing it again changes nothing.
    """
    for parent in list(module.modules()):
        is_attention = hasattr(parent, "query") or hasattr(parent, "q_lin")
        for name, child in list(parent.named_children()):
            if isinstance(child, torch.nn.Dropout):
                setattr(parent, name, FeatureDropout(0.0 if is_attention else child.p))
        # What the variants of an encoder that call torch's fused attention read.
        if is_attention and hasattr(parent, "dropout_prob"):
            setattr(parent, "dropout_prob", 0.0)  # noqa: B010 - not every attention has one
