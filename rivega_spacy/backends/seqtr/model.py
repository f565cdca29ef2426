"""SeqTR: DarkNet-53, a bidirectional GRU over the words, their product, and a transformer that writes the box."""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from .darknet import ConvUnit, DarkNet53
from .transformer import CoordinateTransformer

PAD, UNK, CLS = 0, 1, 2


@dataclass(frozen=True)
class SeqtrConfig:
    """Shape of the network; the defaults are the released `seqtr_det_refcoco-unc.py` but for the vocabulary."""

    vocab_size: int = 3
    word_width: int = 300
    stem: int = 32
    out_layers: tuple[int, ...] = (6, 8, 13)
    freeze_layer: int = 2
    freeze_words: bool = True
    gru_width: int = 512
    gru_layers: int = 1
    map_channels: tuple[int, ...] = (256, 512, 1024)
    width: int = 256
    heads: int = 8
    inner: int = 1024
    encoder_layers: int = 6
    decoder_layers: int = 3
    decoder_heads: int = 8
    decoder_inner: int = 1024
    dropout: float = 0.1
    bins: int = 1000
    length: int = 5
    predictor: tuple[int, ...] = (256, 256)
    label_noise: float = 0.1
    first_weight: float = 1.5
    max_side: int = 640
    max_words: int = 30
    divisor: int = 32

    def to_dict(self) -> dict[str, Any]:
        """As JSON-like values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "SeqtrConfig":
        """What `to_dict` returned."""
        settings: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        return cls(**settings)

    @classmethod
    def from_upstream(cls, config: dict[str, Any]) -> "SeqtrConfig":
        """From upstream's nested `model_cfg` and the settings beside it."""
        model = config["model_cfg"]
        head, gru = model["head"], model["lan_enc"]["lstm_cfg"]
        encoder, decoder = head["transformer"]["encoder"], head["transformer"]["decoder"]
        return cls(
            vocab_size=config["vocab_size"],
            word_width=config["word_dim"],
            stem=config.get("darknet_width", 32),
            out_layers=tuple(model["vis_enc"]["out_layer"]),
            freeze_layer=model["vis_enc"]["freeze_layer"],
            freeze_words=model["lan_enc"]["freeze_emb"],
            gru_width=gru["hidden_size"],
            gru_layers=gru["num_layers"],
            map_channels=tuple(model["fusion"]["vis_chs"]),
            width=encoder["layer"]["d_model"],
            heads=encoder["layer"]["nhead"],
            inner=encoder["layer"]["dim_feedforward"],
            encoder_layers=encoder["num_layers"],
            decoder_layers=decoder["num_layers"],
            decoder_heads=decoder["layer"]["nhead"],
            decoder_inner=decoder["layer"]["dim_feedforward"],
            dropout=encoder["layer"]["dropout"],
            bins=head["num_bin"],
            length=head["seq_positional_encoding"]["num_embedding"],
            predictor=tuple(head["predictor"]["out_chs"][:-1]),
            label_noise=head["loss"]["neg_factor"],
            first_weight=head["det_coord_weight"],
            max_side=config.get("max_side", 640),
            max_words=config.get("max_token", 30),
            divisor=config.get("pad_divisor", 32),
        )


class WordEncoder(nn.Module):
    """Word vectors and a bidirectional GRU (called `lstm` in the released files)."""

    def __init__(self, vocab_size: int, word_width: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, word_width)
        self.lstm = nn.GRU(word_width, hidden, num_layers=layers, batch_first=True, bidirectional=True)

    def forward(self, words: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """States of all words and their maximum.

        words (Tensor): n x t integers, 0 = padding.
        RETURNS (Tuple[Tensor, Tensor]): n x t x 2h; n x 1 x 2h.
        The GRU runs over the padding too, as upstream's does; only the maximum leaves it out.
        """
        states, _ = self.lstm(self.embedding(words))
        padding = (words == PAD).unsqueeze(-1)
        # A text without any word keeps its first state, so that the maximum is always over something.
        first = (torch.arange(words.shape[1], device=words.device) == 0)[None, :, None]
        padding = padding & ~(padding.all(dim=1, keepdim=True) & first)
        return states, states.masked_fill(padding, float("-inf")).amax(dim=1, keepdim=True)


class Fusion(nn.Module):
    """Brings the three maps to the coarsest one and multiplies with the text."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        low, middle, top = channels
        self.down_bot2mid = nn.Sequential(nn.AvgPool2d(2, 2), ConvUnit(low, low, 3))
        self.down_mid2top = nn.Sequential(nn.AvgPool2d(2, 2), ConvUnit(low + middle, low + middle, 3))
        self.top_project = nn.Sequential(ConvUnit(low + middle + top, low + middle + top, 3), ConvUnit(low + middle + top, top, 1))

    def visual(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """maps (List[Tensor]): Three maps, finest first. RETURNS (Tensor): n x top x h x w, which no text enters."""
        x = torch.cat([self.down_bot2mid(maps[0]), maps[1]], dim=1)
        x = torch.cat([self.down_mid2top(x), maps[2]], dim=1)
        return self.top_project(x).tanh()

    def forward(self, visual: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """visual (Tensor): What `visual` returns. text (Tensor): n x 1 x top. RETURNS (Tensor): n x top x h x w."""
        return visual * text.tanh().transpose(1, 2).unsqueeze(-1)


class PredictorLayer(nn.Module):
    """One linear layer, named as in the released files."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.fc = nn.Linear(inside, outside)


class SeqHead(nn.Module):
    """The transformer and the layers that turn its states into logits of coordinates."""

    def __init__(self, config: SeqtrConfig) -> None:
        super().__init__()
        self.transformer = CoordinateTransformer(
            inside=config.map_channels[-1],
            width=config.width,
            heads=config.heads,
            inner=config.inner,
            encoder_layers=config.encoder_layers,
            decoder_layers=config.decoder_layers,
            dropout=config.dropout,
            bins=config.bins,
            length=config.length,
            decoder_heads=config.decoder_heads,
            decoder_inner=config.decoder_inner,
        )
        sizes = [config.width, *config.predictor, config.bins + 1]
        self.predictor = nn.ModuleList(PredictorLayer(a, b) for a, b in zip(sizes, sizes[1:]))

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """states (Tensor): n x t x width. RETURNS (Tensor): n x t x (bins + 1), the last column is END."""
        *inner, last = self.predictor
        for layer in inner:
            states = F.relu(layer.get_submodule("fc")(states))
        return last.get_submodule("fc")(states)


class Decoded(NamedTuple):
    """What was read from the picture: bins n x 4, logits n x 4 x bins, and how sure the network was, n in 0..1."""

    bins: torch.Tensor
    logits: torch.Tensor
    scores: torch.Tensor


class Seqtr(nn.Module):
    """The network. Submodule names are those of the released files.

    config (SeqtrConfig): Its shape.
    """

    def __init__(self, config: SeqtrConfig) -> None:
        super().__init__()
        self.config = config
        self.vis_enc = DarkNet53(stem=config.stem, out_layers=config.out_layers)
        self.lan_enc = WordEncoder(config.vocab_size, config.word_width, config.gru_width, config.gru_layers)
        self.fusion = Fusion(config.map_channels)
        self.head = SeqHead(config)
        if config.freeze_layer:
            for parameter in self.vis_enc.darknet[: -config.freeze_layer].parameters():
                parameter.requires_grad_(False)
        if config.freeze_words:
            self.lan_enc.embedding.weight.requires_grad_(False)

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        """pixels (Tensor): n x 3 x H x W, 0..255, zero where padded. RETURNS (Tensor): n x C x H/32 x W/32."""
        return self.fusion.visual(self.vis_enc(pixels))

    def layers(self) -> list[nn.Module]:
        """The parts that torch.compile may have."""
        head = self.head.transformer
        return [
            *self.vis_enc.darknet,
            *head.encoder.get_submodule("layers").children(),
            *head.decoder.get_submodule("layers").children(),
        ]

    def set_gradient_checkpointing(self, on: bool) -> None:
        """Trade time for memory in training: the encoder's layers are computed again in the backward pass.

        DarkNet's frozen layers keep nothing for the backward pass anyway, and computing a BatchNorm twice would move its
        statistics twice.
        """
        self.head.transformer.gradient_checkpointing = on

    def memory(
        self, visual: torch.Tensor, words: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """visual (Tensor): n x C x h x w. words (Tensor): n x t. mask (Tensor): n x h x w. RETURNS: What the decoder reads."""
        _, text = self.lan_enc(words)
        return self.head.transformer.encode(self.fusion(visual, text), mask)

    def forced(self, memory: tuple[torch.Tensor, ...], targets: torch.Tensor) -> torch.Tensor:
        """Logits with the right tokens given.

        targets (Tensor): n x 5, four bins and END.
        RETURNS (Tensor): n x 5 x (bins + 1).
        """
        transformer = self.head.transformer
        return self.head.logits(transformer.decode(transformer.embed(targets[:, :-1]), *memory))

    def decode(self, memory: tuple[torch.Tensor, ...], steps: int = 4) -> Decoded:
        """Greedy: at each step the likeliest coordinate, END left out.

        memory (Tuple[Tensor, ...]): What `memory` returned.
        RETURNS (Decoded): The bins and how sure the network is of them (geometric mean of the four probabilities).
        """
        transformer = self.head.transformer
        tokens = torch.zeros(memory[0].shape[0], 0, dtype=torch.long, device=memory[0].device)
        rows, sure = [], []
        for _ in range(steps):
            states = transformer.decode(transformer.embed(tokens), *memory)[:, -1:]
            logits = self.head.logits(states)[:, 0, :-1].float()
            best = logits.argmax(-1, keepdim=True)
            rows.append(logits)
            sure.append(logits.log_softmax(-1).gather(1, best))
            tokens = torch.cat([tokens, best], dim=1)
        return Decoded(tokens, torch.stack(rows, dim=1), torch.cat(sure, dim=1).mean(1).exp())


def padding_mask(sizes: list[tuple[int, int]], height: int, width: int, stride: int = 32) -> torch.Tensor:
    """Where the map of a padded picture holds padding: the full mask, taken at every `stride`-th pixel (nearest).

    sizes (List[Tuple[int, int]]): Height and width of each scaled picture before padding.
    height (int), width (int): The padded size.
    RETURNS (Tensor): n x height/stride x width/stride bool.
    """
    rows, columns = torch.arange(0, height, stride), torch.arange(0, width, stride)
    return torch.stack([(rows[:, None] >= h) | (columns[None, :] >= w) for h, w in sizes])


def smoothed_loss(logits: torch.Tensor, targets: torch.Tensor, *, noise: float, first_weight: float) -> torch.Tensor:
    """Cross entropy with the published smoothing: 1 - noise for the target, noise / classes for every other.

    logits (Tensor): n x t x classes. targets (Tensor): n x t.
    first_weight (float): Weight of the first place of each sequence.
    RETURNS (Tensor): A scalar: the sum divided by n * t. Source: `LabelSmoothCrossEntropyLoss` upstream, whose rows sum to
        less than 1 because the target's own share of the noise is overwritten.
    """
    logits = logits.float()
    shares = torch.full_like(logits, noise / logits.shape[-1]).scatter_(-1, targets.unsqueeze(-1), 1.0 - noise)
    losses = -(shares * logits.log_softmax(-1)).sum(-1)
    weights = torch.ones(targets.shape[1], device=logits.device)
    weights[0] = first_weight
    return (losses * weights).mean()
