"""`rivega.ITMEntailment.v1`: does the picture show the entity, asked of BLIP's or BLIP-2's image-text matching."""

from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from thinc.api import Model
from thinc.types import Floats1d

from ...pipes.queries import ImageQueries, QueryTarget
from ...post.expressions import Expression
from ..backend import BackendShim, answers, backend_model, flat_texts, judged, set_dropout
from ..common import Common
from ..compiling import Compiled, compile_parts
from ..hub import Kinds, hub_shim
from ..shim import shim_of

NAME = "image-text matching"
KINDS: Kinds = {
    "blip": ("transformers", "BlipConfig", "BlipForImageTextRetrieval"),
    "blip-2": ("transformers", "Blip2Config", "Blip2ForImageTextRetrieval"),
}


def itm_entailment(
    *,
    path: str | None = None,
    max_tokens: int = 64,
    batch_size: int = 32,
    bf16: bool = False,
    compiled: Compiled = False,
    gradient_checkpointing: bool = False,
    freeze: list[str] | None = None,
    half_on_disk: bool = True,
) -> Model[list[ImageQueries], list[Floats1d]]:
    """`rivega.ITMEntailment.v1`.

    path (Optional[str]): Folder or name on the model hub of a BLIP ("Salesforce/blip-itm-base-coco") or BLIP-2
        ("Salesforce/blip2-itm-vit-g") with a matching head. A saved pipeline needs none.
    max_tokens (int): Tokens of an expression that are read.
    batch_size (int): Expressions in one pass.
    bf16 (bool): Compute in bfloat16.
    compiled (Compiled): Compile the layers with torch.compile: true, false, or the name of one of its backends.
    gradient_checkpointing (bool): Less memory and more time in training.
    freeze (Optional[List[str]]): Beginnings of the names of parameters that are not trained, for example "vision_model.".
    half_on_disk (bool): Save in half precision.
    RETURNS (Model[List[ImageQueries], List[Floats1d]]): The probability of a match for every expression.
    """
    common = Common(
        path=path,
        bf16=bf16,
        compiled=compiled,
        gradient_checkpointing=gradient_checkpointing,
        freeze=freeze,
        half_on_disk=half_on_disk,
    )
    shim = hub_shim(common, KINDS, name=NAME, max_tokens=max_tokens, prepare=_prepare)
    predict = partial(_predict, batch_size=batch_size)
    return backend_model("itm_entailment", shim, predict, train_step=_train_step)


def matching_logits(network: Any, image: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """No match and match.

    network (Module): BlipForImageTextRetrieval or Blip2ForImageTextRetrieval.
    image (Tensor): n x p x width, what its `vision_model` says, one row for each expression.
    ids (Tensor), mask (Tensor): n x t.
    RETURNS (Tensor): n x 2.
    """
    seen = torch.ones(image.shape[:2], dtype=torch.long, device=image.device)
    if network.config.model_type == "blip":
        states = network.text_encoder(
            input_ids=ids, attention_mask=mask, encoder_hidden_states=image, encoder_attention_mask=seen
        ).last_hidden_state
        return network.itm_head(states[:, 0]).float()
    queries = network.query_tokens.expand(len(ids), -1, -1)
    length = queries.shape[1]
    full = torch.cat([mask.new_ones(len(ids), length), mask], dim=1)
    states = network.qformer(
        query_embeds=network.embeddings(input_ids=ids, query_embeds=queries),
        query_length=length,
        attention_mask=full,
        encoder_hidden_states=image,
        encoder_attention_mask=seen,
    ).last_hidden_state
    return network.itm_head(states[:, :length]).mean(dim=1).float()


def _prepare(network: Any, common: Common) -> None:
    # The contrastive heads take no part in matching and would only hold memory in training.
    for name in ("vision_proj", "text_proj", "vision_projection", "text_projection"):
        if hasattr(network, name):
            getattr(network, name).requires_grad_(False)
    if common.gradient_checkpointing:
        network.gradient_checkpointing_enable({"use_reentrant": False})
    reader = network.text_encoder if network.config.model_type == "blip" else network.qformer
    compile_parts([*network.vision_model.encoder.layers, *reader.encoder.layer], common.compiled)


def _look(network: Any, images: list[np.ndarray], *, shim: BackendShim) -> torch.Tensor:
    size = network.config.vision_config.image_size
    pixels = np.stack([shim.tools.pictures.resized(image, size, size) for image in images])
    return network.vision_model(pixel_values=torch.from_numpy(pixels).to(shim.device))[0]


def _predict(shim: BackendShim, batch: list[ImageQueries], *, batch_size: int) -> list[np.ndarray]:
    return answers(
        shim,
        batch,
        nothing=np.zeros((0,), dtype="float32"),
        wording=Expression.text,
        tokens=shim.tools.tokens,
        look=partial(_look, shim=shim),
        read=_read,
        batch_size=batch_size,
        bf16=shim.common.bf16,
    )


def _read(network: Any, image: torch.Tensor, owner: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return matching_logits(network, image[owner], ids, mask).softmax(-1)[:, 1]


def _train_step(model: Model, batch: list[ImageQueries], targets: list[list[QueryTarget]], *, dropout: float) -> dict[str, float]:
    """Cross entropy of match and no match; see `rivega_spacy.pipes.contract`."""
    shim = shim_of(model, BackendShim)
    network: Any = shim.ready()
    pictures, expressions, shown = judged(batch, targets)
    if not shown:
        return {"entailment": 0.0}
    texts, owner = flat_texts(expressions, Expression.text)
    ids, mask = shim.tools.tokens(texts)
    labels = torch.tensor(shown).long()
    network.train()
    set_dropout(network, dropout)
    with shim.autocast(shim.common.bf16):
        image = _look(network, pictures, shim=shim)
        logits = matching_logits(network, image[owner.to(shim.device)], ids.to(shim.device), mask.to(shim.device))
    loss = F.cross_entropy(logits, labels.to(shim.device))
    loss.backward()
    return {"entailment": float(loss.detach())}
