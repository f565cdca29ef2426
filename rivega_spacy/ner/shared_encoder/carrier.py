"""The classes that carry an encoder's output: spacy-transformers' where it fits, else ours."""

from typing import TYPE_CHECKING

from ...post.versions import spacy_transformers_fits

if TYPE_CHECKING or not spacy_transformers_fits():
    from .data import FullTransformerBatch, TransformerData, WordpieceBatch
else:
    from spacy_transformers.data_classes import FullTransformerBatch, TransformerData, WordpieceBatch

__all__ = ["FullTransformerBatch", "TransformerData", "WordpieceBatch"]
