"""The training loss of masks: cross-entropy for every pixel, Dice for the shape as a whole."""

import numpy as np


def mask_loss(logits: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """Binary cross-entropy plus soft Dice (Milletari et al., V-Net, 2016), and their gradient.

    logits (ndarray): NxSxS float32, before the sigmoid.
    targets (ndarray): NxSxS float32, share of each pixel that is foreground, 0..1.
    weights (ndarray): NxSxS float32, 0 if nothing is known (beyond the picture).
    RETURNS (Tuple[float, ndarray]): the loss, averaged over the N masks, and d loss / d logits.
    """
    count = len(logits)
    if not count:
        return 0.0, np.zeros_like(logits)
    axes = (1, 2)
    odds = np.exp(-np.abs(logits))
    probabilities = np.where(logits >= 0, 1 / (1 + odds), odds / (1 + odds))
    known = np.maximum(weights.sum(axes, keepdims=True), 1.0)
    entropy = np.maximum(logits, 0) - logits * targets + np.log1p(odds)
    bce = (entropy * weights).sum(axes) / known[:, 0, 0]
    d_bce = (probabilities - targets) * weights / known
    # One pixel is added on both sides of the fraction so that an empty target has a gradient.
    p, t = probabilities * weights, targets * weights
    shared = (p * t).sum(axes, keepdims=True)
    total = p.sum(axes, keepdims=True) + t.sum(axes, keepdims=True) + 1.0
    dice = 1.0 - (2.0 * shared + 1.0) / total
    d_dice = -(2.0 * t * total - (2.0 * shared + 1.0)) / total**2 * weights * probabilities * (1 - probabilities)
    loss = float((bce + dice[:, 0, 0]).mean())
    return loss, ((d_bce + d_dice) / count).astype(logits.dtype)
