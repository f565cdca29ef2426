"""Fusion features for choosing examples: what a multimodal tagger makes of text and picture together (paper, section IV-B b)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from spacy.tokens import Doc

from ..pipes.loading import load_pipeline
from ..post.errors import Errors, RivegaError


class FusionFeatures:
    """`rivega.FusionFeatures.v1`: vectors of posts with their pictures, from a trained `rivega.MultimodalTagger.v1`.

    Stands where a text encoder stands. The picture is in the features, so `rivega.MSEA.v1` takes them with `text_weight = 1.0`, and
    `rivega examples build` computes them once for the annotated examples.

    path (str): The pipeline's folder or package, read when first needed.
    batch_size (int): Posts that are encoded together.
    """

    def __init__(self, path: str, *, batch_size: int = 32) -> None:
        self.path = path
        self.batch_size = batch_size
        self._loaded: Any = None

    def __getstate__(self) -> Any:
        return {**self.__dict__, "_loaded": None}

    @property
    def name(self) -> str:
        """Tells features of other weights apart. RAISES (RivegaError): E883 if the pipeline has no such tagger."""
        return f"fusion-{self._tagger[1].shims[0].digest[:16]}"

    @property
    def _tagger(self) -> tuple[Any, Any, list[str]]:
        """The pipeline, the tagger's model, and the components before it."""
        if self._loaded is None:
            nlp = load_pipeline(self.path)
            before: list[str] = []
            for name, component in nlp.pipeline:
                model = getattr(component, "model", None)
                if model is not None and "fused" in getattr(model, "attrs", {}):
                    self._loaded = (nlp, model, before)
                    break
                before.append(name)
            else:
                raise RivegaError(Errors.E883.format(path=self.path))
        return self._loaded

    def __call__(self, docs: Sequence[Doc]) -> np.ndarray:
        """n posts -> n x d float32. The posts stay as they are; knowledge and entities that they have are not used."""
        nlp, model, before = self._tagger
        rows: list[np.ndarray] = []
        for start in range(0, len(docs), self.batch_size):
            batch = [self._bare(nlp, doc) for doc in docs[start : start + self.batch_size]]
            for name in before:
                component = nlp.get_pipe(name)
                batch = list(component.pipe(batch)) if hasattr(component, "pipe") else [component(doc) for doc in batch]
            rows.append(model.attrs["fused"](model, batch))
        return np.concatenate(rows) if rows else np.zeros((0, 1), dtype="float32")

    @staticmethod
    def _bare(nlp: Any, doc: Doc) -> Doc:
        copy = Doc(nlp.vocab, words=[token.text for token in doc], spaces=[bool(token.whitespace_) for token in doc])
        copy._.image = doc._.image
        return copy


def make_fusion_features(path: str, batch_size: int = 32) -> FusionFeatures:
    """`rivega.FusionFeatures.v1`: see `FusionFeatures`."""
    return FusionFeatures(path, batch_size=batch_size)
