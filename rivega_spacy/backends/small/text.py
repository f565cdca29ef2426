"""Text side of the small network: static word vectors, a thin mixing layer, attention pooling.

The word vectors are distilled once (see `distil.py`) from a sentence encoder and kept as int8 rows, so
that words never met in training still lie near their neighbours. Vocabulary and table are buffers of
the module: one weights file holds everything the network needs.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ...post.expressions import Expression
from .wordpiece import WordPieces

TYPES = ("PER", "LOC", "ORG", "OTHER")
NAME, KIND, EXPANSION = 0, 1, 2
MAX_NAME, MAX_EXPANSION = 10, 28


class PhraseEncoder(nn.Module):
    """Expressions to phrase vectors.

    vocab_size (int): Rows of the word table (replaced by what is loaded).
    vocab_bytes (int): Length of the vocabulary buffer (replaced by what is loaded).
    word_width (int): Width of the word vectors.
    width (int): Width of the phrase vector.
    heads (int): Attention-pooling heads.
    dropout (float): Chance of a whole word being dropped in training.
    noise (float): Noise on the word vectors in training, in units of their spread: near neighbours of
        a word met in training get its meaning.
    """

    def __init__(
        self,
        *,
        vocab_size: int = 30522,
        vocab_bytes: int = 1,
        word_width: int = 64,
        width: int = 128,
        heads: int = 4,
        dropout: float = 0.1,
        noise: float = 0.25,
    ) -> None:
        super().__init__()
        self.width, self.heads, self.dropout, self.noise = width, heads, dropout, noise
        self.register_buffer("table", torch.zeros(vocab_size, word_width, dtype=torch.int8))
        self.register_buffer("table_scale", torch.ones(word_width))
        self.register_buffer("vocab_bytes", torch.zeros(vocab_bytes, dtype=torch.uint8))
        self.enter = nn.Linear(word_width, width)
        self.segments = nn.Embedding(3, width)
        self.types = nn.Embedding(len(TYPES) + 1, width)
        self.mix = nn.Conv1d(width, width, 3, padding=1)
        self.mix_norm = nn.LayerNorm(width)
        self.keys = nn.Linear(width, heads)
        self.values = nn.Linear(width, width)
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self._pieces: WordPieces | None = None
        self._pieces_of: tuple[int, int] | None = None

    def set_table(self, vocab: Sequence[str], vectors: np.ndarray) -> None:
        """Store vocabulary and word vectors.

        vocab (Sequence[str]): The wordpieces.
        vectors (np.ndarray): len(vocab) x word_width float, rounded to int8 with one scale a column.
        """
        scale = np.abs(vectors).max(axis=0) / 127 + 1e-8
        self.table = torch.from_numpy(np.round(vectors / scale).astype(np.int8))
        self.table_scale = torch.from_numpy(scale.astype(np.float32))
        self.vocab_bytes = torch.from_numpy(np.frombuffer("\n".join(vocab).encode("utf8"), np.uint8).copy())
        self._pieces = None

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: object) -> None:
        # Vocabulary and table take the size of what is loaded.
        for name in ("table", "table_scale", "vocab_bytes"):
            stored = state_dict.get(prefix + name)
            if stored is not None and stored.shape != getattr(self, name).shape:
                setattr(self, name, torch.zeros(stored.shape, dtype=getattr(self, name).dtype))
        self._pieces = None
        super()._load_from_state_dict(state_dict, prefix, *args)

    @property
    def pieces(self) -> WordPieces:
        """WordPieces: the tokenizer, read from the vocabulary buffer on first use."""
        mark = (self.vocab_bytes.data_ptr(), self.vocab_bytes.numel())
        if self._pieces is None or self._pieces_of != mark:
            text = self.vocab_bytes.detach().cpu().numpy().tobytes().decode("utf8")
            self._pieces, self._pieces_of = WordPieces(text.split("\n")), mark
        return self._pieces

    def tokenize(self, expressions: Sequence[Expression]) -> tuple[Tensor, Tensor, Tensor]:
        """Expressions as padded ids.

        expressions (Sequence[Expression]): N referring expressions.
        RETURNS (Tuple[Tensor, Tensor, Tensor]): N x T wordpiece ids (-1: padding), N x T segments, N
            types (0: none).
        """
        rows: list[tuple[list[int], list[int]]] = []
        types: list[int] = []
        for expression in expressions:
            name = self.pieces.encode(expression.name)[:MAX_NAME]
            expansion = self.pieces.encode(expression.expansion)[:MAX_EXPANSION]
            rows.append((name + expansion, [NAME] * len(name) + [EXPANSION] * len(expansion)))
            types.append(TYPES.index(expression.type) + 1 if expression.type else 0)
        longest = max((len(ids) for ids, _ in rows), default=0)
        ids = torch.full((len(rows), longest), -1, dtype=torch.long)
        segments = torch.zeros((len(rows), longest), dtype=torch.long)
        for i, (row, segment) in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row, dtype=torch.long)
            segments[i, : len(row)] = torch.tensor(segment, dtype=torch.long)
        return ids, segments, torch.tensor(types, dtype=torch.long)

    def forward(self, expressions: Sequence[Expression]) -> Tensor:
        """Phrase vectors.

        expressions (Sequence[Expression]): N referring expressions.
        RETURNS (Tensor): N x width.
        """
        device = self.table_scale.device
        ids, segments, types = (t.to(device) for t in self.tokenize(expressions))
        real = ids >= 0
        if self.training and self.dropout > 0:
            keep = torch.rand(ids.shape, device=device) >= self.dropout
            real = real & keep
        words = self.table[ids.clamp_min(0)].to(self.table_scale.dtype) * self.table_scale
        if self.training and self.noise > 0:
            # A single word has no spread (its standard deviation would be NaN), nor any near neighbours here.
            spread = words[real].std(dim=0, keepdim=True) if int(real.sum()) > 1 else 0.0
            words = words + self.noise * torch.randn_like(words) * spread
        x = self.enter(words) + self.segments(segments)
        # The entity type is one more token, so that a bare "Name (PER)" still has a clear meaning.
        kind = self.types(types) + self.segments.weight[KIND]
        x = torch.cat([kind[:, None], x * real[:, :, None]], dim=1)
        real = torch.cat([torch.ones_like(real[:, :1]), real], dim=1)
        mixed = self.mix(x.transpose(1, 2)).transpose(1, 2)
        x = self.mix_norm(x + nn.functional.gelu(mixed))
        weights = self.keys(x).masked_fill(~real[:, :, None], -1e4).softmax(dim=1)
        values = self.values(x).view(x.shape[0], x.shape[1], self.heads, -1)
        pooled = (weights[..., None] * values).sum(dim=1).flatten(1)
        return pooled + self.out(pooled)
