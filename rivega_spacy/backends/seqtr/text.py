"""SeqTR's view of an expression: words of a fixed list, which the released files do not hold."""

import io
import pickle
import pickletools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import srsly

from ...post.errors import Errors, RivegaError
from ...post.textfiles import read_text
from .model import PAD, UNK

SPECIALS = ["PAD", "UNK", "CLS"]
_DELETED = re.compile(r"([.,'!?\"()*#:;])")


def clean(text: str) -> str:
    """Lower case, without punctuation, dashes and slashes as blanks. "Park(LOC)-A" becomes "parkloc a"."""
    return _DELETED.sub("", text.lower()).replace("-", " ").replace("/", " ").strip()


def tokenize(text: str) -> list[str]:
    """The words of an expression."""
    return clean(text).split()


class Vocabulary:
    """Words and their indices: 0 PAD, 1 UNK, 2 CLS, then words in the order they were first seen.

    words (Sequence[str]): All of them, the three special ones first.
    """

    def __init__(self, words: Sequence[str]) -> None:
        if list(words[:3]) != SPECIALS:
            raise RivegaError(Errors.E731.format(what="list of words", reason=f"it must begin with {SPECIALS}"))
        self.words = list(words)
        self.index: dict[str, int] = {}
        for n, word in enumerate(self.words):
            self.index.setdefault(word, n)

    def __len__(self) -> int:
        return len(self.words)

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> "Vocabulary":
        """Every word of the texts, in the order of first appearance."""
        seen = dict.fromkeys(word for text in texts for word in tokenize(text))
        return cls(SPECIALS + [word for word in seen if word not in SPECIALS])

    def add(self, texts: Iterable[str]) -> list[str]:
        """Add the words of the texts that are not known yet. RETURNS (List[str]): The new ones."""
        new = [word for word in dict.fromkeys(w for text in texts for w in tokenize(text)) if word not in self.index]
        for word in new:
            self.index[word] = len(self.words)
            self.words.append(word)
        return new

    def __call__(self, texts: Sequence[str], *, max_words: int) -> np.ndarray:
        """Indices, cut and zero padded to `max_words`; a text without any word becomes one unknown word.

        RETURNS (ndarray): n x max_words int64.
        """
        ids = np.full((len(texts), max_words), PAD, dtype="int64")
        for n, text in enumerate(texts):
            row = [self.index.get(word, UNK) for word in tokenize(text)][:max_words] or [UNK]
            ids[n, : len(row)] = row
        return ids


def read_vocabulary(path: Any) -> Vocabulary:
    """A list of words: a JSON list or {word: index}, a text file of one word a line, or upstream's `token_to_ix.pkl`.

    path (Union[str, Path]): The file. Of a pickle only plain dicts, lists, strings and numbers are read; no code in it runs.
    RETURNS (Vocabulary): In the order of the indices.
    RAISES (RivegaError): E020 missing, E730 another kind of file, E737 a pickle with other objects.
    """
    path = Path(path)
    if not path.is_file():
        raise RivegaError(Errors.E020.format(path=path))
    what = "a list of SeqTR's words"
    try:
        if path.suffix == ".json":
            content = srsly.read_json(path)
        elif path.suffix in (".pkl", ".pickle"):
            content = _unpickle(path.read_bytes())
        else:
            content = read_text(path).split("\n")
            content = content[:-1] if content and not content[-1] else content
    except _NeedsImport as error:
        raise RivegaError(Errors.E737.format(path=path, reason=error)) from error
    except (
        ValueError,
        EOFError,
        pickle.UnpicklingError,
        LookupError,
        TypeError,
        AttributeError,
        OverflowError,
        MemoryError,
        RecursionError,
    ) as error:
        raise RivegaError(Errors.E730.format(path=path, what=what, reason=error)) from error
    if isinstance(content, (list, tuple)) and content and isinstance(content[0], dict):
        # Upstream writes (word -> index, index -> word, vectors).
        content = content[0]
    if isinstance(content, dict):
        if sorted(content.values()) != list(range(len(content))):
            raise RivegaError(Errors.E730.format(path=path, what=what, reason="its indices are not 0, 1, 2, ..."))
        content = [word for word, _ in sorted(content.items(), key=lambda item: item[1])]
    if not isinstance(content, list) or not all(isinstance(word, str) for word in content):
        raise RivegaError(Errors.E730.format(path=path, what=what, reason="it is neither a list of words nor word -> index"))
    if content[:3] != SPECIALS:
        raise RivegaError(Errors.E730.format(path=path, what=what, reason=f"it does not begin with {SPECIALS}"))
    return Vocabulary(content)


def word_vectors(words: Sequence[str], width: int, *, vectors: Any | None = None) -> np.ndarray:
    """Rows for new words.

    words (Sequence[str]): The words.
    width (int): Channels of a vector.
    vectors (Optional[spacy.vectors.Vectors vocabulary]): A spaCy `Vocab` with vectors of this width, as upstream's
        en_vectors_web_lg; words it lacks get zeros, as there. None gives each word its own fixed random vector.
    RETURNS (ndarray): n x width float32.
    RAISES (RivegaError): E731 if the vectors have another width.
    """
    if vectors is not None:
        if vectors.vectors_length != width:
            reason = f"they have {vectors.vectors_length} channels, the network's words {width}"
            raise RivegaError(Errors.E731.format(what="word vectors", reason=reason))
        return np.stack([np.asarray(vectors.get_vector(word), dtype="float32") for word in words]).reshape(-1, width)
    rows = np.empty((len(words), width), dtype="float32")
    for n, word in enumerate(words):
        seed = np.frombuffer(word.encode("utf8", "surrogatepass"), dtype="uint8")
        # 0.4 is about the deviation of GloVe's channels.
        rows[n] = np.random.default_rng([int(x) for x in seed]).standard_normal(width) * 0.4
    return rows


def _unpickle(data: bytes) -> Any:
    """Plain values. RAISES (ValueError): If a memo is numbered so high that room for it would fill the memory: Python makes it all at once."""
    for operation, argument, _ in pickletools.genops(data):
        if operation.name.endswith("PUT") and int(argument or 0) > len(data):
            raise ValueError("its parts are numbered beyond its length")
    return _PlainUnpickler(io.BytesIO(data)).load()


class _NeedsImport(pickle.UnpicklingError):
    """The pickle names a class or function."""


class _PlainUnpickler(pickle.Unpickler):
    """Builds only what needs no import."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            core: Any = getattr(np, "_core", None) or np.core
            return core.multiarray._reconstruct
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if module == "_codecs" and name == "encode":
            return _latin
        raise _NeedsImport(f"{module}.{name}")


def _latin(text: str, encoding: str) -> bytes:
    return text.encode("latin1")
