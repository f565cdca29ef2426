"""From posts to pieces: the pair (s, z) as one input, which pieces belong to which token, what z loses when room is short.

Works on the `tokenizers` library alone, so a saved pipeline needs one JSON text and no model folder. Only z is ever
truncated; a post that is itself longer than the window is cut into overlapping windows, each with z.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from spacy.attrs import IDX, LENGTH
from spacy.tokens import Doc
from tokenizers import Encoding, Tokenizer

from ..post.errors import Errors, RivegaError

# Of a window that a long post has to be cut for, the share kept for z, and the share that neighbouring windows have in common.
KNOWLEDGE_SHARE = 0.25
OVERLAP_SHARE = 0.25

# How many characters of a post are read, and how many tokens of it tagged: the longest posts that any network takes. Encoder and CRF take
# their time with each, and a megabyte of text would hold up everybody else's posts for minutes.
MAX_POST = 64_000

# What the letters of a piece look like, one bit each; see `piece_shapes`.
N_SHAPES = 16
_FIRST_UPPER, _LATER_UPPER, _LOWER, _DIGIT = 1, 2, 4, 8


class TokenWindow(NamedTuple):
    """One row of encoder input.

    ids (ndarray): Piece ids with special tokens, int64.
    types (ndarray): Segment ids, int64.
    shapes (Optional[ndarray]): Shape class of each piece (0 for special tokens), int64.
    n_post (int): How many pieces at the beginning belong to s with the special tokens around it; what follows is z.
    pieces (List[str]): The pieces of that beginning as text.
    """

    ids: np.ndarray
    types: np.ndarray
    shapes: np.ndarray | None
    n_post: int
    pieces: list[str]


class EncodedPost(NamedTuple):
    """A post as encoder input.

    windows (List[TokenWindow]): One, or several for a long post; none for an empty one.
    rows (ndarray): For each aligned pair of token and piece: the piece's position in the windows' `n_post` pieces, one window
        after the other, padded to `width` each.
    counts (ndarray): Pieces of each token.
    width (int): The largest `n_post`.
    """

    windows: list[TokenWindow]
    rows: np.ndarray
    counts: np.ndarray
    width: int


class PairEncoder:
    """Encodes posts together with what is known about them.

    tokenizer (Tokenizer): Of the encoder; truncation and padding settings it came with are switched off.
    max_length (int): Pieces of a window at most, special tokens included.
    max_knowledge (Optional[int]): Pieces of z at most; None leaves it to `max_length`.
    shapes (bool): Also work out the shape class of each piece.
    RAISES (RivegaError): E107 if a window has no room for a post.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, max_length: int = 256, max_knowledge: int | None = None, shapes: bool = False
    ) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.tokenizer = tokenizer
        self.max_knowledge = max_knowledge
        self.shapes = shapes
        self.single_specials = tokenizer.num_special_tokens_to_add(is_pair=False)
        self.pair_specials = tokenizer.num_special_tokens_to_add(is_pair=True)
        one = tokenizer.encode_batch(["a"], add_special_tokens=False)[0]
        frame = tokenizer.post_process(one, one, add_special_tokens=True).special_tokens_mask
        # Special tokens before s and after z.
        self._lead: int = frame.index(0) if 0 in frame else 0
        self._trail: int = frame[::-1].index(0) if 0 in frame else 0
        self.max_length = max_length
        if max_length < self.pair_specials + 8:
            raise RivegaError(Errors.E107.format(max_length=max_length, least=self.pair_specials + 8))

    def __call__(self, docs: Sequence[Doc], knowledge: Sequence[str]) -> list[EncodedPost]:
        """Encode a batch.

        docs (Sequence[Doc]): The posts, s.
        knowledge (Sequence[str]): z of each; "" for none.
        RETURNS (List[EncodedPost]): One a post.
        """
        # What follows gets no pieces, as tokens do that the encoder does not know: `KnowledgeNER` tells.
        texts = self.tokenizer.encode_batch([doc.text[:MAX_POST] for doc in docs], add_special_tokens=False)
        known = iter(self.tokenizer.encode_batch([z[:MAX_POST] for z in knowledge if z], add_special_tokens=False))
        encoded = []
        for doc, text, z in zip(docs, texts, knowledge):
            extra = next(known) if z else None
            encoded.append(self._encode(doc, text, extra, z) if len(doc) else _NOTHING)
        return encoded

    def _encode(self, doc: Doc, text: Encoding, extra: Encoding | None, z: str) -> EncodedPost:
        if extra is not None and self.max_knowledge is not None and len(extra) > self.max_knowledge:
            extra.truncate(self.max_knowledge)
        if extra is not None and not len(extra):
            extra = None
        specials = self.pair_specials if extra is not None else self.single_specials
        room = self.max_length - specials
        offsets = np.asarray(text.offsets, dtype="int64").reshape(-1, 2)
        text_shapes = piece_shapes(doc.text[:MAX_POST], offsets) if self.shapes else None
        parts = [(0, text)]
        if extra is not None:
            least = min(len(extra), int(room * KNOWLEDGE_SHARE))
            if len(text) > room - least:
                parts = _cut(text, room - least)
            keep = room - max(len(part) for _, part in parts)
            if len(extra) > keep:
                extra.truncate(keep)
        elif len(text) > room:
            parts = _cut(text, room)
        extra_shapes = None
        if self.shapes and extra is not None:
            extra_shapes = piece_shapes(z, np.asarray(extra.offsets, dtype="int64").reshape(-1, 2))
        windows, where = [], []
        for begin, part in parts:
            window = self._window(part, extra)
            if window.shapes is not None and text_shapes is not None:
                window.shapes[self._lead : self._lead + len(part)] = text_shapes[begin : begin + len(part)]
                if extra_shapes is not None:
                    first = len(window.ids) - len(extra_shapes) - self._trail
                    window.shapes[first : first + len(extra_shapes)] = extra_shapes
            windows.append(window)
            where.append((begin, len(part)))
        width = max(window.n_post for window in windows)
        # For every window: which piece of the post each of its own positions holds.
        sources = np.concatenate([np.arange(begin, begin + length) for begin, length in where])
        places = np.concatenate([np.arange(length) + self._lead + row * width for row, (_, length) in enumerate(where)])
        tokens, pieces = align_pieces(doc, offsets[sources])
        counts = np.bincount(tokens, minlength=len(doc)).astype("int32")
        return EncodedPost(windows, places[pieces].astype("int32"), counts, width)

    def _window(self, part: Encoding, extra: Encoding | None) -> TokenWindow:
        full = self.tokenizer.post_process(part, extra, add_special_tokens=True)
        # The separator right after s belongs to s: it is there without z, too.
        n_post = min(self._lead + len(part) + 1, len(full))
        ids = np.asarray(full.ids, dtype="int64")
        shapes = np.zeros(len(ids), dtype="int64") if self.shapes else None
        return TokenWindow(ids, np.asarray(full.type_ids, dtype="int64"), shapes, n_post, full.tokens[:n_post])


_NOTHING = EncodedPost([], np.zeros((0,), dtype="int32"), np.zeros((0,), dtype="int32"), 0)


def _cut(text: Encoding, size: int) -> "list[tuple[int, Encoding]]":
    """Overlapping windows of an encoding with the position of each one's first piece."""
    overlap = int(size * OVERLAP_SHARE)
    total = len(text)
    text.truncate(size, stride=overlap)
    parts, begin = [(0, text)], 0
    for part in text.overflowing:
        begin = min(begin + size - overlap, total - len(part))
        parts.append((begin, part))
    return parts


def align_pieces(doc: Doc, offsets: np.ndarray) -> "tuple[np.ndarray, np.ndarray]":
    """Which pieces overlap which tokens.

    doc (Doc): The post.
    offsets (ndarray): P x 2, first character and end of each piece in `doc.text`.
    RETURNS (Tuple[ndarray, ndarray]): Pairs of token and piece, in order of tokens. A piece that reaches over several tokens is
        paired with each of them; a token without a piece (white space, what the tokenizer drops) has no pair.
    """
    starts, lengths = doc.to_array([IDX, LENGTH]).astype("int64").T
    ends = starts + lengths
    first = np.searchsorted(ends, offsets[:, 0], side="right")
    after = np.searchsorted(starts, offsets[:, 1], side="left")
    spread = np.where(offsets[:, 1] > offsets[:, 0], np.maximum(after - first, 0), 0)
    pieces = np.repeat(np.arange(len(offsets)), spread)
    step = np.arange(len(pieces)) - np.repeat(np.cumsum(spread) - spread, spread)
    tokens = np.repeat(first, spread) + step
    order = np.argsort(tokens, kind="stable")
    return tokens[order], pieces[order]


def piece_shapes(text: str, offsets: np.ndarray) -> np.ndarray:
    """What an uncased tokenizer forgets: where a piece has capitals, small letters and digits.

    text (str): The text the pieces come from.
    offsets (ndarray): P x 2, first character and end of each piece.
    RETURNS (ndarray): P, class 0..15: bit 1 begins with a capital, 2 has a capital later, 4 has a small letter, 8 has a digit.
    """
    size = len(text)
    flags = np.zeros((3, size + 1), dtype="int32")
    for row, test in enumerate((str.isupper, str.islower, str.isdigit)):
        flags[row, 1:] = np.fromiter(map(test, text), dtype=bool, count=size)
    upper, lower, digit = flags.cumsum(1)
    begin, end = offsets[:, 0], offsets[:, 1]
    after = np.minimum(begin + 1, end)
    shapes = _FIRST_UPPER * (upper[after] > upper[begin])
    shapes += _LATER_UPPER * (upper[end] > upper[after])
    shapes += _LOWER * (lower[end] > lower[begin])
    shapes += _DIGIT * (digit[end] > digit[begin])
    return shapes
