"""The whole small network: encoders, heat-map head, box head and "does the picture show it" head."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...post.expressions import Expression
from ..shim import one_at_a_time
from .image import STRIDE, ImageEncoder
from .text import PhraseEncoder

BOX_UNIT = 4.0 * STRIDE


class EncodedPictures(NamedTuple):
    """What the image pass leaves for any number of questions about the picture.

    heat (Tensor): B x width x H x W, features for the heat maps.
    boxes (Tensor): B x box_width x H x W, features for the boxes.
    top (Tensor): B x width, global vector.
    classes (Tensor): B x C x places, probabilities of classes that the backbone knows by itself; C may be 0.
    """

    heat: Tensor
    boxes: Tensor
    top: Tensor
    classes: Tensor


class Questions(NamedTuple):
    """What the text pass leaves of P phrases.

    vector (Tensor): P x width, matched against the heat features.
    bias (Tensor): P, how likely a thing so named is in any picture at all.
    show (Tensor): P x 2 width, for the pooled and the global features.
    show_bias (Tensor): P.
    film (Tensor): P x 2 box_width, scale and shift of the box features.
    classes (Tensor): P x relations x C uint8, how far the backbone's classes count for it, in 255ths; C may be 0.
    """

    vector: Tensor
    bias: Tensor
    show: Tensor
    show_bias: Tensor
    film: Tensor
    classes: Tensor


class SmallVision(nn.Module):
    """Text-conditioned detector in the manner of FCOS (Tian et al. 2019): every location of a stride-8
    map answers for every phrase how well an object so described is centred there, and how far its four
    sides are.

    width (int): Phrase vector and heat features.
    box_width (int): Box features.
    word_width (int): Word vectors.
    image_widths (Sequence[int]): Channels of the four stages.
    image_depths (Sequence[int]): Blocks of the four stages.
    image_width (int): Channels of the fused map.
    image (Optional[nn.Module]): Another image encoder than `ImageEncoder`, which the caller of `encode_images` feeds.
    top_width (int): Width of that encoder's global vector.
    vocab_size (int): Rows of the word table.
    vocab_bytes (int): Length of the vocabulary, which travels with the weights.
    """

    shown_calibration: Tensor
    box_calibration: Tensor

    # In training, how far the last image pass moved what a backbone knew before; None if none may move.
    drift: Tensor | None = None

    def __init__(
        self,
        *,
        width: int = 128,
        box_width: int = 96,
        word_width: int = 64,
        image_widths: Sequence[int] = (32, 64, 128, 256),
        image_depths: Sequence[int] = (2, 2, 4, 3),
        image_width: int = 96,
        image: nn.Module | None = None,
        top_width: int = 0,
        vocab_size: int = 30522,
        vocab_bytes: int = 1,
    ) -> None:
        super().__init__()
        self.width, self.box_width = width, box_width
        self.image = image or ImageEncoder(widths=image_widths, depths=image_depths, width=image_width)
        self.text = PhraseEncoder(vocab_size=vocab_size, vocab_bytes=vocab_bytes, word_width=word_width, width=width)
        self.heat_features = nn.Conv2d(image_width, width, 1)
        self.box_features = nn.Conv2d(image_width, box_width, 1)
        self.top = nn.Sequential(nn.Linear(top_width or image_widths[-1], width), nn.ReLU(), nn.Linear(width, width))
        self.pooled = nn.Linear(width, width)
        self.ask = nn.Linear(width, 3 * width + 2 + 2 * box_width)
        self.box_out = nn.Sequential(nn.Linear(box_width, box_width), nn.ReLU(), nn.Linear(box_width, 4))
        self.show_heat = nn.Parameter(torch.tensor([0.5, 0.2]))
        self.heat_scale = nn.Parameter(torch.tensor(1.0))
        nn.init.zeros_(self.box_out[2].get_parameter("weight"))
        nn.init.zeros_(self.box_out[2].get_parameter("bias"))
        # Prior of the focal loss (Lin et al. 2017, section 4.1): nearly everything is background.
        self.heat_prior = nn.Parameter(torch.tensor(-4.0))
        # Slope and offset that turn logits into probabilities, fitted on photos kept from training.
        self.register_buffer("shown_calibration", torch.tensor([1.0, 0.0]))
        self.register_buffer("box_calibration", torch.tensor([1.0, 0.0]))

    def encode_images(self, pixels: Tensor, *, bf16: bool = False) -> EncodedPictures:
        """The image pass.

        pixels (Tensor): B x 3 x S x S, RGB 0..255.
        bf16 (bool): Convolve in bfloat16; the heads and the loss need single precision and get it.
        RETURNS (EncodedPictures): Features for the heads, single precision.
        """
        with torch.autocast(pixels.device.type, dtype=torch.bfloat16, enabled=bf16):
            fused, top = self.image(pixels)
            nothing = top.new_zeros(len(top), 0, 0)
            encoded = EncodedPictures(self.heat_features(fused), self.box_features(fused), self.top(top), nothing)
        return EncodedPictures(*(values.float() for values in encoded))

    def pictures_a_pass(self, *, bf16: bool) -> int:
        """How many pictures go through the image encoder together at run time, if it is not one at a time (`one_at_a_time`).

        bf16 (bool): Whether they are encoded in bfloat16.
        RETURNS (int): So many.
        """
        return 1 if one_at_a_time(self.heat_prior.device, bf16=bf16) else 8

    def encode_phrases(self, expressions: Sequence[Expression], phrases: Tensor | None = None) -> Questions:
        """The text pass.

        expressions (Sequence[Expression]): P referring expressions.
        phrases (Optional[Tensor]): P x width, their vectors where these are at hand.
        RETURNS (Questions): What the heads ask with.
        """
        return self.questions(self.text(expressions) if phrases is None else phrases)

    def questions(self, phrases: Tensor) -> Questions:
        """Phrase vectors (P x width) to what the heads ask with."""
        w, b = self.width, self.box_width
        vector, show, bias, film = self.ask(phrases).split([w, 2 * w, 2, 2 * b], dim=1)
        nothing = torch.zeros(len(phrases), 0, 0, dtype=torch.uint8, device=phrases.device)
        return Questions(vector, bias[:, 0] + self.heat_prior, show, bias[:, 1] - 1.0, film, nothing)

    def evidence(self, encoded: EncodedPictures, asked: Questions) -> Tensor | None:
        """What the backbone knows by itself of phrases: nothing, unless it was taught something before."""
        return None

    def heat(self, encoded: EncodedPictures, asked: Questions, evidence: Tensor | None = None) -> Tensor:
        """Heat maps of every phrase on every picture.

        encoded (EncodedPictures): B pictures.
        asked (Questions): P phrases.
        evidence (Optional[Tensor]): What `evidence` returned; without it, it is asked.
        RETURNS (Tensor): B x P x H*W logits.
        """
        features = encoded.heat.flatten(2)
        scores = torch.matmul(asked.vector[None] * (self.heat_scale / self.width**0.5), features)
        return scores + asked.bias[None, :, None]

    def shown(self, encoded: EncodedPictures, asked: Questions, heat: Tensor, evidence: Tensor | None = None) -> Tensor:
        """Does the picture show it?

        encoded (EncodedPictures): B pictures.
        asked (Questions): P phrases.
        heat (Tensor): B x P x L, their heat maps.
        evidence (Optional[Tensor]): As in `heat`.
        RETURNS (Tensor): B x P logits.
        """
        # The best-fitting places, seen through the phrase; the maps themselves learn from boxes alone.
        heat = heat.detach()
        places = (heat * 1.0).softmax(dim=2)
        seen = torch.matmul(places, encoded.heat.flatten(2).transpose(1, 2))
        local, whole = asked.show.chunk(2, dim=1)
        scale = self.width**-0.5
        logit = (self.pooled(seen) * local[None]).sum(dim=2) * scale + encoded.top @ whole.t() * scale
        peak = heat.amax(dim=2)
        mass = heat.logsumexp(dim=2)
        return logit + self.show_heat[0] * peak + self.show_heat[1] * mass + asked.show_bias[None] + 2.0

    def boxes(self, encoded: EncodedPictures, asked: Questions, picture: Tensor, phrase: Tensor, place: Tensor) -> Tensor:
        """Boxes at chosen places.

        encoded (EncodedPictures): B pictures.
        asked (Questions): P phrases.
        picture (Tensor): N, which picture.
        phrase (Tensor): N, which phrase.
        place (Tensor): N, which location (row * W + column).
        RETURNS (Tensor): N x 4 boxes XYXY in input pixels.
        """
        columns = encoded.boxes.shape[3]
        row, column = torch.div(place, columns, rounding_mode="floor"), place % columns
        features = encoded.boxes[picture, :, row, column]
        gain, shift = asked.film[phrase].chunk(2, dim=1)
        sides = self.box_out(torch.relu(features * (1 + gain) + shift)).clamp(-4, 4).exp() * BOX_UNIT
        x, y = (column + 0.5) * STRIDE, (row + 0.5) * STRIDE
        return torch.stack([x - sides[:, 0], y - sides[:, 1], x + sides[:, 2], y + sides[:, 3]], dim=1)
