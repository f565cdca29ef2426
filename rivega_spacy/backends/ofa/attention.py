"""Attention of OFA and the positions it sees: everything about where a token or a patch is enters as a bias on the scores."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from .config import EXTRA_IMAGE_ROWS, MAX_TOKENS

# Keys and values of one attention, B x heads x length x head width.
KeyValue = tuple[torch.Tensor, torch.Tensor]


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

    def forward(self, x: torch.Tensor, memory: KeyValue, bias: torch.Tensor | None) -> torch.Tensor:
        """Attend.

        x (Tensor): B x T x D queries.
        memory (KeyValue): What `keys_values` gave.
        bias (Optional[Tensor]): Added to the scores, 1 or B x heads x T x S; -inf hides a key.
        RETURNS (Tensor): B x T x D.
        """
        keys, values = memory
        queries = self.split(self.q_proj(x))
        if bias is not None:
            bias = bias.to(queries.dtype)
        y = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias, scale=self.scaling)
        y = y * self.c_attn.view(1, -1, 1, 1).to(y.dtype)
        return self.out_proj(y.transpose(1, 2).reshape(x.shape))


def position_scores(queries: torch.Tensor, keys: torch.Tensor, *, heads: int, scaling: float) -> torch.Tensor:
    """Bias of absolute positions.

    queries (Tensor): B x T x D, keys (Tensor): B x S x D: projected position embeddings.
    RETURNS (Tensor): B x heads x T x S.
    """
    q = queries.unflatten(-1, (heads, -1)).transpose(1, 2) * scaling
    k = keys.unflatten(-1, (heads, -1)).transpose(1, 2)
    return q @ k.transpose(-1, -2)


def write_bias(
    out: torch.Tensor, shared: torch.Tensor, tokens: torch.Tensor, offsets: torch.Tensor | None, height: int, width: int
) -> None:
    """Fill in one layer's bias of patches and text, without gradients.

    A row of patches sees the picture through a table of which each patch has a window, so that windows are copied as they lie
    in the table; picking every pair's entry by its index takes many times as long and gives the same numbers.

    out (Tensor): 1 x heads x S x S, written; what neither table has a value for is left as it is.
    shared (Tensor): 1 x heads x S x S bias of absolute positions.
    tokens (Tensor): heads x T x T bias of token distances, the last T of the S.
    offsets (Optional[Tensor]): (relations) x heads table of patch offsets; None if there is no picture.
    height (int), width (int): Of the feature map, the first height * width of the S.
    """
    size, patches = tokens.shape[-1], height * width
    torch.add(shared[..., -size:, -size:], tokens, out=out[..., -size:, -size:])
    if offsets is None:
        return
    span = math.isqrt(offsets.shape[0] - EXTRA_IMAGE_ROWS)
    middle = span // 2
    # Mirrored, the table grows with the key's place: the window of a query begins at (middle - row, middle - column).
    table = offsets[: span * span].view(span, span, -1).permute(2, 0, 1).flip((1, 2))
    windows = torch.stack([table[:, :, middle - c : middle - c + width] for c in range(width)], dim=1).flatten(2)
    target, source = (x[0, :, :patches, :patches].unflatten(1, (height, width)) for x in (out, shared))
    for row in range(height):
        begin = (middle - row) * width
        torch.add(source[:, row], windows[:, :, begin : begin + patches], out=target[:, row])


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
