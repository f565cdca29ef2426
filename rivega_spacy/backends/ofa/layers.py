"""The transformer layers of OFA: normalised before each part, and again inside it (NormFormer)."""

import torch
from torch import nn
from torch.nn import functional as F

from .attention import Attention, KeyValue


class DropPath(nn.Module):
    """Leaves out a part of a layer, whole, for a share of the samples (stochastic depth)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (Tensor): B x T x D."""
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        return x * (torch.rand(x.shape[0], 1, 1, device=x.device) < keep).to(x.dtype) / keep


class FeedForward(nn.Module):
    """What both kinds of layers end with; a mixin of parameters named as published."""

    def __init__(self, width: int, ffn: int, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, ffn)
        self.ffn_layernorm = nn.LayerNorm(ffn)
        self.fc2 = nn.Linear(ffn, width)
        self.final_layer_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.drop_path = DropPath(drop_path)

    def feed_forward(self, x: torch.Tensor) -> torch.Tensor:
        """B x T x D to B x T x D, residual included."""
        y = self.ffn_layernorm(F.gelu(self.fc1(self.final_layer_norm(x))))
        return self.add(x, self.fc2(y))

    def add(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The residual connection."""
        return x + self.drop_path(self.dropout(y))


class EncoderLayer(FeedForward):
    """Self attention over patches and text, then feed-forward."""

    def __init__(self, width: int, heads: int, ffn: int, scale_factor: float, dropout: float, drop_path: float) -> None:
        super().__init__(width, ffn, dropout, drop_path)
        self.self_attn = Attention(width, heads, scale_factor)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.attn_ln = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """x (Tensor): B x S x D; bias: see Attention."""
        y = self.self_attn_layer_norm(x)
        y = self.self_attn(y, self.self_attn.keys_values(y), bias)
        return self.feed_forward(self.add(x, self.attn_ln(y)))


class DecoderLayer(FeedForward):
    """Self attention over what is decoded so far, attention over the encoder's output, then feed-forward."""

    def __init__(self, width: int, heads: int, ffn: int, scale_factor: float, dropout: float, drop_path: float) -> None:
        super().__init__(width, ffn, dropout, drop_path)
        self.self_attn = Attention(width, heads, scale_factor)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.self_attn_ln = nn.LayerNorm(width)
        self.encoder_attn = Attention(width, heads, scale_factor)
        self.encoder_attn_layer_norm = nn.LayerNorm(width)
        self.cross_attn_ln = nn.LayerNorm(width)

    def forward(
        self,
        x: torch.Tensor,
        own_bias: torch.Tensor,
        memory: torch.Tensor | KeyValue,
        cross_bias: torch.Tensor,
        past: KeyValue | None = None,
    ) -> tuple[torch.Tensor, KeyValue]:
        """The whole layer.

        x (Tensor): N x T x D, the new tokens; where beams share an encoder's output, N = B * beams.
        own_bias (Tensor): 1 or N x heads x T x (past + T).
        memory (Union[Tensor, KeyValue]): B x S x D encoder's output, or its keys and values.
        cross_bias (Tensor): 1 or B x heads x (beams * T) x S.
        past (Optional[KeyValue]): Keys and values of the tokens before the new ones.
        RETURNS (Tuple[Tensor, KeyValue]): N x T x D, and keys and values of the tokens, new ones included.
        """
        y = self.self_attn_layer_norm(x)
        keys, values = self.self_attn.keys_values(y)
        if past is not None:
            keys, values = torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)
        x = self.add(x, self.self_attn_ln(self.self_attn(y, (keys, values), own_bias)))
        # Beams are further queries on one and the same memory, so that it is neither copied nor projected again.
        shape = x.shape
        keys_values = self.encoder_attn.keys_values(memory) if isinstance(memory, torch.Tensor) else memory
        x = x.reshape(keys_values[0].shape[0], -1, shape[2])
        x = self.add(x, self.cross_attn_ln(self.encoder_attn(self.encoder_attn_layer_norm(x), keys_values, cross_bias)))
        return self.feed_forward(x).reshape(shape), (keys, values)
