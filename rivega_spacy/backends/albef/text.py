"""ALBEF's view of an expression: cleaning as upstream does it, BERT's uncased word pieces, no closing [SEP]."""

import re
from pathlib import Path

import numpy as np

from ...post.errors import Errors, RivegaError
from ...post.hub import local_only
from ...post.textfiles import read_text

_DELETED = re.compile(r"([,.'!?\"()*#:;~])")


def clean(text: str, *, max_words: int = 30) -> str:
    """Lower case, without punctuation, dashes and slashes as blanks, at most `max_words` words.

    The type in brackets is glued to the name: "Garfield Park(LOC)-A" becomes "garfield parkloc a".

    text (str): The expression.
    max_words (int): Words kept.
    RETURNS (str): The cleaned expression; may be empty.
    """
    text = _DELETED.sub("", text.lower()).replace("-", " ").replace("/", " ").replace("<person>", "person")
    text = re.sub(r"\s{2,}", " ", text).rstrip("\n").strip(" ")
    return " ".join(text.split(" ")[:max_words])


class WordPieces:
    """BERT's uncased tokenizer over a given vocabulary.

    vocab (List[str]): Word pieces in order of their index, with [PAD], [UNK], [CLS] and [SEP].
    append_sep (bool): Close with [SEP]. Upstream's own tokenizer does not; the LAVIS release of the same network does.
    max_words (int): Words of the expression that are read.
    max_length (int): Word pieces at most, the position embeddings' number.
    """

    def __init__(self, vocab: list[str], *, append_sep: bool = False, max_words: int = 30, max_length: int = 512) -> None:
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

        for special in ("[PAD]", "[UNK]", "[CLS]", "[SEP]"):
            if special not in vocab:
                raise RivegaError(Errors.E731.format(what="vocabulary of word pieces", reason=f"it has no {special}"))
        self.vocab = list(vocab)
        self.append_sep = append_sep
        self.max_words = max_words
        self.max_length = max_length
        table = {piece: n for n, piece in enumerate(self.vocab)}
        self.pad, self.cls, self.sep = table["[PAD]"], table["[CLS]"], table["[SEP]"]
        self._pieces = Tokenizer(models.WordPiece(table, unk_token="[UNK]", max_input_chars_per_word=100))
        self._pieces.normalizer = normalizers.BertNormalizer(lowercase=True)
        self._pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()

    def __call__(self, texts: list[str], *, cleaned: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Indices and mask, padded to the longest.

        texts (List[str]): Expressions as written, or already cleaned.
        RETURNS (Tuple[ndarray, ndarray]): n x t int64 each; the mask is 1 for words and 0 for padding.
        """
        rows = []
        for text in texts:
            words = text if cleaned else clean(text, max_words=self.max_words)
            room = self.max_length - 1 - int(self.append_sep)
            ids = self._pieces.encode(words, add_special_tokens=False).ids[:room]
            rows.append([self.cls, *ids] + ([self.sep] if self.append_sep else []))
        length = max((len(row) for row in rows), default=1)
        input_ids = np.full((len(rows), length), self.pad, dtype="int64")
        mask = np.zeros((len(rows), length), dtype="int64")
        for n, row in enumerate(rows):
            input_ids[n, : len(row)] = row
            mask[n, : len(row)] = 1
        return input_ids, mask


def read_vocab(path: str) -> list[str]:
    """BERT's vocab.txt.

    path (str): The file, a folder that holds it, or the name of a tokenizer on the model hub ("bert-base-uncased").
    RETURNS (List[str]): Word pieces in order.
    RAISES (RivegaError): E732 if there is no such vocabulary.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "vocab.txt"
    if file.is_file():
        pieces = read_text(file).split("\n")
        return pieces[:-1] if pieces and not pieces[-1] else pieces
    from transformers import AutoTokenizer

    try:
        table = AutoTokenizer.from_pretrained(path, local_files_only=local_only()).get_vocab()
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise RivegaError(Errors.E732.format(what="vocabulary", path=path, reason=reason)) from error
    return [piece for piece, _ in sorted(table.items(), key=lambda item: item[1])]
