"""Attention of OFA and the positions it sees: everything about where a token or a patch is enters as a bias on the scores."""
import math
from typing import Iterator, Optional, Sequence, Tuple

import torch
from torch import nn
from torch.nn import functional as F

from .config import EXTRA_IMAGE_ROWS, MAX_TOKENS

# Keys and values of one attention, B x heads x length x head width.
KeyValue = Tuple[torch.Tensor, torch.Tensor]


class Attention(nn.Module):
    """Multi-head attention with a bias, a factor for each head (NormFormer) and queries scaled for two added products.

    The names of the parameters are those of the published checkpoints.
    """

    def __init__(self, width: int, heads: int, scale_factor: float) -> None:
        super().__init__()
        self.heads = heads
        self.head_width = width // heads
        self.scaling = (self.head_width * scale_factor) ** -0.5
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)
        self.c_attn = nn.Parameter(torch.ones(heads))

    def keys_values(self, x: torch.Tensor) -> KeyValue:
        """x (Tensor): B x S x D. RETURNS (KeyValue): Keys and values, B x heads x S x head width each."""
        return self.split(self.k_proj(x)), self.split(self.v_proj(x))

    def split(self, x: torch.Tensor) -> torch.Tensor:
        """B x S x D to B x heads x S x head width."""
        return x.view(x.shape[0], x.shape[1], self.heads, self.head_width).transpose(1, 2)

    def forward(
        self, x: torch.Tensor, memory: KeyValue, bias: Optional[torch.Tensor], lengths: Optional[Sequence[int]] = None
    ) -> torch.Tensor:
        """Attend.

        x (Tensor): B x T x D queries.
        memory (KeyValue): What `keys_values` gave.
        bias (Optional[Tensor]): Added to the scores, 1 or B x heads x T x S; -inf hides a key.
        lengths (Optional[Sequence[int]]): How many keys each of the B sees, where that is not all S of them.
        RETURNS (Tensor): B x T x D.
        """
        keys, values = memory
        queries = self.split(self.q_proj(x))
        if bias is not None:
            bias = bias.to(queries.dtype)
        if lengths is None or min(lengths) == keys.shape[2]:
            y = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias, scale=self.scaling)
        elif queries.device.type == "cpu" and (bias is None or bias.shape[0] == 1):
            # A mask of B x heads x T x S would cost more than the attention itself: queries of equal length go together instead.
            parts = []
            for start, stop in _runs(lengths):
                n = lengths[start]
                part = None if bias is None else bias[..., :n].contiguous()
                parts.append(
                    F.scaled_dot_product_attention(
                        queries[start:stop], keys[start:stop, :, :n], values[start:stop, :, :n], attn_mask=part, scale=self.scaling
                    )
                )
            y = torch.cat(parts)
        else:
            seen = torch.arange(keys.shape[2], device=x.device) < torch.tensor(list(lengths), device=x.device)[:, None]
            hidden = torch.zeros(seen.shape, dtype=queries.dtype, device=x.device).masked_fill(~seen, -math.inf)[:, None, None, :]
            mask = hidden if bias is None else bias + hidden
            y = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=self.scaling)
        y = y * self.c_attn.view(1, -1, 1, 1).to(y.dtype)
        return self.out_proj(y.transpose(1, 2).reshape(x.shape))


def _runs(lengths: Sequence[int]) -> Iterator[Tuple[int, int]]:
    """Start and stop of each run of equal lengths."""
    start = 0
    for i in range(1, len(lengths) + 1):
        if i == len(lengths) or lengths[i] != lengths[start]:
            yield start, i
            start = i


def position_scores(queries: torch.Tensor, keys: torch.Tensor, *, heads: int, scaling: float) -> torch.Tensor:
    """Bias of absolute positions.

    queries (Tensor): B x T x D, keys (Tensor): B x S x D: projected position embeddings.
    RETURNS (Tensor): B x heads x T x S.
    """
    q = queries.unflatten(-1, (heads, -1)).transpose(1, 2) * scaling
    k = keys.unflatten(-1, (heads, -1)).transpose(1, 2)
    return q @ k.transpose(-1, -2)


def token_buckets(buckets: int, length: int = MAX_TOKENS) -> torch.Tensor:
    """Bucket of the distance between two tokens: exact near by, logarithmic beyond half of `buckets`.

    buckets (int): Half-width of the table.
    length (int): Longest sequence.
    RETURNS (Tensor): length x length int64, in 0..2 * buckets - 2; row is the query, column the key.
    """
    distance = torch.arange(length)[:, None] - torch.arange(length)[None, :]
    middle = buckets // 2
    size = torch.where(distance.abs() < middle, torch.full_like(distance, middle - 1), distance.abs())
    # In single precision, as published: a distance that falls exactly on a boundary would land one bucket off otherwise.
    log = torch.ceil(torch.log(size / middle) / math.log((length - 1) / middle) * (middle - 1)) + middle
    bucket = torch.where(size <= middle, distance, (log * distance.sign()).long())
    return bucket + buckets - 1


def image_buckets(buckets: int) -> torch.Tensor:
    """Bucket of the offset between two patches.

    buckets (int): Patches a side, at most.
    RETURNS (Tensor): (buckets^2 + 1) x (buckets^2 + 1) int64; row and column 0 are those of the whole picture.
    """
    side = torch.arange(buckets)
    rows, columns = (grid.flatten() for grid in torch.meshgrid(side, side, indexing="ij"))
    span = 2 * buckets - 1
    index = torch.empty(buckets**2 + 1, buckets**2 + 1, dtype=torch.long)
    down = rows[:, None] - rows[None, :] + buckets - 1
    right = columns[:, None] - columns[None, :] + buckets - 1
    index[1:, 1:] = down * span + right
    last = span**2 + EXTRA_IMAGE_ROWS
    index[0, :] = last - 3
    index[:, 0] = last - 2
    index[0, 0] = last - 1
    return index


def image_position_ids(height: int, width: int, buckets: int) -> torch.Tensor:
    """Rows of the position table for a feature map: row * buckets + column + 1, whatever the map's size.

    RETURNS (Tensor): height * width int64.
    """
    return (torch.arange(height)[:, None] * buckets + torch.arange(width)[None, :] + 1).flatten()
