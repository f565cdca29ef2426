"""rivega.CLIPSeg.v1: masks from a picture and a text, without boxes, through transformers.

Lüddecke and Ecker, "Image Segmentation Using Text and Image Prompts", CVPR 2022. The query-based side of the paper's Table X.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ...pipes.queries import ImageQueries, ScoredMasks
from ...post.errors import Errors, RivegaError
from ...post.failures import setting_up
from ...post.versions import features
from ..backend import Loaded
from ..hub import Kinds, Tools, hub_tools, load_hub
from ..weights import finite_or_raise

NAME = "CLIPSeg"
KINDS: Kinds = {"clipseg": ("transformers", "CLIPSegConfig", "CLIPSegForImageSegmentation")}
# Of ImageNet: what CLIPSeg's pictures are normalised with, where its folder does not say.
MEAN = [0.485, 0.456, 0.406]
STD = [0.229, 0.224, 0.225]


def make_clipseg(
    path: str = "CIDAS/clipseg-rd64-refined", device: str | None = None, threshold: float = 0.5, text_batch: int = 16
) -> "CLIPSegSegmenter":
    """CLIPSeg in transformers' format.

    path (str): A folder, or a name on the model hub.
    device (Optional[str]): "cuda", "cpu" and so on; by default the GPU where PyTorch has one.
    threshold (float): From which probability on a pixel belongs to the mask.
    text_batch (int): Expressions decoded at once.
    RETURNS (CLIPSegSegmenter): Called with pictures and expressions. The weights are read at the first call.
    RAISES (RivegaError): E208 for a threshold that is no probability.
    """
    if not 0.0 < threshold < 1.0:
        raise RivegaError(Errors.E208.format(option="threshold", value=threshold))
    return CLIPSegSegmenter(partial(load_clipseg, path), device=device, threshold=threshold, text_batch=text_batch)


def load_clipseg(path: str) -> Loaded:
    """Network and tokenizer. RAISES (RivegaError): E730, E732, E733, E734; see `load_hub`."""
    network: Any
    network, saved = load_hub(path, KINDS, what="CLIPSeg network", max_tokens=77)
    # The text network has so many positions and no more.
    saved["max_tokens"] = min(saved["max_tokens"], network.config.text_config.max_position_embeddings)
    if Path(path).is_dir() and not (Path(path) / "preprocessor_config.json").is_file():
        saved.update(mean=MEAN, std=STD)
    return network, saved


class CLIPSegSegmenter:
    """Expressions to masks: a picture is encoded once, however many expressions ask about it.

    load (Callable[[], Loaded]): Makes network and tools, at the first call.
    """

    def __init__(
        self, load: Callable[[], Loaded], *, device: str | None = None, threshold: float = 0.5, text_batch: int = 16
    ) -> None:
        self.load = load
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.threshold = threshold
        self.text_batch = max(1, text_batch)
        self._ready: tuple[Any, Tools] | None = None

    @property
    def ready(self) -> tuple[Any, Tools]:
        """The network on its device, and what prepares its input."""
        if self._ready is None:
            with setting_up(NAME):
                network, saved = self.load()
                self._ready = network.to(self.device).eval(), hub_tools(saved)
        return self._ready

    def __call__(self, batch: list[ImageQueries]) -> list[ScoredMasks]:
        """Masks of all expressions about all pictures.

        batch (List[ImageQueries]): Pictures with expressions.
        RETURNS (List[ScoredMasks]): For each expression its mask, HxW bool, which may be empty, and a score: the mean probability
            of the mask's pixels, or of an empty mask the highest probability of any.
        RAISES (RivegaError): E735 if the network computes what is no number.
        """
        return [self._segment(queries) if queries.expressions else [] for queries in batch]

    @torch.inference_mode()
    def _segment(self, queries: ImageQueries) -> ScoredMasks:
        network, tools = self.ready
        return segment(network, tools, queries, device=self.device, threshold=self.threshold, text_batch=self.text_batch)


def segment(network: Any, tools: Tools, queries: ImageQueries, *, device: str, threshold: float, text_batch: int) -> ScoredMasks:
    """Masks of all expressions about one picture; see `CLIPSegSegmenter`.

    network (Module), tools (Tools): CLIPSeg and what prepares its input. device (str): Where it is.
    threshold (float), text_batch (int): See `make_clipseg`.
    """
    height, width = queries.image.shape[:2]
    layers = look(network, tools, queries.image, device=device)
    results: ScoredMasks = []
    for start in range(0, len(queries.expressions), text_batch):
        asked = [expression.text() for expression in queries.expressions[start : start + text_batch]]
        for small in mark(network, tools, layers, asked, device=device).float():
            # One at a time: at the picture's size a map has four bytes a pixel.
            large = F.interpolate(small[None, None], (height, width), mode="bilinear", align_corners=False).sigmoid()
            shares = finite_or_raise(large[0, 0].cpu().numpy(), name=NAME)
            found = shares >= threshold
            results.append((found, float(shares[found].mean() if found.any() else shares.max())))
    return results


def look(network: Any, tools: Tools, image: np.ndarray, *, device: str) -> list[torch.Tensor]:
    """What CLIPSeg's decoder reads of a picture. image (ndarray): HxWx3 uint8. RETURNS (List[Tensor]): 1 x places x width each."""
    side = network.config.vision_config.image_size
    # The whole picture becomes a square, as in CLIPSeg's training.
    pixels = torch.from_numpy(tools.pictures.resized(image, side, side, Image.Resampling.BILINEAR))[None].to(device)
    seen = network.clip.vision_model(pixel_values=pixels, output_hidden_states=True, return_dict=True)
    return [seen.hidden_states[number + 1] for number in network.extract_layers]


def mark(network: Any, tools: Tools, layers: list[torch.Tensor], texts: list[str], *, device: str) -> torch.Tensor:
    """Logits of the pixels of the square, n x S x S. layers (List[Tensor]): From `look`. texts (List[str]): n."""
    ids, mask = tools.tokens(texts)
    wanted = features(network.clip.get_text_features(ids.to(device), attention_mask=mask.to(device)))
    logits = network.decoder([layer.expand(len(ids), -1, -1) for layer in layers], wanted, return_dict=True).logits
    marked: torch.Tensor = logits.reshape(len(ids), *logits.shape[-2:])
    return marked
