"""Annotated examples with their features, computed once and kept in one safetensors file."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from spacy.tokens import Doc
from spacy.vocab import Vocab

from ..post import images
from ..post.errors import Errors, ImageError, RivegaError
from ..post.files import open_output
from ..post.images import doc_image, read_image
from .examples import Example, Exclusion


@runtime_checkable
class TextEncoder(Protocol):
    """From posts to vectors.

    name (str): Tells encoders apart: features of one cannot be compared with those of another.
    """

    name: str

    def __call__(self, docs: Sequence[Doc]) -> np.ndarray:
        """n posts -> n x d float32."""


@runtime_checkable
class ImageEncoder(Protocol):
    """From pictures to vectors; `name` as in TextEncoder."""

    name: str

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """n pictures, HxWx3 uint8 RGB -> n x d float32."""


@dataclass
class ExampleBank:
    """m examples and their features.

    examples (List[Example]): m of them.
    text (ndarray): m x d float32, rows of length 1.
    image (ndarray): m x e float32, rows of length 1; zero if there is no picture.
    has_image (ndarray): m bool.
    encoders (Dict[str, str]): Names of the two encoders.
    """

    examples: list[Example]
    text: np.ndarray
    image: np.ndarray
    has_image: np.ndarray
    encoders: dict[str, str]

    def check(self, text_encoder: TextEncoder, image_encoder: ImageEncoder, *, path: str = "") -> None:
        """Refuse encoders that these features were not made with (E422); pictures matter only where there are some."""
        wanted = {"text": text_encoder.name, "image": image_encoder.name}
        used = ("text", "image") if self.has_image.any() else ("text",)
        if any(self.encoders[kind] != wanted[kind] for kind in used):
            raise RivegaError(Errors.E422.format(path=path, found=self.encoders, wanted=wanted))

    def without(self, exclusion: Exclusion) -> "ExampleBank":
        """The bank without the posts that may not be shown."""
        kept = {id(example) for example in exclusion.keep(self.examples)}
        rows = [index for index, example in enumerate(self.examples) if id(example) in kept]
        examples = [self.examples[index] for index in rows]
        return ExampleBank(examples, self.text[rows], self.image[rows], self.has_image[rows], self.encoders)

    def save(self, path: str | Path) -> None:
        """Write the file: three arrays, and the examples as JSON among the metadata."""
        from safetensors.numpy import save

        examples = json.dumps([example.to_json() for example in self.examples], ensure_ascii=False)
        arrays = {"text": self.text, "image": self.image, "has_image": self.has_image.astype("uint8")}
        data = save(
            {name: np.ascontiguousarray(array) for name, array in arrays.items()},
            metadata={"kind": "rivega-examples", "examples": examples, "encoders": json.dumps(self.encoders)},
        )
        with open_output(path, binary=True) as out:
            out.write(data)


def load_bank(path: str | Path) -> ExampleBank:
    """The file that `rivega examples build` wrote.

    RAISES (RivegaError): E020 missing, E423 unreadable.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise RivegaError(Errors.E020.format(path=path))
    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in ("text", "image", "has_image")}
        rows = json.loads(metadata["examples"])
        encoders = {kind: str(json.loads(metadata["encoders"])[kind]) for kind in ("text", "image")}
        examples = [Example(row["text"], row["caption"], row["annotation"], row["id"], row["image"]) for row in rows]
        if not all(isinstance(value, str) for example in examples for value in (example.caption, example.answer, example.id)):
            raise ValueError("a field of an example is no text")
        arrays = {name: array.astype(bool if name == "has_image" else "float32") for name, array in arrays.items()}
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise RivegaError(Errors.E423.format(path=path, reason=f"{type(error).__name__}: {error}")) from error
    if any(array.shape[:1] != (len(examples),) or array.ndim != 2 - (name == "has_image") for name, array in arrays.items()):
        raise RivegaError(Errors.E423.format(path=path, reason="as many features as examples are needed"))
    return ExampleBank(examples, arrays["text"], arrays["image"], arrays["has_image"], encoders)


def encode_examples(
    examples: Sequence[Example],
    text_encoder: TextEncoder,
    image_encoder: ImageEncoder,
    *,
    nlp: Any | None = None,
    batch_size: int = 64,
    wrong: list[str] | None = None,
) -> ExampleBank:
    """Compute the features of annotated examples.

    examples (Sequence[Example]): m of them.
    nlp (Optional[Any]): A pipeline that encodes their texts first, for `rivega.DocVectors.v1`; None only splits them into words.
    wrong (Optional[List[str]]): Takes what was wrong with pictures; such an example counts as one without.
    """
    texts, seen, flags = [], [], []
    vocab = Vocab()
    for start in range(0, len(examples), batch_size):
        batch = examples[start : start + batch_size]
        texts_here = [example.text for example in batch]
        # With their pictures, for an encoder that reads both (`rivega.FusionFeatures.v1`).
        docs = [nlp.make_doc(text) if nlp is not None else _split(vocab, text) for text in texts_here]
        for doc, example in zip(docs, batch):
            doc._.image = example.image
        docs = list(nlp.pipe(docs)) if nlp is not None else docs
        texts.append(unit_rows(text_encoder(docs)))
        vectors, has = _encode_images((_read(example, wrong) for example in batch), image_encoder)
        seen.append(vectors)
        flags.append(has)
    width = max((array.shape[1] for array in seen), default=1)
    seen = [array if array.shape[1] == width else np.zeros((len(array), width), dtype="float32") for array in seen]
    encoders = {"text": text_encoder.name, "image": image_encoder.name}
    if not texts:
        return ExampleBank([], np.zeros((0, 1), "float32"), np.zeros((0, 1), "float32"), np.zeros(0, bool), encoders)
    return ExampleBank(list(examples), np.concatenate(texts), np.concatenate(seen), np.concatenate(flags), encoders)


def encode_docs(
    docs: Sequence[Doc], text_encoder: TextEncoder, image_encoder: ImageEncoder
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of posts: text n x d, picture n x e, has_image n bool. A picture that cannot be read counts as none."""
    image, has_image = _encode_images((doc_image(doc, "examples") for doc in docs), image_encoder)
    return unit_rows(text_encoder(docs)), image, has_image


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1; zero rows, and rows with NaN, are zero."""
    vectors = np.nan_to_num(np.asarray(vectors, dtype="float32"), nan=0.0, posinf=0.0, neginf=0.0)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


def _split(vocab: Vocab, text: str) -> Doc:
    words = text.split()
    return Doc(vocab, words=words, spaces=[True] * (len(words) - 1) + [False] if words else [])


def _read(example: Example, wrong: list[str] | None) -> np.ndarray | None:
    try:
        return None if example.image is None else read_image(example.image)
    except ImageError as error:
        if wrong is not None:
            wrong.append(str(error))
        return None


def _encode_images(pictures: Iterable[np.ndarray | None], encoder: ImageEncoder) -> tuple[np.ndarray, np.ndarray]:
    flags: list[bool] = []
    vectors: list[np.ndarray] = []
    waiting: list[np.ndarray] = []
    for picture in pictures:
        flags.append(picture is not None)
        if picture is None:
            continue
        if waiting and sum(other.nbytes for other in waiting) + picture.nbytes > images.PART_BYTES:
            vectors.append(encoder(waiting))
            waiting = []
        waiting.append(picture)
    if waiting:
        vectors.append(encoder(waiting))
    has = np.array(flags, dtype=bool)
    if not vectors:
        return np.zeros((len(has), 1), dtype="float32"), has
    found = unit_rows(np.concatenate(vectors))
    rows = np.zeros((len(has), found.shape[1]), dtype="float32")
    rows[has] = found
    return rows, has
