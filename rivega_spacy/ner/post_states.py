"""The last layer of an encoder for the pieces of the post alone.

Nobody reads what the last layer would make of the knowledge z; its keys and values are all that s needs of it. With 48 pieces of
knowledge behind a post of 25 that saves a tenth of MiniLM's work, the more the longer z is.

This reaches into transformers' layers, by the names that their weights have. Whether it computes what the encoder itself computes is
therefore tried on a few numbers when the network is built (`shortens`); where it does not, the whole encoder runs.
"""

from typing import Any

import torch
import torch.nn.functional as F

# Encoders built like BERT: `embeddings`, then `encoder.layer[i]` with `attention`, `intermediate` and `output`.
_LIKE_BERT = ("bert", "roberta", "xlm-roberta", "camembert")
# What two ways of computing the same states may differ by, in float32.
_TOLERANCE = 1e-3


def shortens(encoder: torch.nn.Module) -> bool:
    """Whether `post_states` computes with this encoder, in the installed transformers, what the encoder itself does."""
    config: Any = encoder.config
    if config.model_type not in _LIKE_BERT or config.is_decoder:
        return False
    if getattr(config, "position_embedding_type", "absolute") != "absolute":
        return False
    training = encoder.training
    encoder.eval()
    # Two rows, one of them padded; ids from 2 on, since RoBERTa counts positions by what is not padding (1).
    ids = 2 + torch.arange(12, device=next(encoder.parameters()).device).view(2, 6) % max(1, config.vocab_size - 2)
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    try:
        with torch.no_grad():
            wanted = encoder(input_ids=ids, attention_mask=mask).last_hidden_state[:, :3].float()
            found = post_states(encoder, {"input_ids": ids, "attention_mask": mask}, 3).float()
    except (AttributeError, TypeError, ValueError, RuntimeError, IndexError):
        return False
    finally:
        encoder.train(training)
    scale = float(wanted.abs().max()) or 1.0
    return found.shape == wanted.shape and float((found - wanted).abs().max()) <= _TOLERANCE * scale


def post_states(encoder: Any, inputs: dict[str, Any], n_post: int) -> torch.Tensor:
    """What `encoder(**inputs).last_hidden_state[:, :n_post]` is, without computing the rest of its last layer.

    encoder (Module): Of which `shortens` holds.
    inputs (Dict): attention_mask (B x L), token_type_ids, and input_ids (B x L) or inputs_embeds (B x L x width).
    n_post (int): How many pieces at the beginning are wanted.
    RETURNS (Tensor): B x n_post x width.
    """
    inputs = dict(inputs)
    mask = inputs.pop("attention_mask")
    hidden = encoder.embeddings(**inputs)
    bias = torch.zeros(mask.shape, dtype=hidden.dtype, device=mask.device).masked_fill_(mask == 0, torch.finfo(hidden.dtype).min)
    bias = bias[:, None, None, :]
    layers = encoder.encoder.layer
    for layer in layers[:-1]:
        output = layer(hidden, attention_mask=bias)
        # Before transformers 5 a layer returned a tuple.
        hidden = output[0] if isinstance(output, tuple) else output
    last = layers[-1]
    seen = last.attention.output(_attended(last.attention.self, hidden, n_post, bias), hidden[:, :n_post])
    return last.output(last.intermediate(seen), seen)


def _attended(attention: Any, hidden: torch.Tensor, n_post: int, bias: torch.Tensor) -> torch.Tensor:
    """Queries of s, keys and values of all pieces: B x n_post x width."""
    heads = attention.num_attention_heads

    def split(states: torch.Tensor) -> torch.Tensor:
        return states.view(*states.shape[:2], heads, -1).transpose(1, 2)

    query, key, value = split(attention.query(hidden[:, :n_post])), split(attention.key(hidden)), split(attention.value(hidden))
    rate = attention.dropout.p if attention.training else 0.0
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype), dropout_p=rate)
    return mixed.transpose(1, 2).reshape(*mixed.shape[:1], n_post, -1)
