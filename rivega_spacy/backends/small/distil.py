"""Word vectors of the small network, distilled from a sentence encoder (training only)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch


def distil_word_vectors(folder: Path, *, width: int = 64, batch: int = 512) -> tuple[list[str], np.ndarray]:
    """Encode every wordpiece as a sentence of its own and keep the leading principal components.

    folder (Path): A BERT-like sentence encoder in Hugging Face layout (config, weights, vocab.txt),
        mean-pooled.
    width (int): Components to keep.
    batch (int): Wordpieces at a time.
    RETURNS (Tuple[List[str], np.ndarray]): The vocabulary; len(vocab) x width vectors of unit mean spread.
    """
    from transformers import AutoModel

    vocab = (Path(folder) / "vocab.txt").read_text(encoding="utf8").rstrip("\n").split("\n")
    encoder = AutoModel.from_pretrained(str(folder), local_files_only=True).eval()
    cls, sep = vocab.index("[CLS]"), vocab.index("[SEP]")
    rows = []
    with torch.inference_mode():
        for start in range(0, len(vocab), batch):
            ids = torch.arange(start, min(start + batch, len(vocab)))
            tokens = torch.stack([torch.full_like(ids, cls), ids, torch.full_like(ids, sep)], dim=1)
            rows.append(encoder(input_ids=tokens).last_hidden_state.mean(dim=1))
    vectors = torch.nn.functional.normalize(torch.cat(rows), dim=1).double()
    centred = vectors - vectors.mean(dim=0)
    _, directions = torch.linalg.eigh(centred.t() @ centred / len(vocab))
    kept = centred @ directions.flip(1)[:, :width]
    # Components are rescaled halfway to equal spread, so that the small ones survive int8.
    kept = kept / kept.std(dim=0).sqrt()
    kept = kept / kept.std()
    return vocab, kept.float().numpy()


def encode_texts(folder: Path, texts: Sequence[str], *, batch: int = 256) -> np.ndarray:
    """Sentence vectors.

    folder (Path): As in `distil_word_vectors`.
    texts (Sequence[str]): N texts.
    batch (int): Texts at a time.
    RETURNS (np.ndarray): N x D float32, of length one.
    """
    from transformers import AutoModel, AutoTokenizer

    encoder, tokenizer = (
        AutoModel.from_pretrained(str(folder), local_files_only=True).eval(),
        AutoTokenizer.from_pretrained(str(folder), local_files_only=True),
    )
    rows = []
    with torch.inference_mode():
        for start in range(0, len(texts), batch):
            given = tokenizer(list(texts[start : start + batch]), padding=True, truncation=True, max_length=32, return_tensors="pt")
            states, real = encoder(**given).last_hidden_state, given["attention_mask"][:, :, None]
            rows.append(torch.nn.functional.normalize((states * real).sum(dim=1) / real.sum(dim=1), dim=1))
    return torch.cat(rows).numpy()
