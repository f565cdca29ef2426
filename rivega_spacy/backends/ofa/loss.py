"""What OFA is fine-tuned with: label-smoothed cross-entropy over the tokens of the answer."""

import torch


def smoothed_cross_entropy(
    logits: torch.Tensor, target: torch.Tensor, *, smoothing: float, allowed: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums over tokens; divide by their number.

    logits (Tensor): N x V, only of tokens that count.
    target (Tensor): N int64.
    smoothing (float): Share of the probability that is spread over the other tokens.
    allowed (Optional[Tensor]): N x V bool: what may follow (a trie); the rest has no probability and gets none of the smoothing.
    RETURNS (Tuple[Tensor, Tensor]): Loss, and cross-entropy without smoothing.
    """
    logits = logits.float()
    if allowed is not None:
        logits = logits.masked_fill(~allowed, float("-inf"))
    log_p = torch.log_softmax(logits, dim=-1)
    nll = -log_p.gather(1, target[:, None])[:, 0]
    if smoothing == 0.0:
        return nll.sum(), nll.detach().sum()
    if allowed is None:
        spread = -log_p.sum(1)
        share = torch.full_like(nll, smoothing / (logits.shape[1] - 1))
    else:
        spread = -log_p.masked_fill(~allowed, 0.0).sum(1)
        # Where only one token may follow it is certain: nothing to smooth.
        share = smoothing / (allowed.sum(1) - 1).clamp(min=1).float()
    loss = (1.0 - smoothing - share) * nll + share * spread
    return loss.sum(), nll.detach().sum()
