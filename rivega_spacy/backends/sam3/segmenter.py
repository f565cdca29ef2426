"""`rivega.SAM3.v1`: the masks of what is named, without boxes, asked of SAM 3 through transformers.

Carion et al., "SAM 3: Segment Anything with Concepts", 2025. Told a short noun phrase, it marks every instance of it in the picture: grounder and
segmenter in one, for `rivega_text_segmenter`. It does not know people by name; what it is told is the expansion.
"""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from thinc.api import Model

from ...pipes.queries import ImageQueries, ScoredMasks
from ...post.errors import Errors, RivegaError
from ...post.expressions import Expression
from ..backend import BackendShim, Loaded, backend_model, questions
from ..common import Common
from ..hub import Kinds, Tools, build_hub, hub_tools, load_hub
from ..weights import finite_or_raise

NAME = "SAM 3"
# Published is one file for pictures and videos, of which the network for pictures is a part.
_CLASSES = ("transformers", "Sam3Config", "Sam3Model")
KINDS: Kinds = {"sam3": _CLASSES, "sam3_video": _CLASSES}
SINCE = "5.0"
# Tokens of a concept, padding included: SAM 3 was trained with just so many.
TOKENS = 32
_ARTICLE = re.compile(r"^(?:an?|the|my|our|his|her|their|your)\s+", re.IGNORECASE)


def sam3_segmenter(
    *,
    path: str | None = None,
    threshold: float = 0.5,
    mask_threshold: float = 0.5,
    together: bool = False,
    batch_size: int = 4,
    bf16: bool = False,
    half_on_disk: bool = True,
    save_weights: bool = True,
) -> Model[list[ImageQueries], list[Any]]:
    """`rivega.SAM3.v1`, for `rivega_text_segmenter`. It needs transformers 5; its weights are saved with the pipeline.

    path (Optional[str]): A folder in transformers' form or a name on the model hub, for example "facebook/sam3" (gated: its licence has to be
        accepted there first). A saved pipeline needs none.
    threshold (float): From which score on an instance counts. If none reaches it the picture does not show the entity.
    mask_threshold (float): From which probability on a pixel belongs to a mask.
    together (bool): The mask is that of all instances that count, for expansions in the plural; else that of the likeliest one.
    batch_size (int): Expressions in one pass, across pictures. A picture is encoded once.
    bf16 (bool): Compute in bfloat16.
    half_on_disk (bool): Save in half precision.
    save_weights (bool): Save the weights with the component; without, they are read from `path` again, and components of one path share them.
    RETURNS (Model[List[ImageQueries], List[ScoredMasks]]): For each expression its mask, HxW bool, empty if no instance counts, and the score of
        the likeliest instance. It cannot be trained here.
    RAISES (RivegaError): E208 for a threshold that is no probability. SetupError E900 when the network is first needed and transformers is too old.
    """
    for option, value in (("threshold", threshold), ("mask_threshold", mask_threshold)):
        if not 0.0 < value < 1.0:
            raise RivegaError(Errors.E208.format(option=option, value=value))
    shim = BackendShim(
        name=NAME,
        build=partial(build_hub, kinds=KINDS, since=SINCE),
        load=None if path is None else partial(load_sam3, str(path)),
        load_from=load_sam3,
        tools=hub_tools,
        common=Common(path=path, bf16=bf16, half_on_disk=half_on_disk, save_weights=save_weights),
    )
    predict = partial(
        _predict, threshold=threshold, mask_threshold=mask_threshold, together=together, batch_size=max(1, batch_size)
    )
    return backend_model("sam3", shim, predict, arrays=False)


def load_sam3(path: str) -> Loaded:
    """Network and tokenizer. RAISES (RivegaError): E900, E730, E732, E733, E734; see `load_hub`."""
    return load_hub(path, KINDS, what=f"{NAME} network", max_tokens=TOKENS, since=SINCE)


def concept(expression: Expression) -> str:
    """What SAM 3 is told of an entity: its expansion as a noun phrase without an article; if there is none, its name."""
    text = " ".join((expression.expansion or expression.name).split())
    return _ARTICLE.sub("", text)


@torch.inference_mode()
def _predict(
    shim: BackendShim,
    batch: list[ImageQueries],
    *,
    threshold: float,
    mask_threshold: float,
    together: bool,
    batch_size: int,
) -> list[ScoredMasks]:
    found: list[ScoredMasks] = [[] for _ in batch]
    tools: Tools = shim.tools
    for group in questions(batch, batch_size):
        texts = [concept(expression) for n in group for expression in batch[n].expressions]
        owner = torch.tensor([place for place, n in enumerate(group) for _ in batch[n].expressions])
        ids, mask = tools.tokens(texts, length=TOKENS)
        with shim.inference(bf16=shim.common.bf16) as network:
            seen = look(network, tools, [batch[n].image for n in group], str(shim.device))
            for start in range(0, len(texts), batch_size):
                rows = slice(start, start + batch_size)
                output = network(
                    vision_embeds=of_pictures(seen, owner[rows].to(shim.device)),
                    input_ids=ids[rows].to(shim.device),
                    attention_mask=mask[rows].to(shim.device),
                )
                for row, place in enumerate(owner[rows].tolist()):
                    size = batch[group[place]].image.shape[:2]
                    found[group[place]].append(
                        read(output, row, size, threshold=threshold, mask_threshold=mask_threshold, together=together)
                    )
    return found


def look(network: Any, tools: Tools, images: Sequence[np.ndarray], device: str) -> Any:
    """Pictures as the network's detector reads them, each stretched to its square. images (Sequence[ndarray]): HxWx3 uint8."""
    side = network.config.vision_config.backbone_config.image_size
    high, wide = (side, side) if isinstance(side, int) else side
    pixels = np.stack([tools.pictures.resized(image, high, wide, Image.Resampling.BILINEAR) for image in images])
    return network.get_vision_features(pixel_values=torch.from_numpy(pixels).to(device))


def of_pictures(seen: Any, owner: torch.Tensor) -> Any:
    """What was seen, one row for each expression. owner (Tensor): The picture of each."""
    rows = {name: tuple(level[owner] for level in getattr(seen, name)) for name in ("fpn_hidden_states", "fpn_position_encoding")}
    return type(seen)(last_hidden_state=seen.last_hidden_state[owner], **rows)


def read(
    output: Any, row: int, size: tuple[int, int], *, threshold: float, mask_threshold: float, together: bool
) -> tuple[np.ndarray, float]:
    """The mask of one expression, HxW bool, and the score of its likeliest instance.

    output (Sam3ImageSegmentationOutput): Of the network. row (int): The expression. size (Tuple[int, int]): Height and width of its picture.
    """
    # An instance is as likely as it is alike, times that there is any.
    scores = output.pred_logits[row].float().sigmoid()
    if output.presence_logits is not None:
        scores = scores * output.presence_logits[row].float().sigmoid()
    finite_or_raise(scores.cpu().numpy(), name=NAME)
    best = int(scores.argmax())
    counted = (scores > threshold).nonzero()[:, 0].tolist() if together else [best] if float(scores[best]) > threshold else []
    marked = np.zeros(size, dtype=bool)
    for instance in counted:
        # One at a time: at the picture's size a mask has four bytes a pixel.
        shares = output.pred_masks[row, instance].float().sigmoid()
        large = F.interpolate(shares[None, None], size, mode="bilinear", align_corners=False)
        marked |= (large[0, 0] > mask_threshold).cpu().numpy()
    return marked, float(scores[best])


__all__ = ["concept", "sam3_segmenter"]
