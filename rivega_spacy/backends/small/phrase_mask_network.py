"""A mask network that is told which thing is meant: by its box, by what it is called, and by where other things are.

It sees the crop through EfficientNet-Lite0 (`lite.py`), as the vision network does, and reads phrases with that network's text side.
What is meant enters the decoder alone: planes with the boxes at each of its resolutions, and the phrase as a scale and a shift of the
coarse maps' channels (Perez et al. 2018, "FiLM"). The decoder is a feature pyramid (Lin et al. 2017) carried on to half the crop's
resolution. A second, small head says how well the mask will fit (Huang et al. 2019, "Mask Scoring R-CNN").
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...post.expressions import Expression
from .image import conv
from .lite import ENDS, STAGES, Front, Late
from .segmenter_network import COLOURS, FEATURES, Residual, doubled, joined
from .text import PhraseEncoder

# What `crop_features` makes of a crop beside its colours, and the boxes of other things.
PLANES = FEATURES - COLOURS + 1
# Of a mask, for its score: the IoU it lets expect, its share of the crop, the share of it at the crop's rim, how undecided it is.
SIGNS = 4


class Told(nn.Module):
    """A residual block that a phrase scales and shifts before.

    width (int): Channels.
    phrase (int): Width of phrase vectors.
    """

    def __init__(self, width: int, phrase: int) -> None:
        super().__init__()
        self.film = nn.Linear(phrase, 2 * width)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)
        self.block = Residual(width)

    def forward(self, x: Tensor, phrases: Tensor) -> Tensor:
        scale, shift = self.film(phrases)[:, :, None, None].chunk(2, dim=1)
        return self.block(x * (1 + scale) + shift)


class PhraseMaskNetwork(nn.Module):
    """Crops, with boxes and phrases, to one logit a pixel and the logit of the IoU that the mask will have with the thing.

    middle (int): Channels of the decoder at stride 16.
    width (int): Channels at stride 8.
    fine (Sequence[int]): Channels at strides 4 and 2.
    depth (int): Residual blocks at stride 16.
    phrase_width (int), word_width (int), vocab_size (int), vocab_bytes (int): Of the text side; see PhraseEncoder.
    """

    def __init__(
        self,
        *,
        middle: int = 160,
        width: int = 96,
        fine: Sequence[int] = (48, 24),
        depth: int = 3,
        phrase_width: int = 128,
        word_width: int = 96,
        vocab_size: int = 1,
        vocab_bytes: int = 1,
    ) -> None:
        super().__init__()
        self.text = PhraseEncoder(vocab_size=vocab_size, vocab_bytes=vocab_bytes, word_width=word_width, width=phrase_width)
        self.text.requires_grad_(False)
        self.unnamed = nn.Parameter(torch.zeros(phrase_width))
        self.phrase = nn.Sequential(nn.LayerNorm(phrase_width), nn.Linear(phrase_width, phrase_width), nn.ReLU())
        self.front, self.back = Front(), Late()
        self.front.requires_grad_(False)
        self.back.requires_grad_(False)
        quarter, half = fine
        low, mid, high = (STAGES[end][0] for end in ENDS)
        self.lateral = nn.ModuleList([conv(low, width, 1), conv(mid, middle, 1), conv(high, middle, 1)])
        self.planes = nn.ModuleList([nn.Conv2d(PLANES, channels, 3, 1, 1, bias=False) for channels in (middle, width, quarter)])
        self.coarse = nn.ModuleList([Told(middle, phrase_width) for _ in range(depth)])
        self.narrow = conv(middle, width, 1)
        self.eighth = nn.ModuleList([Told(width, phrase_width) for _ in range(2)])
        self.to_quarter = conv(width, quarter, 1)
        self.from_quarter = conv(STAGES[1][0], quarter, 1)
        self.quarter = Residual(quarter)
        self.to_half = conv(quarter, half, 1)
        self.from_half = conv(STAGES[0][0], half, 1)
        self.unfold = nn.PixelUnshuffle(2)
        self.detail = joined(4 * (FEATURES + 1), half)
        self.finest = nn.Sequential(joined(half, half), joined(half, half))
        self.out = nn.Conv2d(half, 4, 1)
        self.fold = nn.PixelShuffle(2)
        self.score = nn.Sequential(nn.Linear(2 * width + middle + phrase_width + SIGNS, 128), nn.ReLU(), nn.Linear(128, 1))

    def train_stages(self, count: int) -> None:
        """Let the last stages of the backbone learn along (int: how many of the four that follow stride 8)."""
        self.back.requires_grad_(False)
        for stage in self.back.stages[len(self.back.stages) - count :]:
            stage.requires_grad_(True)

    def phrases(self, expressions: Sequence[Expression | None]) -> Tensor:
        """Phrase vectors.

        expressions (Sequence[Optional[Expression]]): N referring expressions; None if nothing is said.
        RETURNS (Tensor): N x phrase_width.
        """
        said = [number for number, expression in enumerate(expressions) if expression is not None]
        rows = self.unnamed.expand(len(expressions), -1)
        if not said:
            return rows
        with torch.no_grad():
            known = self.text([expression for expression in expressions if expression is not None])
        return rows.index_copy(0, torch.tensor(said, device=rows.device), known.to(rows.dtype))

    def forward(self, features: Tensor, phrases: Tensor) -> tuple[Tensor, Tensor]:
        """One mask a crop.

        features (Tensor): N x (FEATURES + 1) x S x S, from `crop_features` and, last, the boxes of other things; S a multiple of 32.
        phrases (Tensor): N x phrase_width, from `phrases`.
        RETURNS (Tuple[Tensor, Tensor]): N x S x S logits of the pixels, N logits of the IoU.
        """
        features = features.contiguous(memory_format=torch.channels_last)
        # crop_features has its own mean and spread of colours.
        colours = features[:, :COLOURS] * (0.25 * 255 / 128) + (0.45 * 255 - 127) / 128
        planes = features[:, COLOURS:]
        asked = self.phrase(phrases)
        half, quarter, eighth = self._front(colours)
        maps = self.back(eighth)
        y = doubled(self.lateral[2](maps.last)) + self.lateral[1](maps.sixteenth) + self.planes[0](F.avg_pool2d(planes, 16))
        coarse = F.relu(y)
        for told in self.coarse:
            coarse = told(coarse, asked)
        y = doubled(self.narrow(coarse)) + self.lateral[0](maps.eighth) + self.planes[1](F.avg_pool2d(planes, 8))
        middle = F.relu(y)
        for told in self.eighth:
            middle = told(middle, asked)
        y = doubled(self.to_quarter(middle)) + self.from_quarter(quarter) + self.planes[2](F.avg_pool2d(planes, 4))
        fine = self.quarter(F.relu(y))
        detail = self.detail(self.unfold(features).contiguous(memory_format=torch.channels_last))
        y = F.relu(doubled(self.to_half(fine)) + self.from_half(half) + detail)
        logits = self.fold(self.out(self.finest(y)))[:, 0]
        return logits, self._score(logits, middle, coarse, asked)

    def _front(self, colours: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with torch.no_grad():
            x = self.front.stem(colours.contiguous(memory_format=torch.channels_last))
            maps = []
            for stage in self.front.stages:
                x = stage(x)
                maps.append(x)
        return maps[0], maps[1], maps[2]

    def _score(self, logits: Tensor, middle: Tensor, coarse: Tensor, asked: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            found = torch.sigmoid(logits.detach().float())
            chosen = (found > 0.5).float()
            mass, inside = found.sum((1, 2)), (found * chosen).sum((1, 2))
            area = chosen.sum((1, 2))
            rim = chosen.clone()
            rim[:, 4:-4, 4:-4] = 0
            size = logits.shape[1] * logits.shape[2]
            expected = inside / (area + mass - inside).clamp(min=1.0)
            undecided = (1 - (2 * found - 1).abs()).sum((1, 2)) / mass.clamp(min=1.0)
            signs = torch.stack([expected, area / size, rim.sum((1, 2)) / area.clamp(min=1.0), undecided.clamp(max=2.0)], dim=1)
            weights = F.avg_pool2d(found[:, None], 8)
            middle, coarse, asked = middle.float(), coarse.float(), asked.float()
            within = (middle * weights).sum((2, 3)) / weights.sum((2, 3)).clamp(min=1e-3)
            parts = [within, middle.mean((2, 3)), coarse.mean((2, 3)), asked, signs]
            return self.score(torch.cat(parts, dim=1))[:, 0]
