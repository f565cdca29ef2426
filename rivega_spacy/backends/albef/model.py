"""ALBEF for visual entailment: picture encoder, fusing text encoder, a three-way head, and the momentum twin for training."""

import copy
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .bert import FusionBert
from .vit import VisionTransformer

CONTRADICTION, NEUTRAL, ENTAILMENT = 0, 1, 2


@dataclass(frozen=True)
class AlbefConfig:
    """Shape of the network; the defaults are the released one (ViT-B/16 at 384 pixels, BERT-base with 6 fusing layers)."""

    image_size: int = 384
    patch_size: int = 16
    vision_width: int = 768
    vision_depth: int = 12
    vision_heads: int = 12
    mlp_ratio: float = 4.0
    vocab_size: int = 30522
    text_width: int = 768
    text_depth: int = 12
    text_heads: int = 12
    text_inner: int = 3072
    fusion_layer: int = 6
    positions: int = 512
    types: int = 2
    dropout: float = 0.1
    attention_dropout: float = 0.1
    eps: float = 1e-12
    labels: int = 3

    def to_dict(self) -> dict[str, Any]:
        """As JSON-like values."""
        return asdict(self)

    @classmethod
    def from_upstream(cls, config: dict[str, Any]) -> "AlbefConfig":
        """From upstream's two parts: `vision` (image_res, patch_size, embed_dim, ...) and `bert_config`."""
        vision, bert = config["vision"], config["bert_config"]
        return cls(
            image_size=vision["image_res"],
            patch_size=vision["patch_size"],
            vision_width=vision["embed_dim"],
            vision_depth=vision["depth"],
            vision_heads=vision["num_heads"],
            mlp_ratio=vision.get("mlp_ratio", 4),
            vocab_size=bert["vocab_size"],
            text_width=bert["hidden_size"],
            text_depth=bert["num_hidden_layers"],
            text_heads=bert["num_attention_heads"],
            text_inner=bert["intermediate_size"],
            fusion_layer=bert["fusion_layer"],
            positions=bert["max_position_embeddings"],
            types=bert.get("type_vocab_size", 2) if bert.get("add_type_embeddings", True) else 0,
            dropout=bert["hidden_dropout_prob"],
            attention_dropout=bert["attention_probs_dropout_prob"],
            eps=bert["layer_norm_eps"],
            labels=len(config.get("labels", (0, 1, 2))),
        )


class Albef(nn.Module):
    """The network. Submodule names are those of the released fine-tuned files.

    config (AlbefConfig): Its shape.
    """

    def __init__(self, config: AlbefConfig) -> None:
        super().__init__()
        self.config = config
        self.visual_encoder = VisionTransformer(
            image_size=config.image_size,
            patch_size=config.patch_size,
            width=config.vision_width,
            depth=config.vision_depth,
            heads=config.vision_heads,
            mlp_ratio=config.mlp_ratio,
        )
        self.text_encoder = FusionBert(
            vocab_size=config.vocab_size,
            width=config.text_width,
            depth=config.text_depth,
            heads=config.text_heads,
            inner=config.text_inner,
            fusion_layer=config.fusion_layer,
            image_width=config.vision_width,
            positions=config.positions,
            types=config.types,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
            eps=config.eps,
        )
        self.cls_head = nn.Sequential(
            nn.Linear(config.text_width, config.text_width), nn.ReLU(), nn.Linear(config.text_width, config.labels)
        )
        self.apply(_initialise)
        for parameter in (self.visual_encoder.cls_token, self.visual_encoder.pos_embed):
            nn.init.trunc_normal_(parameter, std=0.02)

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        """pixels (Tensor): n x 3 x S x S. RETURNS (Tensor): n x (1 + patches) x vision_width."""
        return self.visual_encoder(pixels)

    def classify(
        self,
        image: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        owner: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Logits of contradiction, neutral, entailment.

        image (Tensor): n x p x vision_width, one row for each text; or, with `owner`, one for each picture.
        input_ids (Tensor), attention_mask (Tensor): n x t.
        owner (Optional[Tensor]): n, the row of `image` that each text is about.
        RETURNS (Tensor): n x 3.
        """
        states = self.text_encoder(input_ids, attention_mask, image, owner)
        return self.cls_head(states[-1][:, 0])

    def layers(self) -> list[nn.Module]:
        """Both encoders' layers, which torch.compile may have."""
        return [*self.visual_encoder.blocks, *self.text_encoder.encoder["layer"].children()]

    def set_gradient_checkpointing(self, on: bool) -> None:
        """Trade time for memory in training: layers are computed again in the backward pass."""
        self.visual_encoder.gradient_checkpointing = on
        self.text_encoder.gradient_checkpointing = on


def entailment_probability(logits: torch.Tensor, *, three_way: bool = False) -> torch.Tensor:
    """Probability that the picture shows what the text says.

    logits (Tensor): n x 3.
    three_way (bool): False reads contradiction against entailment alone, which are the two labels RiVEG trains with;
        True is the share of entailment among all three.
    RETURNS (Tensor): n in 0..1.
    """
    logits = logits.float()
    if three_way:
        return logits.softmax(-1)[:, ENTAILMENT]
    return (logits[:, ENTAILMENT] - logits[:, CONTRADICTION]).sigmoid()


def distilled_loss(logits: torch.Tensor, targets: torch.Tensor, teacher: torch.Tensor | None, alpha: float) -> torch.Tensor:
    """(1 - alpha) cross entropy with the labels + alpha cross entropy with the momentum twin's distribution.

    logits (Tensor): n x 3. targets (Tensor): n integers. teacher (Optional[Tensor]): n x 3 logits of the twin.
    RETURNS (Tensor): A scalar, averaged over n. Source: ALBEF, section 3.3; `models/model_ve.py` upstream.
    """
    logits = logits.float()
    loss = F.cross_entropy(logits, targets)
    if teacher is None or alpha == 0.0:
        return loss
    soft = teacher.float().softmax(-1)
    return (1 - alpha) * loss - alpha * (soft * logits.log_softmax(-1)).sum(-1).mean()


def momentum_twin(model: Albef) -> Albef:
    """A copy that never receives gradients."""
    twin = copy.deepcopy(model)
    twin.requires_grad_(False)
    return twin


def update_twin(twin: Albef, model: Albef, momentum: float) -> None:
    """Move the twin towards the network: twin = momentum * twin + (1 - momentum) * network."""
    with torch.no_grad():
        torch._foreach_lerp_(list(twin.parameters()), [p.detach() for p in model.parameters()], 1.0 - momentum)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Embedding)):
        # BERT's 0.02 at its width of 768; narrower networks need proportionally more to pass any signal on.
        nn.init.trunc_normal_(module.weight, std=0.02 * (768 / module.weight.shape[1]) ** 0.5)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
