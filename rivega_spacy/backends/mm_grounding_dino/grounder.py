"""`rivega.MMGroundingDINO.v1`: where is the entity, asked of MM-Grounding-DINO or LLMDet.

Zhao et al., "An Open and Comprehensive Pipeline for Unified Object Grounding and Detection", 2024; Fu et al., "LLMDet: Learning Strong
Open-Vocabulary Object Detectors under the Supervision of Large Language Models", CVPR 2025. LLMDet has the same network with other weights.
Both are built like Grounding DINO, and are asked as it is.
"""

from thinc.api import Model
from thinc.types import Floats2d

from ...pipes.queries import ImageQueries
from ..common import Common
from ..grounding_dino.grounder import DinoSettings, dino_model
from ..hub import Kinds

NAME = "MM Grounding DINO"
KINDS: Kinds = {"mm-grounding-dino": ("transformers", "MMGroundingDinoConfig", "MMGroundingDinoForObjectDetection")}
SINCE = "4.55"


def mm_grounding_dino(
    *,
    path: str | None = None,
    shortest: int = 800,
    longest: int = 1333,
    max_tokens: int = 128,
    batch_size: int = 8,
    bf16: bool = False,
    gradient_checkpointing: bool = False,
    freeze: list[str] | None = None,
    backbone_rate: float = 0.1,
    half_on_disk: bool = True,
    save_weights: bool = True,
) -> Model[list[ImageQueries], list[Floats2d]]:
    """`rivega.MMGroundingDINO.v1`. It needs transformers 4.55 or newer.

    path (Optional[str]): Folder or name on the model hub, for example "openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg" or
        "iSEE-Laboratory/llmdet_tiny". A saved pipeline needs none.
    The other options are those of `rivega.GroundingDINO.v1`.
    RETURNS (Model[List[ImageQueries], List[Floats2d]]): The likeliest box of every expression: n x 5, XYXY in pixels and its
        score, which `rivega.GroundingScore.v1` can use as entailment.
    RAISES (SetupError): E900 when the network is first needed and transformers is too old.
    """
    common = Common(
        path=path,
        bf16=bf16,
        gradient_checkpointing=gradient_checkpointing,
        freeze=freeze,
        half_on_disk=half_on_disk,
        save_weights=save_weights,
    )
    settings = DinoSettings(shortest, longest, batch_size)
    return dino_model(common, KINDS, settings, name=NAME, max_tokens=max_tokens, backbone_rate=backbone_rate, since=SINCE)


__all__ = ["mm_grounding_dino"]
