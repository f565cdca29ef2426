"""OFA: one encoder over picture patches and text, one decoder that answers in words or location tokens.

Ported from what the published code computes (its order of operations, verified on reference outputs), not from its text.
Positions never enter the residual stream: they are biases on attention scores. A bias has up to three parts: the product of
projected absolute positions, shared by all layers; a table of token distances; a table of patch offsets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ...post.errors import Errors, RivegaError
from .attention import KeyValue, image_buckets, image_position_ids, position_scores, token_buckets, write_bias
from .config import MAX_TOKENS, OFAConfig
from .layers import DecoderLayer, EncoderLayer
from .resnet import ResNetStem


@dataclass
class Patches:
    """Patches of pictures, ready for the encoder.

    states (Tensor): B x P x D.
    height (int), width (int): Of the feature map, P = height * width.
    features (Optional[Tensor]): B x C x height x width, the stem's output.
    """

    states: torch.Tensor
    height: int
    width: int
    features: torch.Tensor | None = None


@dataclass
class EncoderOutput:
    """The encoder's output.

    states (Tensor): B x S x D, patches first.
    positions (Tensor): 1 x S x D, normalised position embeddings, the same for all B.
    lengths (Optional[List[int]]): How many of the S each sample really has; None if all have S.
    hidden (Optional[Tensor]): B x S bool, True if hidden; only where whole pictures are hidden.
    layers (List[Tensor]): Embeddings and the output of each layer, where asked for.
    """

    states: torch.Tensor
    positions: torch.Tensor
    lengths: list[int] | None
    hidden: torch.Tensor | None = None
    layers: list[torch.Tensor] | None = None

    def hide(self, dtype: torch.dtype) -> torch.Tensor | None:
        """RETURNS (Optional[Tensor]): B x 1 x 1 x S, -inf if there is padding or a hidden picture; None if all is seen."""
        hidden = self.hidden
        if hidden is None and self.lengths is not None and min(self.lengths) < self.states.shape[1]:
            place = torch.arange(self.states.shape[1], device=self.states.device)
            hidden = place[None, :] >= torch.tensor(self.lengths, device=place.device)[:, None]
        return None if hidden is None else _minus_infinity(hidden, dtype)


class Positions(nn.Module):
    """Tables of positions, which encoder and decoder each have."""

    token_rp_bucket: torch.Tensor
    image_rp_bucket: torch.Tensor

    def __init__(self, config: OFAConfig, layers: int, heads: int) -> None:
        super().__init__()
        self.config = config
        self.heads = heads
        self.scaling = (config.width // heads * config.scale_factor) ** -0.5
        self.embed_positions = nn.Embedding(config.positions, config.width)
        self.embed_image_positions = nn.Embedding(config.image_positions, config.width)
        self.pos_ln = nn.LayerNorm(config.width)
        self.image_pos_ln = nn.LayerNorm(config.width)
        self.token_rel_pos_table_list = nn.ModuleList(nn.Embedding(config.token_relations, heads) for _ in range(layers))
        self.image_rel_pos_table_list = nn.ModuleList(nn.Embedding(config.image_relations, heads) for _ in range(layers))
        self.register_buffer("token_rp_bucket", token_buckets(config.token_buckets, MAX_TOKENS), persistent=False)

    def token_bias(self, layer: int, rows: slice, columns: slice) -> torch.Tensor:
        """RETURNS (Tensor): heads x rows x columns bias of token distances."""
        return self.token_rel_pos_table_list[layer](self.token_rp_bucket[rows, columns]).permute(2, 0, 1)


class OFAEncoder(Positions):
    """Patches and text together."""

    def __init__(self, config: OFAConfig) -> None:
        super().__init__(config, config.encoder_layers, config.heads)
        width = config.width
        self.embed_images = ResNetStem(config.resnet_layers, config.resnet_width)
        self.image_proj = nn.Linear(self.embed_images.out_channels, width)
        self.type_embedding = nn.Embedding(2, width)
        self.layernorm_embedding = nn.LayerNorm(width)
        self.patch_layernorm_embedding = nn.LayerNorm(width)
        self.pos_q_linear = nn.Linear(width, width)
        self.pos_k_linear = nn.Linear(width, width)
        rates = depth_rates(config.drop_path, config.encoder_layers)
        self.layers = nn.ModuleList(
            EncoderLayer(width, config.heads, config.encoder_ffn, config.scale_factor, config.dropout, rate) for rate in rates
        )
        self.layer_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)
        self.checkpointing = False
        self.register_buffer("image_rp_bucket", image_buckets(config.image_buckets), persistent=False)

    def pictures(self, pixels: torch.Tensor, stem: ResNetStem | None = None) -> Patches:
        """Encode pictures as far as no text is needed, so that it can be kept.

        pixels (Tensor): B x 3 x H x W, normalised.
        stem (Optional[ResNetStem]): Takes the place of the network's own: its folded copy.
        RETURNS (Patches): B of them.
        RAISES (RivegaError): E726 if they have more patches a side than the tables of positions.
        """
        features = self.embed_images(pixels) if stem is None else stem(pixels)
        height, width = features.shape[-2:]
        if max(height, width) > self.config.image_buckets:
            size = tuple(pixels.shape[-2:])
            raise RivegaError(Errors.E726.format(size=size, patches=max(height, width), limit=self.config.image_buckets))
        x = self.image_proj(features.flatten(2).transpose(1, 2))
        x = self.patch_layernorm_embedding(x + self.type_embedding.weight[1])
        return Patches(x, height, width, features)

    def forward(
        self,
        embedded: torch.Tensor,
        lengths: Sequence[int] | None,
        picture: Patches | None,
        shown: torch.Tensor | None = None,
        *,
        keep_layers: bool = False,
    ) -> EncoderOutput:
        """Encode.

        embedded (Tensor): B x T x D token embeddings.
        lengths (Optional[Sequence[int]]): Tokens of each text without padding; None if all have T.
        picture (Optional[Patches]): One for each of the B, or none at all.
        shown (Optional[Tensor]): B bool, False if the sample's picture is to be hidden.
        keep_layers (bool): Also return the states between layers.
        """
        patches = 0 if picture is None else picture.states.shape[1]
        count, size = embedded.shape[:2]
        x = self.dropout(self.layernorm_embedding(embedded + self.type_embedding.weight[0]))
        if picture is not None:
            x = torch.cat([self.dropout(picture.states).to(x.dtype), x], dim=1)
        seen = None if lengths is None else [patches + n for n in lengths]
        hidden = None
        if seen is not None or shown is not None:
            place = torch.arange(patches + size, device=x.device)
            hidden = torch.zeros(count, patches + size, dtype=torch.bool, device=x.device)
            if seen is not None:
                hidden |= place[None, :] >= torch.tensor(seen, device=x.device)[:, None]
            if shown is not None:
                hidden |= (place[None, :] < patches) & ~shown[:, None]
            x = x.masked_fill(hidden[:, :, None], 0.0)
        hide = None if hidden is None else _minus_infinity(hidden, x.dtype)
        if shown is None or bool(shown.all()):
            hidden = None
        else:
            seen = None
        positions, shared = self._positions(size, picture)
        if hidden is None and picture is not None and x.device.type == "cpu" and not torch.is_grad_enabled():
            kept = self._one_by_one(x, seen, shared, size, picture, keep_layers=keep_layers)
            return EncoderOutput(self.layer_norm(kept[-1]), positions, seen, None, kept if keep_layers else None)
        kept = [x]
        offsets = None if picture is None else self._offsets(picture)
        for i, layer in enumerate(self.layers):
            bias = self._layer_bias(i, shared, size, offsets)
            if hide is not None:
                bias = bias + hide
            if self.checkpointing and self.training and torch.is_grad_enabled():
                x = checkpoint(layer, x, bias, use_reentrant=False)
            else:
                x = layer(x, bias)
            kept.append(x)
        return EncoderOutput(self.layer_norm(x), positions, seen, hidden, kept if keep_layers else None)

    def _one_by_one(
        self,
        x: torch.Tensor,
        seen: list[int] | None,
        shared: torch.Tensor,
        size: int,
        picture: Patches,
        *,
        keep_layers: bool,
    ) -> list[torch.Tensor]:
        """All layers, and within each one sample after another.

        A sample with a picture keeps a processor busy by itself: alone it needs no padding and its activations stay in the caches,
        while the layer's bias is written once for all samples.

        RETURNS (List[Tensor]): B x S x D states after the layers; with `keep_layers` those before and between them, too.
        """
        rows = [x[n : n + 1, :length] for n, length in enumerate(seen or [x.shape[1]] * len(x))]
        kept = [x]
        bias = shared.clone()
        for i, layer in enumerate(self.layers):
            tokens = self.token_bias(i, slice(0, size), slice(0, size))
            write_bias(
                bias, shared, tokens, self.image_rel_pos_table_list[i].get_parameter("weight"), picture.height, picture.width
            )
            rows = [layer(row, bias[..., : row.shape[1], : row.shape[1]]) for row in rows]
            if keep_layers or i == len(self.layers) - 1:
                kept.append(nn.utils.rnn.pad_sequence([row[0] for row in rows], batch_first=True))
        return kept

    def _positions(self, size: int, picture: Patches | None) -> tuple[torch.Tensor, torch.Tensor]:
        positions = self.pos_ln(self.embed_positions.weight[:size])
        if picture is not None:
            ids = self._patch_ids(picture)
            positions = torch.cat([self.image_pos_ln(self.embed_image_positions(ids)), positions])
        positions = positions[None]
        queries, keys = self.pos_q_linear(positions), self.pos_k_linear(positions)
        return positions, position_scores(queries, keys, heads=self.heads, scaling=self.scaling)

    def _patch_ids(self, picture: Patches) -> torch.Tensor:
        ids = image_position_ids(picture.height, picture.width, self.config.image_buckets)
        return ids.to(self.embed_image_positions.weight.device)

    def _offsets(self, picture: Patches) -> torch.Tensor:
        ids = self._patch_ids(picture)
        return self.image_rp_bucket[ids[:, None], ids[None, :]]

    def _layer_bias(self, layer: int, shared: torch.Tensor, size: int, offsets: torch.Tensor | None) -> torch.Tensor:
        bias = shared.clone()
        bias[:, :, -size:, -size:] += self.token_bias(layer, slice(0, size), slice(0, size))
        if offsets is not None:
            patches = len(offsets)
            bias[:, :, :patches, :patches] += self.image_rel_pos_table_list[layer](offsets).permute(2, 0, 1)
        return bias


@dataclass
class DecoderCache:
    """What a decoder keeps between steps.

    memory (List[KeyValue]): Keys and values of the encoder's output, one for each layer, B x heads x S x d; beams share them.
    cross_keys (Tensor): 1 x S x D projected positions of the encoder's output.
    hide (Optional[Tensor]): B x 1 x 1 x S, -inf if the encoder's output is padding or hidden; None if all is seen.
    past (List[Optional[KeyValue]]): Keys and values of what is decoded, (B * beams) x heads x t x d.
    size (int): t.
    """

    memory: list[KeyValue]
    cross_keys: torch.Tensor
    hide: torch.Tensor | None
    past: list[KeyValue | None]
    size: int = 0

    def select(self, rows: torch.Tensor) -> None:
        """Keep these rows (of B * beams), in this order."""
        self.past = [None if kv is None else (kv[0].index_select(0, rows), kv[1].index_select(0, rows)) for kv in self.past]


class OFADecoder(Positions):
    """Answers, one token after another."""

    def __init__(self, config: OFAConfig) -> None:
        super().__init__(config, config.decoder_layers, config.decoder_heads)
        width = config.width
        self.layernorm_embedding = nn.LayerNorm(width)
        # For picture generation, which is not ported; kept because the checkpoints have it.
        self.code_layernorm_embedding = nn.LayerNorm(width)
        self.self_pos_q_linear = nn.Linear(width, width)
        self.self_pos_k_linear = nn.Linear(width, width)
        self.cross_pos_q_linear = nn.Linear(width, width)
        self.cross_pos_k_linear = nn.Linear(width, width)
        rates = depth_rates(config.drop_path, config.decoder_layers)
        self.layers = nn.ModuleList(
            DecoderLayer(width, config.decoder_heads, config.decoder_ffn, config.scale_factor, config.dropout, rate)
            for rate in rates
        )
        self.layer_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)
        self.checkpointing = False

    def forward(
        self,
        embedded: torch.Tensor,
        encoded: EncoderOutput,
        *,
        positions: torch.Tensor | None = None,
        visible: torch.Tensor | None = None,
        keep_layers: bool = False,
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Decode given tokens all at once.

        embedded (Tensor): B x T x D token embeddings.
        encoded (EncoderOutput): The encoder's output.
        positions (Optional[Tensor]): B x T int64 positions; 0, 1, 2... if not given.
        visible (Optional[Tensor]): B x T x T bool: whether the row's token sees the column's; those before it if not given.
        keep_layers (bool): Also return the states between layers.
        RETURNS (Tuple[Tensor, List[Tensor]]): B x T x D, and the states between layers.
        """
        size = embedded.shape[1]
        x = self.dropout(self.layernorm_embedding(embedded))
        place = torch.arange(size, device=x.device)[None] if positions is None else positions
        if visible is None:
            visible = place[:, :, None] >= place[:, None, :]
        spots = self.pos_ln(self.embed_positions(place))
        own = self._scores(self.self_pos_q_linear(spots), self.self_pos_k_linear(spots)) + _minus_infinity(
            ~visible, x.dtype, dims=1
        )
        cross = self._scores(self.cross_pos_q_linear(spots), self.cross_pos_k_linear(encoded.positions))
        hide = encoded.hide(cross.dtype)
        if hide is not None:
            cross = cross + hide
        buckets = self.token_rp_bucket[place[:, :, None], place[:, None, :]]
        kept = [x]
        for i, layer in enumerate(self.layers):
            bias = own + self.token_rel_pos_table_list[i](buckets).permute(0, 3, 1, 2)
            if self.checkpointing and self.training and torch.is_grad_enabled():
                x, _ = checkpoint(layer, x, bias, encoded.states, cross, use_reentrant=False)
            else:
                x, _ = layer(x, bias, encoded.states, cross)
            kept.append(x)
        return self.layer_norm(x), kept if keep_layers else []

    def start(self, encoded: EncoderOutput) -> DecoderCache:
        """Project the encoder's output once for all steps and beams."""
        memory = [cast(DecoderLayer, layer).encoder_attn.keys_values(encoded.states) for layer in self.layers]
        keys = self.cross_pos_k_linear(encoded.positions)
        return DecoderCache(memory, keys, encoded.hide(keys.dtype), [None] * len(self.layers))

    def step(self, embedded: torch.Tensor, cache: DecoderCache) -> torch.Tensor:
        """Decode one more token of each beam.

        embedded (Tensor): (B * beams) x 1 x D embeddings of the last tokens.
        cache (DecoderCache): Changed in place.
        RETURNS (Tensor): (B * beams) x D.
        """
        beams = embedded.shape[0] // cache.memory[0][0].shape[0]
        now = cache.size
        x = self.layernorm_embedding(embedded)
        spots = self.pos_ln(self.embed_positions.weight[: now + 1])[None]
        own = self._scores(self.self_pos_q_linear(spots[:, now:]), self.self_pos_k_linear(spots))
        cross = self._scores(self.cross_pos_q_linear(spots[:, now:]), cache.cross_keys)
        if cache.hide is not None:
            cross = cross + cache.hide
        cross = cross.expand(-1, -1, beams, -1)
        for i, layer in enumerate(self.layers):
            bias = own + self.token_bias(i, slice(now, now + 1), slice(0, now + 1))
            x, cache.past[i] = layer(x, bias, cache.memory[i], cross, cache.past[i])
        cache.size += 1
        return self.layer_norm(x)[:, 0]

    def _scores(self, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        return position_scores(queries, keys, heads=self.heads, scaling=self.scaling)


class OFA(nn.Module):
    """Encoder and decoder with the token table they share.

    config (OFAConfig): Sizes.
    """

    def __init__(self, config: OFAConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.width)
        self.encoder = OFAEncoder(config)
        self.decoder = OFADecoder(config)

    def reset_parameters(self, seed: int = 0) -> "OFA":
        """Random weights, for tests, benchmarks and training from scratch."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, module in self.named_modules():
                if isinstance(module, nn.Embedding):
                    # Relative tables begin at zero, as published.
                    std = 0.0 if "rel_pos_table" in name else self.config.width**-0.5
                    module.weight.copy_(torch.empty(module.weight.shape).normal_(0.0, std or 1.0, generator=generator) * bool(std))
                elif isinstance(module, nn.Linear):
                    limit = (6.0 / sum(module.weight.shape)) ** 0.5
                    module.weight.copy_(torch.empty(module.weight.shape).uniform_(-limit, limit, generator=generator))
                    module.bias.zero_()
                elif isinstance(module, nn.Conv2d):
                    std = (2.0 / (module.out_channels * module.kernel_size[0] ** 2)) ** 0.5
                    module.weight.copy_(torch.empty(module.weight.shape).normal_(0.0, std, generator=generator))
        return self

    def set_rates(self, *, dropout: float | None = None, drop_path: float | None = None) -> None:
        """Change what training leaves out at random."""
        for module in self.modules():
            if isinstance(module, nn.Dropout) and dropout is not None:
                module.p = dropout
        if drop_path is not None:
            for part in (self.encoder, self.decoder):
                for layer, rate in zip(part.layers, depth_rates(drop_path, len(part.layers))):
                    setattr(layer.get_submodule("drop_path"), "rate", rate)  # noqa: B010

    def set_checkpointing(self, on: bool) -> None:
        """Keep only the borders of layers in training and compute the rest again in the backward pass."""
        for part in (self.encoder, self.decoder, self.encoder.embed_images):
            part.checkpointing = on

    def encode(
        self,
        tokens: torch.Tensor,
        picture: Patches | None,
        shown: torch.Tensor | None = None,
        *,
        keep_layers: bool = False,
    ) -> EncoderOutput:
        """tokens (Tensor): B x T int64, padded on the right; the rest: see OFAEncoder."""
        lengths = tokens.ne(self.config.pad).sum(1).tolist()
        padded = None if min(lengths) == tokens.shape[1] else lengths
        return self.encoder(self.embed_tokens(tokens), padded, picture, shown, keep_layers=keep_layers)

    def decode(self, tokens: torch.Tensor, encoded: EncoderOutput, **options: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """tokens (Tensor): B x T int64, padded on the right; the rest: see OFADecoder."""
        return self.decoder(self.embed_tokens(tokens), encoded, **options)

    def step(self, tokens: torch.Tensor, cache: DecoderCache) -> torch.Tensor:
        """tokens (Tensor): (B * beams) int64. RETURNS (Tensor): (B * beams) x V logits of the next token."""
        return self.logits(self.decoder.step(self.embed_tokens(tokens)[:, None], cache))

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """... x D to ... x V."""
        return nn.functional.linear(states, self.embed_tokens.weight)

    def forward(self, tokens: torch.Tensor, picture: Patches | None, previous: torch.Tensor) -> torch.Tensor:
        """B x T source tokens, pictures, B x U decoder inputs -> B x U x V logits."""
        states, _ = self.decode(previous, self.encode(tokens, picture))
        return self.logits(states)


def depth_rates(rate: float, layers: int) -> list[float]:
    """Stochastic depth grows linearly from 0 in the first layer to `rate` in the last."""
    return [rate * i / max(1, layers - 1) for i in range(layers)]


def _minus_infinity(hidden: torch.Tensor, dtype: torch.dtype, *, dims: int = 2) -> torch.Tensor:
    """-inf if hidden: B x S to B x 1 x 1 x S (dims=2), B x T x S to B x 1 x T x S (dims=1)."""
    bias = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill(hidden, float("-inf"))
    return bias[:, None, None] if dims == 2 else bias[:, None]
