"""Words that have seen the picture: cross-modal attention in the manner of UMT (Yu et al. 2020, "Improving Multimodal Named Entity
Recognition via Entity Span Detection with Unified Multimodal Transformer", section 2.3)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CrossModalLayer(nn.Module):
    """One transformer layer in which one modality asks the other.

    width (int): Of both.
    heads (int): Attention heads; `width` is a multiple of it.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.first_norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, 2 * width)
        self.outer = nn.Linear(2 * width, width)
        self.second_norm = nn.LayerNorm(width)

    def forward(self, asking: Tensor, asked: Tensor, known: Tensor, dropout: float = 0.0) -> Tensor:
        """asking (Tensor): B x M x width. asked (Tensor): B x N x width. known (Tensor): B x N bool, False if `asked` is padding; one
        place a row at least is True. RETURNS (Tensor): B x M x width."""
        batch, places, width = asking.shape
        query = self.query(asking).view(batch, places, self.heads, -1).transpose(1, 2)
        key, value = (
            part.view(batch, asked.shape[1], self.heads, -1).transpose(1, 2) for part in self.key_value(asked).chunk(2, dim=2)
        )
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=known[:, None, None, :])
        seen = self.out(seen.transpose(1, 2).reshape(batch, places, width))
        asking = self.first_norm(asking + F.dropout(seen, dropout, self.training))
        return self.second_norm(asking + F.dropout(self.outer(F.gelu(self.inner(asking))), dropout, self.training))


class Fusion(nn.Module):
    """Image-aware words beside word-aware image vectors, the latter behind a gate: where the picture says nothing of a word, it closes.

    width (int): Of the word vectors.
    picture_width (int): Of the picture's regions.
    heads (int): Attention heads.
    """

    def __init__(self, width: int, picture_width: int, heads: int) -> None:
        super().__init__()
        self.width = width
        self.project = nn.Sequential(nn.LayerNorm(picture_width), nn.Linear(picture_width, width))
        # What stands for the picture of a post that has none.
        self.no_picture = nn.Parameter(torch.zeros(width))
        self.regions_ask = CrossModalLayer(width, heads)
        self.words_ask = CrossModalLayer(width, heads)
        self.words_look = CrossModalLayer(width, heads)
        self.gate = nn.Linear(2 * width, width)

    def forward(self, words: Tensor, known: Tensor, regions: Tensor, has_picture: Tensor, dropout: float = 0.0) -> Tensor:
        """Fuse a batch.

        words (Tensor): B x L x width, the words of each post, padded.
        known (Tensor): B x L bool, False if that is padding.
        regions (Tensor): B x R x picture_width, the regions of each picture.
        has_picture (Tensor): B bool; the regions of the others are not read.
        RETURNS (Tensor): B x L x 2 width.
        """
        looked = self.project(regions)
        looked = torch.where(has_picture[:, None, None], looked, self.no_picture.expand_as(looked))
        all_regions = known.new_ones(looked.shape[:2])
        coupled = self.regions_ask(looked, words, known, dropout)
        aware = self.words_ask(words, coupled, all_regions, dropout)
        seen = self.words_look(words, looked, all_regions, dropout)
        gate = torch.sigmoid(self.gate(torch.cat([aware, seen], dim=2)))
        return torch.cat([aware, gate * seen], dim=2)
