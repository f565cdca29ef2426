"""Vectors for choosing examples: of texts and of pictures, with weights and without."""

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from spacy.tokens import Doc

from ..llm.local import fingerprint_folder, load_class
from ..post.errors import Errors, RivegaError
from ..post.failures import setting_up
from .examples import _URL

_WORD = re.compile(r"[^\W_]+")


class HashedTextEncoder:
    """Words and their character triples, hashed into `width` buckets with damped counts: alike texts share many of them.

    width (int): Length of a vector.
    """

    def __init__(self, width: int = 1024) -> None:
        if width < 8:
            raise RivegaError(Errors.E416.format(field="width", value=width, wanted="8 or more"))
        self.width = width
        self.name = f"hashed-text-{width}"

    def __call__(self, docs: Sequence[Doc]) -> np.ndarray:
        rows = np.zeros((len(docs), self.width), dtype="float32")
        for row, doc in zip(rows, docs):
            for word in _WORD.findall(_URL.sub(" ", doc.text).lower()):
                for bucket, weight in _pieces(word[:60], self.width):
                    row[bucket] += weight
        return np.sign(rows) * np.sqrt(np.abs(rows))


@lru_cache(maxsize=20_000)
def _pieces(word: str, width: int) -> tuple[tuple[int, float], ...]:
    """Buckets and weights of a word and of its character triples."""
    marked = f"^{word}$"
    weights = [(word, 1.0), *((marked[start : start + 3], 0.3) for start in range(len(marked) - 2))]
    pieces = []
    for piece, weight in weights:
        digest = hashlib.blake2b(piece.encode("utf8", "replace"), digest_size=8).digest()
        value = int.from_bytes(digest, "little")
        # The sign keeps collisions from adding up.
        pieces.append((value % width, weight if value & (1 << 60) else -weight))
    return tuple(pieces)


class DocVectors:
    """The pipeline's own encoder: mean of its transformer output, else of `doc.tensor`, else `doc.vector`.

    name (str): Given by the user where two pipelines must be told apart.
    """

    def __init__(self, name: str = "doc-vectors") -> None:
        self.name = name

    def __call__(self, docs: Sequence[Doc]) -> np.ndarray:
        return np.stack([self._one(doc) for doc in docs]) if docs else np.zeros((0, 1), dtype="float32")

    def _one(self, doc: Doc) -> np.ndarray:
        data: Any = doc._.trf_data if Doc.has_extension("trf_data") else None
        hidden = getattr(getattr(data, "model_output", None), "last_hidden_state", None)
        if hidden is None and getattr(data, "tensors", None):
            hidden = data.tensors[0]
        if hidden is not None:
            values = _numpy(hidden)
            return values.reshape(-1, values.shape[-1]).mean(axis=0)
        if doc.tensor is not None and doc.tensor.size:
            return _numpy(doc.tensor).mean(axis=0)
        if doc.vocab.vectors_length:
            return _numpy(doc.vector)
        raise RivegaError(Errors.E424.format(component="rivega_knowledge"))


class TransformersTextEncoder:
    """Mean of the last hidden states of any encoder of transformers.

    path (str): Folder with config.json, tokenizer.json and safetensors weights.
    batch_size (int), max_length (int), device (str): As they say; tokens beyond `max_length` are left out.
    """

    def __init__(self, path: str, *, batch_size: int = 32, max_length: int = 128, device: str = "cpu") -> None:
        self.path, self.batch_size, self.max_length, self.device = path, batch_size, max_length, device
        self.name = f"transformers-text-{fingerprint_folder(path)}-{max_length}"
        self._loaded: Any = None

    def __getstate__(self) -> Any:
        return {**self.__dict__, "_loaded": None}

    def __call__(self, docs: Sequence[Doc]) -> np.ndarray:
        import torch

        if self._loaded is None:
            with setting_up(self.name):
                self._loaded = (load_class("AutoTokenizer", self.path), load_class("AutoModel", self.path).to(self.device).eval())
        tokenizer, model = self._loaded
        rows: list[np.ndarray] = []
        for start in range(0, len(docs), self.batch_size):
            texts = [doc.text for doc in docs[start : start + self.batch_size]]
            inputs = tokenizer(texts, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt").to(
                self.device
            )
            with torch.inference_mode():
                hidden = model(**inputs).last_hidden_state
            mask = inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
            rows.append(((hidden * mask).sum(1) / mask.sum(1).clamp(min=1)).float().cpu().numpy())
        return np.concatenate(rows) if rows else np.zeros((0, 1), dtype="float32")


class ColourEncoder:
    """Colours and edges of a 4 x 4 grid: coarse, but tells a beach from a stage, and needs no weights.

    name (str): "colour-1".
    """

    name = "colour-1"

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([self._one(image) for image in images]) if images else np.zeros((0, 1), dtype="float32")

    def _one(self, image: np.ndarray) -> np.ndarray:
        from PIL import Image

        small = np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BILINEAR), dtype="float32") / 255.0
        grey = small.mean(axis=2)
        edges = np.abs(np.diff(grey, axis=0))[:, :-1] + np.abs(np.diff(grey, axis=1))[:-1]
        edges = np.pad(edges, ((0, 1), (0, 1)))
        cells = small.reshape(4, 16, 4, 16, 3)
        means = cells.mean(axis=(1, 3)) - 0.5
        spread = cells.std(axis=(1, 3))
        strength = edges.reshape(4, 16, 4, 16).mean(axis=(1, 3))
        return np.concatenate([means.ravel(), 0.7 * spread.ravel(), 2.0 * strength.ravel()]).astype("float32")


class TransformersImageEncoder:
    """Picture vectors of CLIP, SigLIP, ViT, DINO and their kin.

    path (str): Folder with config.json, preprocessor_config.json and safetensors weights.
    batch_size (int), device (str): As they say.
    """

    def __init__(self, path: str, *, batch_size: int = 16, device: str = "cpu") -> None:
        self.path, self.batch_size, self.device = path, batch_size, device
        self.name = f"transformers-image-{fingerprint_folder(path)}"
        self._loaded: Any = None

    def __getstate__(self) -> Any:
        return {**self.__dict__, "_loaded": None}

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        import torch

        if self._loaded is None:
            with setting_up(self.name):
                model = load_class("AutoModel", self.path).to(self.device).eval()
                self._loaded = (load_class("AutoImageProcessor", self.path, use_fast=False), model)
        processor, model = self._loaded
        rows: list[np.ndarray] = []
        for start in range(0, len(images), self.batch_size):
            batch = [np.ascontiguousarray(image) for image in images[start : start + self.batch_size]]
            inputs = processor(images=batch, return_tensors="pt").to(self.device)
            with torch.inference_mode():
                if hasattr(model, "get_image_features"):
                    vectors = model.get_image_features(**inputs)
                    vectors = getattr(vectors, "pooler_output", vectors)
                else:
                    output = model(**inputs)
                    pooled = getattr(output, "pooler_output", None)
                    vectors = pooled if pooled is not None else output.last_hidden_state.mean(dim=1)
            rows.append(vectors.flatten(1).float().cpu().numpy())
        return np.concatenate(rows) if rows else np.zeros((0, 1), dtype="float32")


def make_hashed_text_encoder(width: int = 1024) -> HashedTextEncoder:
    """`rivega.HashedTextEncoder.v1`: see `HashedTextEncoder`."""
    return HashedTextEncoder(width)


def make_doc_vectors(name: str = "doc-vectors") -> DocVectors:
    """`rivega.DocVectors.v1`: see `DocVectors`."""
    return DocVectors(name)


def make_transformers_text_encoder(
    path: str, batch_size: int = 32, max_length: int = 128, device: str = "cpu"
) -> TransformersTextEncoder:
    """`rivega.TransformersTextEncoder.v1`: see `TransformersTextEncoder`."""
    return TransformersTextEncoder(path, batch_size=batch_size, max_length=max_length, device=device)


def make_colour_encoder() -> ColourEncoder:
    """`rivega.ColourEncoder.v1`: see `ColourEncoder`."""
    return ColourEncoder()


def make_transformers_image_encoder(path: str, batch_size: int = 16, device: str = "cpu") -> TransformersImageEncoder:
    """`rivega.TransformersImageEncoder.v1`: see `TransformersImageEncoder`."""
    return TransformersImageEncoder(path, batch_size=batch_size, device=device)


def _numpy(values: Any) -> np.ndarray:
    """CPU float32, from numpy, CuPy or PyTorch."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    elif hasattr(values, "get") and not isinstance(values, np.ndarray):
        values = values.get()
    return np.asarray(values, dtype="float32")
