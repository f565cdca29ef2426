"""The small network on a backbone that has seen the 1.2 million photographs of ImageNet.

EfficientNet-Lite0 stays as it was published unless `train_stages` says otherwise (Vasconcelos et al. 2022, "Proper Reuse of Image Classification Features Improves Object
Detection": frozen features lose little, and nothing on rare kinds); a feature pyramid and the heads learn. Its classifier of a
thousand classes is kept, applied at every place of the last map, and asked through the nouns of a phrase (`nouns.py`).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...post.expressions import Expression
from .image import STRIDE, conv
from .lite import CLASSES, ENDS, HEAD, LAST_STAGES, STAGES, Back, Front, Maps
from .network import EncodedPictures, Questions, SmallVision
from .nouns import RELATIONS, NounTable

# A share of probability below this counts as none; evidence is the logarithm of the rest, scaled to 0..1.
LEAST = 1e-3
# Pictures that go through the backbone together: its widest maps of more than two leave the processor's cache. In training, where
# answering at once does not matter, more.
ASKED_A_PASS, TRAINED_A_PASS = 2, 8
# At how many places of a map training compares what the classifier says with what it said before the backbone moved.
HELD_PLACES = 24


class Refined(nn.Module):
    """A 3x3 convolution added to what comes in.

    width (int): Channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.change = conv(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.change(x))


class Pyramid(nn.Module):
    """The backbone's maps fused at stride 8 (Lin et al. 2017), the middle one refined most: it is cheap and sees enough.

    middle (int): Channels at stride 16.
    width (int): Channels at stride 8.
    depth (int): Refinements at stride 16.
    """

    def __init__(self, *, middle: int, width: int, depth: int) -> None:
        super().__init__()
        low, mid, high = (STAGES[end][0] for end in ENDS)
        self.lateral = nn.ModuleList([conv(low, width, 1), conv(mid, middle, 1), conv(high, middle, 1)])
        self.context = nn.Linear(HEAD, middle)
        self.coarse = nn.Sequential(*(Refined(middle) for _ in range(depth)))
        self.narrow = conv(middle, width, 1)
        self.fine = Refined(width)

    def forward(self, maps: Maps, whole: Tensor) -> Tensor:
        """maps (Maps): Of the backbone. whole (Tensor): B x HEAD. RETURNS (Tensor): B x width x S/8 x S/8."""
        y = F.relu(self.lateral[2](maps.last) + self.context(whole)[:, :, None, None])
        y = F.interpolate(y, scale_factor=2, mode="nearest") + self.lateral[1](maps.sixteenth)
        y = self.narrow(self.coarse(F.relu(y)))
        return self.fine(F.relu(F.interpolate(y, scale_factor=2, mode="nearest") + self.lateral[0](maps.eighth)))


class SeenVision(SmallVision):
    """SmallVision with EfficientNet-Lite0, its thousand classes, and nouns that point to them.

    width (int): Phrase vector and heat features.
    box_width (int): Box features.
    word_width (int): Word vectors.
    middle (int): Channels of the pyramid at stride 16.
    image_width (int): Channels of the pyramid at stride 8.
    depth (int): Refinements at stride 16.
    vocab_size (int): Rows of the word table.
    vocab_bytes (int): Length of the vocabulary, which travels with the weights.
    nouns (Sequence[int]): Sizes of the table of nouns, which does too; see NounTable.
    """

    def __init__(
        self,
        *,
        width: int = 128,
        box_width: int = 96,
        word_width: int = 96,
        middle: int = 160,
        image_width: int = 96,
        depth: int = 2,
        vocab_size: int = 30522,
        vocab_bytes: int = 1,
        nouns: Sequence[int] = (0, 0, 0),
    ) -> None:
        super().__init__(
            width=width,
            box_width=box_width,
            word_width=word_width,
            image=Pyramid(middle=middle, width=image_width, depth=depth),
            image_width=image_width,
            top_width=HEAD,
            vocab_size=vocab_size,
            vocab_bytes=vocab_bytes,
        )
        self.front, self.back = Front(), Back()
        self.front.requires_grad_(False)
        self.back.requires_grad_(False)
        self.trained_stages = 0
        self.nouns = NounTable(*nouns)
        # How far each relation is trusted at a place, and what it says of the whole picture: its best place, its share of the
        # picture, and whether the phrase has any class so related.
        self.trust = nn.Parameter(torch.tensor([2.0, 1.0, 1.0]))
        self.weigh = nn.Sequential(nn.Linear(3 * RELATIONS, 32), nn.ReLU(), nn.Linear(32, 1))
        nn.init.zeros_(self.weigh[2].get_parameter("weight"))
        nn.init.zeros_(self.weigh[2].get_parameter("bias"))

    def train_stages(self, count: int) -> None:
        """Let the last stages of the backbone learn along; its first three, and the classifier of the thousand classes, never do.

        count (int): How many of the four that follow stride 8; 0 freezes all.
        """
        self.trained_stages = count
        self.back.requires_grad_(False)
        for stage in self.back.stages[len(self.back.stages) - count :]:
            stage.requires_grad_(True)

    def encode_images(self, pixels: Tensor | Sequence[Tensor], *, bf16: bool = False) -> EncodedPictures:
        """The image pass.

        pixels (Union[Tensor, Sequence[Tensor]]): B x 3 x S x S, RGB 0..255; or the three maps that `backbone` makes of them.
        bf16 (bool): Convolve in bfloat16; the heads and the loss need single precision and get it.
        RETURNS (EncodedPictures): Features for the heads, single precision.
        """
        with torch.autocast(pixels[0].device.type, dtype=torch.bfloat16, enabled=bf16):
            kept = self.backbone(pixels) if isinstance(pixels, Tensor) else Maps(*pixels)
            before = None
            if self.trained_stages and not isinstance(pixels, Tensor):
                # What was kept of the later stages is of their weights as they were.
                before = kept.last.to(self.heat_prior.dtype)
                kept = self._again(kept)
            maps = Maps(*(part.to(self.heat_prior.dtype).contiguous(memory_format=torch.channels_last) for part in kept))
            self.drift = None if before is None else self._drift(before, maps.last)
            classes, whole = self.back.classes(maps.last)
            fused = self.image(maps, whole)
            encoded = EncodedPictures(self.heat_features(fused), self.box_features(fused), self.top(whole), classes)
        return EncodedPictures(*(values.float() for values in encoded))

    def _again(self, kept: Maps) -> Maps:
        eighth, sixteenth = (part.to(self.heat_prior.dtype).contiguous(memory_format=torch.channels_last) for part in kept[:2])
        if self.trained_stages > LAST_STAGES - (ENDS[1] - ENDS[0]):
            return self.back(eighth)
        return Maps(eighth, sixteenth, self.back.last(sixteenth))

    def _drift(self, before: Tensor, after: Tensor) -> Tensor:
        """How far the classifier's answers at some places, and in the whole picture, have moved (Li and Hoiem 2016, "Learning without
        Forgetting"): the divergence of what it says after from what it said before, mean over places."""
        places = torch.randperm(after.shape[2] * after.shape[3], device=after.device)[:HELD_PLACES]
        with torch.no_grad():
            old = self.back.logits(before, places).float().log_softmax(dim=1)
        new = self.back.logits(after, places).float().log_softmax(dim=1)
        return F.kl_div(new, old, reduction="none", log_target=True).sum(dim=1).mean()

    def backbone(self, pixels: Tensor) -> Maps:
        """What the backbone makes of pictures.

        pixels (Tensor): B x 3 x S x S, RGB 0..255.
        RETURNS (Maps): At strides 8, 16 and 32.
        """
        passes = [self.back(self.front(part)) for part in pixels.split(TRAINED_A_PASS if self.training else ASKED_A_PASS)]
        return Maps(*(torch.cat(parts) for parts in zip(*passes)))

    def encode_phrases(self, expressions: Sequence[Expression], phrases: Tensor | None = None) -> Questions:
        """The text pass, with the classes that the phrases' nouns point to.

        expressions (Sequence[Expression]): P referring expressions.
        phrases (Optional[Tensor]): P x width, their vectors where these are at hand.
        RETURNS (Questions): What the heads ask with.
        """
        asked = super().encode_phrases(expressions, phrases)
        return asked._replace(classes=self.nouns([(expression.name, expression.expansion) for expression in expressions]))

    def evidence(self, encoded: EncodedPictures, asked: Questions) -> Tensor:
        """What the thousand classes say of phrases.

        encoded (EncodedPictures): B pictures.
        asked (Questions): P phrases.
        RETURNS (Tensor): B x P x RELATIONS x (h*w + 1), 0..1: at every place at stride 32, and last in the whole picture.
        """
        weights = asked.classes.flatten(0, 1).to(encoded.classes.dtype) / 255
        share = torch.matmul(weights, encoded.classes).clamp(0, 1)
        scaled = 1 - (share + LEAST).log() / math.log(LEAST)
        return scaled.clamp_min(0).view(len(share), -1, RELATIONS, share.shape[2])

    def heat(self, encoded: EncodedPictures, asked: Questions, evidence: Tensor | None = None) -> Tensor:
        """Heat maps of every phrase on every picture, B x P x H*W logits."""
        found = (self.evidence(encoded, asked) if evidence is None else evidence)[..., :-1]
        trusted = torch.einsum("bprl,r->bpl", found, self.trust)
        rows, columns = encoded.heat.shape[2:]
        side = STRIDE * rows // 32
        spread = F.interpolate(
            trusted.view(*trusted.shape[:2], side, -1), size=(rows, columns), mode="bilinear", align_corners=False
        )
        return super().heat(encoded, asked) + spread.flatten(2)

    def shown(self, encoded: EncodedPictures, asked: Questions, heat: Tensor, evidence: Tensor | None = None) -> Tensor:
        """Does the picture show it? B x P logits."""
        found = self.evidence(encoded, asked) if evidence is None else evidence
        known = (asked.classes.flatten(2).view(len(asked.classes), RELATIONS, CLASSES).amax(dim=2) > 0).to(found.dtype)
        facts = torch.cat([found[..., :-1].amax(dim=3), found[..., -1], known[None].expand(len(found), -1, -1)], dim=2)
        return super().shown(encoded, asked, heat) + self.weigh(facts)[..., 0]
