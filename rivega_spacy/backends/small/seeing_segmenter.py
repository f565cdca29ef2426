"""A box-prompted mask network whose encoder already knows what things look like: that of the small vision network.

Some two thousand masks teach outlines but hardly what a sheep is; fifteen thousand boxes did teach that. So the encoder here has
the layout of `networks/small/image.py` and starts from the weights that found those boxes. Beside the colours it is told, by a
convolution that begins at zero and so disturbs nothing, where the box is and what `crop_features` computes. The decoder is a
feature pyramid (Lin et al., 2017) carried on to half the crop's resolution, where a shallow path with all details joins in.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...post.errors import Errors, RivegaError
from .image import ImageEncoder
from .segmenter_network import COLOURS, FEATURES, Residual, doubled, joined


class SeeingMaskNetwork(nn.Module):
    """Crops with their box to one logit a pixel.

    widths (Sequence[int]): channels of the encoder's stages at strides 4, 8, 16 and 32.
    depths (Sequence[int]): residual blocks of each stage.
    stem (int): channels at stride 2.
    width (int): channels of the fused map at stride 8.
    fine (Sequence[int]): channels of the decoder at strides 4 and 2.
    """

    def __init__(
        self, widths: Sequence[int], depths: Sequence[int], stem: int = 24, width: int = 96, fine: Sequence[int] = (48, 24)
    ) -> None:
        super().__init__()
        self.encoder = ImageEncoder(widths=widths, depths=depths, stem=stem, width=width)
        self.prompt = nn.Conv2d(FEATURES - COLOURS, stem, 3, 2, 1, bias=False)
        nn.init.zeros_(self.prompt.weight)
        quarter, half = fine
        self.to_quarter = nn.Conv2d(width, quarter, 1, bias=False)
        self.from_quarter = nn.Conv2d(widths[0], quarter, 1, bias=False)
        self.finer = nn.Sequential(nn.BatchNorm2d(quarter), nn.ReLU(inplace=True), Residual(quarter))
        self.unfold = nn.PixelUnshuffle(2)
        self.detail = joined(4 * FEATURES, half)
        self.to_half = nn.Conv2d(quarter, half, 1, bias=False)
        self.finest = nn.Sequential(nn.BatchNorm2d(half), nn.ReLU(inplace=True), joined(half, half), joined(half, half))
        self.out = nn.Conv2d(half, 4, 1)
        self.fold = nn.PixelShuffle(2)

    def forward(self, features: Tensor) -> Tensor:
        """features (Tensor): NxFEATURESxSxS, from `crop_features`, S a multiple of 32. RETURNS (Tensor): NxSxS logits."""
        features = features.contiguous(memory_format=torch.channels_last)
        x = F.relu(self.encoder.stem(features[:, :COLOURS]) + self.prompt(features[:, COLOURS:]))
        maps: list[Tensor] = []
        for stage in self.encoder.stages:
            x = stage(x)
            maps.append(x)
        coarse = self.encoder.fuse(maps)
        quarter = doubled(self.to_quarter(coarse)) + self.from_quarter(maps[0])
        quarter = self.finer(quarter)
        detail = self.detail(self.unfold(features).contiguous(memory_format=torch.channels_last))
        return self.fold(self.out(self.finest(doubled(self.to_half(quarter)) + detail)))[:, 0]

    def take_encoder(self, state: dict[str, Tensor], *, source: str) -> int:
        """Start from the image encoder of a trained small vision network; blocks that this network leaves out are passed over.

        state (Dict[str, Tensor]): weights of the vision network by name.
        source (str): how an error names them.
        RETURNS (int): how many tensors were taken.
        RAISES (RivegaError): E330 if the encoder has other sizes.
        """
        own = self.encoder.state_dict()
        given = {name[len("image.") :]: value for name, value in state.items() if name.startswith("image.")}
        unfit = [name for name, value in own.items() if name not in given or given[name].shape != value.shape]
        if unfit:
            raise RivegaError(Errors.E330.format(source=source, names=", ".join(unfit[:5]), count=len(unfit)))
        self.encoder.load_state_dict({name: given[name].float() if own[name].is_floating_point() else given[name] for name in own})
        return len(own)
