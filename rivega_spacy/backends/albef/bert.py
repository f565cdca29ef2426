"""ALBEF's text encoder: BERT whose upper layers also look at the picture, in the layout of the released files."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

# What upstream adds to the attention of padding; after softmax in single precision it is exactly zero.
PADDING = -10000.0


class Projections(nn.Module):
    """Query, key and value of one attention; key and value may come from the picture."""

    def __init__(self, width: int, heads: int, source_width: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(source_width, width)
        self.value = nn.Linear(source_width, width)

    def forward(
        self, x: torch.Tensor, source: torch.Tensor, mask: torch.Tensor | None, owner: torch.Tensor | None = None
    ) -> torch.Tensor:
        q, k, v = (self._split(y) for y in (self.query(x), self.key(source), self.value(source)))
        if owner is not None:
            k, v = k[owner], v[owner]
        drop = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=drop)
        return mixed.transpose(1, 2).reshape(x.shape)

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        return x.view(batch, length, self.heads, width // self.heads).transpose(1, 2)


class Output(nn.Module):
    """Projection, dropout, residual, LayerNorm (post-norm)."""

    def __init__(self, inner: int, width: int, dropout: float, eps: float) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, width)
        self.LayerNorm = nn.LayerNorm(width, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        return self.LayerNorm(self.dropout(self.dense(x)) + residual)


class Intermediate(nn.Module):
    """First half of the feed-forward part."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, inner)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.gelu(self.dense(x))


def _attention(width: int, heads: int, source_width: int, drop: float, attention_drop: float, eps: float) -> nn.ModuleDict:
    # A ModuleDict because the released files call one half "self".
    return nn.ModuleDict(
        {"self": Projections(width, heads, source_width, attention_drop), "output": Output(width, width, drop, eps)}
    )


class FusionLayer(nn.Module):
    """Self-attention, then (in the upper layers) attention to the picture, then the feed-forward part."""

    def __init__(
        self, width: int, heads: int, inner: int, image_width: int | None, drop: float, attention_drop: float, eps: float
    ) -> None:
        super().__init__()
        self.attention = _attention(width, heads, width, drop, attention_drop, eps)
        self.crossattention = None
        if image_width is not None:
            self.crossattention = _attention(width, heads, image_width, drop, attention_drop, eps)
        self.intermediate = Intermediate(width, inner)
        self.output = Output(inner, width, drop, eps)

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor, image: torch.Tensor | None, owner: torch.Tensor | None = None
    ) -> torch.Tensor:
        x = self.attention["output"](self.attention["self"](x, x, mask), x)
        if self.crossattention is not None:
            x = self.crossattention["output"](self.crossattention["self"](x, image, None, owner), x)
        return self.output(self.intermediate(x), x)


class Embeddings(nn.Module):
    """Words, positions from 0, token type 0 if the network has types: LAVIS's has none."""

    def __init__(self, vocab_size: int, width: int, positions: int, types: int, dropout: float, eps: float) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab_size, width)
        self.position_embeddings = nn.Embedding(positions, width)
        if types:
            self.token_type_embeddings = nn.Embedding(types, width)
        self.types = types
        self.LayerNorm = nn.LayerNorm(width, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        positions = self.position_embeddings.weight[: input_ids.shape[1]]
        x = self.word_embeddings(input_ids)
        if self.types:
            x = x + self.token_type_embeddings.weight[0]
        x = x + positions
        return self.dropout(self.LayerNorm(x))


class FusionBert(nn.Module):
    """BERT without a pooler; layers from `fusion_layer` on attend to the picture as well.

    vocab_size (int), width (int), depth (int), heads (int), inner (int): BERT's shape.
    fusion_layer (int): The first layer that looks at the picture.
    image_width (int): Width of the picture's tokens.
    """

    def __init__(
        self,
        *,
        vocab_size: int,
        width: int,
        depth: int,
        heads: int,
        inner: int,
        fusion_layer: int,
        image_width: int,
        positions: int = 512,
        types: int = 2,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        eps: float = 1e-12,
    ) -> None:
        super().__init__()
        self.fusion_layer = fusion_layer
        self.gradient_checkpointing = False
        self.embeddings = Embeddings(vocab_size, width, positions, types, dropout, eps)
        layers = [
            FusionLayer(width, heads, inner, image_width if n >= fusion_layer else None, dropout, attention_dropout, eps)
            for n in range(depth)
        ]
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        image: torch.Tensor | None,
        owner: torch.Tensor | None = None,
    ) -> list[torch.Tensor]:
        """All hidden states, embeddings first.

        input_ids (Tensor): n x t integers.
        attention_mask (Tensor): n x t, 1 for words and 0 for padding.
        image (Optional[Tensor]): n x p x image_width; None runs only the layers below `fusion_layer` (text alone).
        owner (Optional[Tensor]): n, which row of `image` each text is about, where several share one: keys and values of a picture
            are then projected once for all of them.
        RETURNS (List[Tensor]): 1 + layers tensors of n x t x width.
        """
        x = self.embeddings(input_ids)
        mask = ((1.0 - attention_mask[:, None, None, :].to(x.dtype)) * PADDING).to(x.dtype)
        states = [x]
        layers = list(self.encoder["layer"].children())
        if image is None:
            layers = layers[: self.fusion_layer]
        for layer in layers:
            if self.gradient_checkpointing and self.training:
                x = checkpoint(layer, x, mask, image, owner, use_reentrant=False)
            else:
                x = layer(x, mask, image, owner)
            states.append(x)
        return states
