"""What an encoder hands on: vectors of the pieces of each post, and which pieces belong to which token.

The fields, their names and their form in bytes are those of spacy-transformers' classes of the same names, so that what reads
`doc._.trf_data` need not ask which of the two made it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import srsly
from thinc.types import Ragged
from transformers.utils import ModelOutput


@dataclass
class WordpieceBatch:
    """The pieces that went into the encoder, one row a window.

    strings (List[List[str]]): Pieces as text. input_ids (ndarray): rows x width. attention_mask (ndarray): rows x width, 1 for a piece.
    lengths (List[int]): Pieces of each row. token_type_ids (Optional[ndarray]): rows x width.
    """

    strings: list[list[str]]
    input_ids: Any
    attention_mask: Any
    lengths: list[int]
    token_type_ids: Any

    def __len__(self) -> int:
        return len(self.strings)

    @classmethod
    def empty(cls) -> "WordpieceBatch":
        """No pieces."""
        return cls([], np.zeros((0, 0), dtype="i"), np.ones((0, 0), dtype="bool"), [], None)

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "WordpieceBatch":
        """fields (Dict[str, Any]): What `to_dict` returned."""
        return cls(**fields)


@dataclass
class TransformerData:
    """What the encoder made of one post.

    wordpieces (WordpieceBatch): Its pieces. model_output (ModelOutput): `last_hidden_state`, windows x pieces x width; empty for an
        empty post.
    align (Ragged): For each token the places of its pieces in `last_hidden_state`, windows one after the other.
    """

    wordpieces: WordpieceBatch
    model_output: ModelOutput
    align: Ragged

    @classmethod
    def empty(cls) -> "TransformerData":
        """Of a post without tokens."""
        return cls(WordpieceBatch.empty(), ModelOutput(), no_alignment())

    @property
    def tensors(self) -> tuple[Any, ...]:
        """The arrays of the output."""
        return tuple(self.model_output.to_tuple())

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return int(self.model_output["last_hidden_state"].shape[-1])

    def to_dict(self) -> dict[str, Any]:
        """In a form that msgpack takes."""
        pieces, output = self.wordpieces.to_dict(), dict(self.model_output)
        return {"wordpieces": pieces, "model_output": output, "align": [self.align.dataXd, self.align.lengths]}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "TransformerData":
        """fields (Dict[str, Any]): What `to_dict` returned."""
        return cls(WordpieceBatch.from_dict(fields["wordpieces"]), ModelOutput(fields["model_output"]), Ragged(*fields["align"]))


@dataclass
class FullTransformerBatch:
    """What the encoder made of a batch: `doc_data` is what each post gets.

    spans (List[List[Span]]), wordpieces, model_output, align: Of the whole batch; `KnowledgeTransformerBatch` leaves them empty.
    cached_doc_data (List[TransformerData]): One a post.
    """

    spans: list[list[Any]]
    wordpieces: WordpieceBatch
    model_output: ModelOutput
    align: Ragged
    cached_doc_data: list[TransformerData] | None = None

    @classmethod
    def empty(cls, count: int) -> "FullTransformerBatch":
        """Of posts none of which has a token. count (int): How many."""
        data = [TransformerData.empty() for _ in range(count)]
        return cls([[] for _ in range(count)], WordpieceBatch.empty(), ModelOutput(), no_alignment(), data)

    @property
    def doc_data(self) -> list[TransformerData]:
        """One a post."""
        return self.cached_doc_data or []


def no_alignment() -> Ragged:
    """The alignment of no tokens."""
    nothing: Any = np.zeros((0,), dtype="i")
    return Ragged(nothing, nothing)


# Names of msgpack's form, which docs and DocBins carry.
_MARK = "__transformerdata__"


def _encode(obj: Any, chain: Any = None) -> Any:
    if isinstance(obj, TransformerData):
        return {_MARK: obj.to_dict()}
    return obj if chain is None else chain(obj)


def _decode(obj: Any, chain: Any = None) -> Any:
    if _MARK in obj:
        return TransformerData.from_dict(obj[_MARK])
    return obj if chain is None else chain(obj)


def read_encoded() -> None:
    """Let msgpack read such data of either origin; only where spacy-transformers, which registers a reader of its own, is not used."""
    srsly.msgpack_decoders.register("transformerdata", func=_decode)


srsly.msgpack_encoders.register("rivega_transformerdata", func=_encode)

__all__ = ["FullTransformerBatch", "TransformerData", "WordpieceBatch", "no_alignment", "read_encoded"]
