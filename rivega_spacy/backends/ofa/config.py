"""The sizes of an OFA network."""

from dataclasses import asdict, dataclass, replace
from typing import Any

# Relative token positions are bucketed for sequences up to this length, whatever the network's size.
MAX_TOKENS = 1024
# Three more rows in the relative table of patches: class token to itself, to patches and back. OFA has no class token, but the
# published tables have the rows.
EXTRA_IMAGE_ROWS = 3


@dataclass(frozen=True)
class OFAConfig:
    """Sizes and rates. The defaults are those of OFA-large.

    width (int): Of the transformer.
    encoder_layers (int), decoder_layers (int), heads (int), decoder_heads (int), encoder_ffn (int), decoder_ffn (int): Of the transformer.
    resnet_layers (Tuple[int, ...]): Blocks of the three stages of the picture stem.
    resnet_width (int): Channels of its first convolution; its output has 16 times as many.
    vocab_size (int): Tokens, location and picture codes included.
    positions (int): Rows of the table of token positions.
    token_buckets (int), image_buckets (int): Half-widths of the relative position tables, in tokens and in patches.
    scale_factor (float): Scores are divided by sqrt(head width x this), since two products (content, position) are added.
    dropout (float), drop_path (float): In training. drop_path grows linearly over the depth.
    bin_0 (int), bins (int): First location token and how many there are.
    """

    width: int = 1024
    encoder_layers: int = 12
    decoder_layers: int = 12
    heads: int = 16
    decoder_heads: int = 16
    encoder_ffn: int = 4096
    decoder_ffn: int = 4096
    resnet_layers: tuple[int, ...] = (3, 8, 36)
    resnet_width: int = 64
    vocab_size: int = 59457
    positions: int = 1026
    token_buckets: int = 256
    image_buckets: int = 42
    scale_factor: float = 2.0
    dropout: float = 0.1
    drop_path: float = 0.0
    bin_0: int = 58457
    bins: int = 1000
    bos: int = 0
    pad: int = 1
    eos: int = 2
    unk: int = 3

    @property
    def image_positions(self) -> int:
        """Rows of the table of patch positions; row 0 stands for the picture as a whole and is not used."""
        return self.image_buckets**2 + 1

    @property
    def token_relations(self) -> int:
        """Rows of a layer's table of relative token positions."""
        return 2 * self.token_buckets - 1

    @property
    def image_relations(self) -> int:
        """Rows of a layer's table of relative patch positions."""
        return (2 * self.image_buckets - 1) ** 2 + EXTRA_IMAGE_ROWS

    def to_dict(self) -> dict[str, Any]:
        """JSON-like form."""
        return {**asdict(self), "resnet_layers": list(self.resnet_layers)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "OFAConfig":
        """From `to_dict`."""
        return cls(**{**data, "resnet_layers": tuple(data["resnet_layers"])})

    def but(self, **changes: Any) -> "OFAConfig":
        """The same with some values changed."""
        return replace(self, **changes)
