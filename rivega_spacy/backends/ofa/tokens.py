"""Texts as OFA reads them: cleaning, prompts and GPT-2's byte-pair encoding with OFA's numbering."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import srsly
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from ...post.errors import Errors, RivegaError
from ...post.textfiles import read_text

# Words kept of each text, as in the published scripts (`max_src_length`).
MAX_WORDS = 80
_FAIRSEQ_FILES = ("dict.txt", "encoder.json", "vocab.bpe")
_HF_FILES = ("vocab.json", "merges.txt")
# The first four tokens of every OFA vocabulary.
_SPECIAL = 4
_LEADING = ",.!?*#:;~"


def clean_text(text: str, max_words: int = MAX_WORDS) -> str:
    """Lower case, no leading punctuation, hyphens and slashes as spaces, at most `max_words` words; as in the published code."""
    text = text.lower().lstrip(_LEADING).replace("-", " ").replace("/", " ").replace("<person>", "person")
    text = re.sub(r"\s{2,}", " ", text).rstrip("\n").strip(" ")
    words = text.split(" ")
    return " ".join(words[:max_words])


def grounding_prompt(expression: str) -> str:
    """The question for a box; `expression` is cleaned already."""
    return f' which region does the text " {expression} " describe?'


def entailment_prompt(expression: str, caption: str = "") -> str:
    """The question whether the picture shows something; both texts are cleaned already.

    With a caption the paper's pairing is used: the expression is text 1 and the picture's caption text 2.
    """
    if caption:
        return f' can image and text1 " {expression} " imply text2 " {caption} "?'
    return f' does the image describe " {expression} "?'


class OFATokenizer:
    """GPT-2's byte-pair encoding, numbered as OFA numbers it.

    vocab (Dict[str, int]): Byte-pair token to its number in the encoding.
    merges (Sequence[Tuple[str, str]]): Merges, most frequent first.
    numbers (Optional[Dict[int, int]]): Number in the encoding to OFA's token id; None if they are the same.
    size (int): Tokens of the whole vocabulary, codes and locations included.
    """

    def __init__(
        self, vocab: dict[str, int], merges: Sequence[tuple[str, str]], *, numbers: dict[int, int] | None = None, size: int = 59457
    ) -> None:
        self.vocab = dict(vocab)
        self.merges = [(str(a), str(b)) for a, b in merges]
        self.numbers = None if numbers is None else {int(key): int(value) for key, value in numbers.items()}
        self.size = size
        self.bos, self.pad, self.eos, self.unk = 0, 1, 2, 3
        bpe = BPE(self.vocab, self.merges)
        self._bpe = Tokenizer(bpe)
        self._bpe.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=True)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, nothing added. Location tokens written out in a text are text like any other."""
        ids = self._bpe.encode(text, add_special_tokens=False).ids
        if self.numbers is None:
            return ids
        return [self.numbers.get(number, self.unk) for number in ids]

    def source(self, prompt: str) -> list[int]:
        """Start mark, tokens, end mark."""
        return [self.bos, *self.encode(prompt), self.eos]

    def to_dict(self) -> dict[str, Any]:
        """JSON-like form."""
        numbers = None if self.numbers is None else [[key, value] for key, value in self.numbers.items()]
        return {"vocab": self.vocab, "merges": [f"{a} {b}" for a, b in self.merges], "numbers": numbers, "size": self.size}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "OFATokenizer":
        """From `to_dict`."""
        merges = [tuple(merge.split(" ")) for merge in data["merges"]]
        numbers = None if data["numbers"] is None else dict(data["numbers"])
        return cls(data["vocab"], merges, numbers=numbers, size=data["size"])

    @classmethod
    def from_folder(cls, folder: Path, *, size: int = 59457, order: Sequence[str] | None = None) -> "OFATokenizer":
        """From the files of the published models.

        folder (Path): With dict.txt, encoder.json and vocab.bpe (in OFA's repository: utils/BPE), or vocab.json and merges.txt (a
            Hugging-Face-style model folder).
        size (int): Tokens of the whole vocabulary.
        order (Optional[Sequence[str]]): Takes the place of dict.txt: numbers in the encoding in OFA's order.
        RAISES (RivegaError): E720 if neither set is complete, E721 if a file cannot be read.
        """
        folder = Path(folder)
        try:
            if all((folder / name).is_file() for name in _FAIRSEQ_FILES[0 if order is None else 1 :]):
                if order is None:
                    lines = read_text(folder / "dict.txt").splitlines()
                    order = [line.rsplit(" ", 1)[0] for line in lines if line.strip()]
                numbers = {int(number): _SPECIAL + i for i, number in enumerate(order) if number.isdigit()}
                vocab = json.loads(read_text(folder / "encoder.json"))
                return cls(vocab, _read_merges(folder / "vocab.bpe"), numbers=numbers, size=size)
            if all((folder / name).is_file() for name in _HF_FILES) and order is None:
                vocab = srsly.read_json(folder / "vocab.json")
                return cls(vocab, _read_merges(folder / "merges.txt"), size=size)
        except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise RivegaError(Errors.E721.format(folder=folder, reason=error)) from error
        except Exception as error:
            # What the tokenizers library raises for a merge that its vocabulary lacks is derived from Exception alone.
            if type(error) is not Exception:
                raise
            raise RivegaError(Errors.E721.format(folder=folder, reason=error)) from error
        raise RivegaError(Errors.E720.format(folder=folder, first=", ".join(_FAIRSEQ_FILES), second=", ".join(_HF_FILES)))


def fit_source(tokenizer: OFATokenizer, build: Any, texts: Sequence[str], limit: int) -> list[int]:
    """A source that fits the table of positions.

    build (Callable[..., str]): The prompt of cleaned texts.
    texts (Sequence[str]): What it is about. Only where the whole is longer than `limit` is the longest of them cut, which the
        published code does not do (it fails): 80 words can be thousands of tokens, of emoji for example.
    limit (int): Tokens at most, marks included.
    RETURNS (List[int]): Token ids.
    """
    parts = list(texts)
    while True:
        ids = tokenizer.source(build(*parts))
        longest = max(range(len(parts)), key=lambda i: len(parts[i]))
        if len(ids) <= limit or not parts[longest]:
            return ids
        text = parts[longest]
        parts[longest] = text[: min(len(text) - 1, int(len(text) * limit / len(ids)))]


def _read_merges(path: Path) -> list[tuple[str, str]]:
    lines = read_text(path).split("\n")
    if lines and lines[0].startswith("#version"):
        lines = lines[1:]
    merges = [line.split(" ") for line in lines if line.strip()]
    if any(len(merge) != 2 for merge in merges):
        raise ValueError(f"{path.name}: a merge is not two tokens")
    return [(first, second) for first, second in merges]
