"""SeqTR's coordinate predictor: a post-norm encoder over the fused map and a decoder that writes a box as four tokens."""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint


class EncoderLayer(nn.Module):
    """Self-attention with positions added to queries and keys only, then the feed-forward part; LayerNorm after each."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.linear1 = nn.Linear(width, inner)
        self.linear2 = nn.Linear(inner, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, positions: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        placed = x + positions
        mixed = self.self_attn(placed, placed, x, key_padding_mask=padding, need_weights=False)[0]
        x = self.norm1(x + self.dropout(mixed))
        return self.norm2(x + self.dropout(self.linear2(self.dropout(F.relu(self.linear1(x))))))


class DecoderLayer(nn.Module):
    """Causal self-attention, attention to the map, feed-forward part."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.multihead_attn = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.linear1 = nn.Linear(width, inner)
        self.linear2 = nn.Linear(inner, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: torch.Tensor,
        places: torch.Tensor,
        future: torch.Tensor,
        memory: torch.Tensor,
        memory_positions: torch.Tensor,
        padding: torch.Tensor,
    ) -> torch.Tensor:
        placed = x + places
        mixed = self.self_attn(placed, placed, x, attn_mask=future, need_weights=False)[0]
        x = self.norm1(x + self.dropout(mixed))
        seen = self.multihead_attn(x + places, memory + memory_positions, memory, key_padding_mask=padding, need_weights=False)[0]
        x = self.norm2(x + self.dropout(seen))
        return self.norm3(x + self.dropout(self.linear2(self.dropout(F.relu(self.linear1(x))))))


class InputProjection(nn.Module):
    """1x1 convolution with bias, then GroupNorm; no activation."""

    def __init__(self, inside: int, outside: int, groups: int = 32) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 1)
        self.gn = nn.GroupNorm(groups, outside)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gn(self.conv(x))


class LearnedPositions(nn.Module):
    """One row for each place in the sequence."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(count, width)


class CoordinateTransformer(nn.Module):
    """Encoder, decoder and the table of coordinate tokens.

    inside (int): Channels of the fused map.
    width (int), heads (int), inner (int), encoder_layers (int), decoder_layers (int), dropout (float): The usual.
    bins (int): Coordinates are cut into as many; one more token, END.
    length (int): Places in a sequence, 4 coordinates and END.
    """

    def __init__(
        self,
        *,
        inside: int,
        width: int,
        heads: int,
        inner: int,
        encoder_layers: int,
        decoder_layers: int,
        dropout: float,
        bins: int,
        length: int,
        decoder_heads: int | None = None,
        decoder_inner: int | None = None,
    ) -> None:
        super().__init__()
        self.width = width
        self.gradient_checkpointing = False
        self.input_proj = InputProjection(inside, width)
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(EncoderLayer(width, heads, inner, dropout) for _ in range(encoder_layers))
        self.decoder = nn.Module()
        self.decoder.layers = nn.ModuleList(
            DecoderLayer(width, decoder_heads or heads, decoder_inner or inner, dropout) for _ in range(decoder_layers)
        )
        self.decoder.norm = nn.LayerNorm(width)
        self.query_embedding = nn.Embedding(bins + 1, width)
        self.seq_positional_encoding = LearnedPositions(length, width)

    def encode(self, fused: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The memory that the decoder reads.

        fused (Tensor): n x C x h x w.
        mask (Tensor): n x h x w bool, True if there is padding.
        RETURNS (Tuple[Tensor, Tensor, Tensor]): memory n x hw x width, its positions, its padding n x hw bool.
        """
        x = self.input_proj(fused).flatten(2).transpose(1, 2)
        positions = sine_positions(mask, self.width // 2).flatten(2).transpose(1, 2).to(x.dtype)
        padding = mask.flatten(1)
        for layer in self.encoder.get_submodule("layers").children():
            if self.gradient_checkpointing and self.training:
                x = checkpoint(layer, x, positions, padding, use_reentrant=False)
            else:
                x = layer(x, positions, padding)
        return x, positions, padding

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Inputs of the decoder for the tokens so far: a zero vector, then one row a token (n x t -> n x (t+1) x width)."""
        rows = self.query_embedding(tokens)
        return torch.cat([rows.new_zeros(rows.shape[0], 1, self.width), rows], dim=1)

    def decode(self, inputs: torch.Tensor, memory: torch.Tensor, positions: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        """inputs (Tensor): n x t x width. RETURNS (Tensor): n x t x width."""
        length = inputs.shape[1]
        places = self.seq_positional_encoding.embedding.weight[:length].unsqueeze(0)
        future = torch.ones(length, length, dtype=torch.bool, device=inputs.device).triu(1)
        x = inputs
        for layer in self.decoder.get_submodule("layers").children():
            x = layer(x, places, future, memory, positions, padding)
        return self.decoder.get_submodule("norm")(x)


def sine_positions(mask: torch.Tensor, half: int) -> torch.Tensor:
    """DETR's two-dimensional sine positions, normalised to the unpadded part.

    mask (Tensor): n x h x w bool, True if there is padding.
    half (int): Channels for each of y and x.
    RETURNS (Tensor): n x 2*half x h x w, y first.
    """
    inside = (~mask).float()
    y, x = inside.cumsum(1), inside.cumsum(2)
    y = y / (y[:, -1:, :] + 1e-6) * (2 * math.pi)
    x = x / (x[:, :, -1:] + 1e-6) * (2 * math.pi)
    steps = torch.arange(half, dtype=torch.float32, device=mask.device)
    period = 10000 ** (2 * torch.div(steps, 2, rounding_mode="floor") / half)
    parts = []
    for value in (y, x):
        angle = value[..., None] / period
        parts.append(torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], dim=-1).flatten(3))
    return torch.cat(parts, dim=-1).permute(0, 3, 1, 2)
