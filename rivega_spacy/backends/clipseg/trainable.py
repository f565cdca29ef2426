"""`rivega.CLIPSegSegmenter.v1`: CLIPSeg as an architecture that is fine-tuned on the masks of posts (the query-based side of Table X)."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from thinc.api import Model

from ...pipes.queries import ImageQueries, QueryTarget, ScoredMasks
from ...post.errors import Errors, RivegaError
from ...post.rle import decode_mask
from ..backend import BackendShim, backend_model, set_dropout
from ..common import Common
from ..hub import build_hub, hub_tools
from ..shim import shim_of
from .segmenter import KINDS, NAME, load_clipseg, look, mark, segment


def clipseg_segmenter(
    *,
    path: str | None = None,
    threshold: float = 0.5,
    text_batch: int = 16,
    freeze: list[str] | None = None,
    half_on_disk: bool = True,
) -> Model[list[ImageQueries], list[Any]]:
    """`rivega.CLIPSegSegmenter.v1`, for `rivega_text_segmenter`. Its weights are saved with the pipeline.

    path (Optional[str]): A folder in transformers' form or a name on the model hub to begin from; a saved pipeline needs none.
    threshold (float): From which probability on a pixel belongs to the mask.
    text_batch (int): Expressions decoded at once.
    freeze (Optional[List[str]]): Beginnings of the names of parameters that are not trained; None freezes CLIP, as CLIPSeg's authors did.
    half_on_disk (bool): Save in half precision.
    RETURNS (Model[List[ImageQueries], List[ScoredMasks]]): For each expression its mask, HxW bool, and a score.
    RAISES (RivegaError): E208 for a threshold that is no probability.
    """
    if not 0.0 < threshold < 1.0:
        raise RivegaError(Errors.E208.format(option="threshold", value=threshold))
    shim = BackendShim(
        name=NAME,
        build=partial(build_hub, kinds=KINDS),
        load=None if path is None else partial(load_clipseg, str(path)),
        load_from=load_clipseg,
        tools=hub_tools,
        common=Common(path=path, freeze=("clip.",) if freeze is None else freeze, half_on_disk=half_on_disk),
    )
    predict = partial(_predict, threshold=threshold, text_batch=max(1, text_batch))
    return backend_model("clipseg_segmenter", shim, predict, train_step=_train_step, arrays=False)


@torch.inference_mode()
def _predict(shim: BackendShim, batch: list[ImageQueries], *, threshold: float, text_batch: int) -> list[ScoredMasks]:
    network: Any = shim.ready().eval()
    options: Any = {"device": str(shim.device), "threshold": threshold, "text_batch": text_batch}
    return [segment(network, shim.tools, queries, **options) if queries.expressions else [] for queries in batch]


def _train_step(model: Model, batch: list[ImageQueries], targets: list[list[QueryTarget]], *, dropout: float) -> dict[str, float]:
    """Cross-entropy of the square's pixels, as in CLIPSeg's training. Expressions without a mask of their picture's size are left out."""
    shim = shim_of(model, BackendShim)
    network: Any = shim.ready()
    network.train()
    set_dropout(network, dropout)
    losses: list[torch.Tensor] = []
    for queries, row in zip(batch, targets):
        known = [
            (asked.text(), gold) for asked, target in zip(queries.expressions, row) if (gold := _gold(queries, target)) is not None
        ]
        if not known:
            continue
        device = str(shim.device)
        layers = look(network, shim.tools, queries.image, device=device)
        logits = mark(network, shim.tools, layers, [text for text, _ in known], device=device).float()
        gold = torch.stack([F.interpolate(mask[None, None], logits.shape[-2:], mode="area")[0, 0] for _, mask in known])
        losses += list(F.binary_cross_entropy_with_logits(logits, gold.to(logits.device), reduction="none").mean(dim=(1, 2)))
    if not losses:
        return {"segmentation": 0.0}
    loss = torch.stack(losses).mean()
    loss.backward()
    return {"segmentation": float(loss.detach())}


def _gold(queries: ImageQueries, target: QueryTarget) -> torch.Tensor | None:
    """The union of an entity's masks, HxW; None if it has none of the picture's size."""
    masks = [decode_mask(rle) for rle in target.masks if tuple(rle["size"]) == queries.image.shape[:2]]
    if not masks:
        return None
    union = masks[0]
    for mask in masks[1:]:
        union = union | mask
    return torch.from_numpy(union.astype("float32"))


__all__ = ["clipseg_segmenter"]
