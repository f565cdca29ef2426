"""The training step of the small network: every view answers for every kind of thing at once.

Each step draws fresh phrases for all kinds and as many for what no photograph shows, and asks all of them about all views. The
loop around it may be spaCy's (configs/vision_small.cfg) or the one of train.py, which needs no spaCy.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..backends.small.loss import joint_loss, make_batch
from ..backends.small.network import SmallVision
from ..backends.small.phrases.bank import load_bank
from ..backends.small.pictures import PreparedView
from ..post.expressions import Expression
from .photos import VOC_KINDS, Photo, keys_of
from .views import SHARE

ABSENT_PHRASES = 14
# Of the kinds beyond the bank's, how many that a view of the batch shows are asked about at most, and how many others.
OPEN_SHOWN, OPEN_ABSENT = 28, 8
KIND_WEIGHT = 0.3


class DenseAsker:
    """Phrases for a batch of views, and how much showing a kind counts.

    photos (Optional[Sequence[Photo]]): Training photos; the rarer a kind is in them, the more it counts where it is shown. None
        leaves all kinds equal.
    seed (int): Of the phrases.
    """

    def __init__(self, photos: Sequence[Photo] | None = None, *, seed: int = 0) -> None:
        self.seed = seed
        self.bank = load_bank()
        self.kinds = self.bank.all_kinds
        self.shown_weight = np.ones(len(self.kinds) + 1, np.float32)
        # Kinds beyond the bank's that may be asked about where they are absent: those that some photo shows.
        self.open_kinds = np.arange(len(self.bank.kinds), len(self.kinds))
        if photos:
            share = np.array([SHARE[photo.source] for photo in photos])
            place = {kind: key for key, kind in enumerate(self.kinds)}
            often = np.zeros(len(self.kinds))
            for photo, weight in zip(photos, share):
                keys = {key for kind in (*photo.kinds, *photo.labels) for key in keys_of(kind)}
                often[[place[key] for key in keys]] += weight
            self.open_kinds = self.open_kinds[often[self.open_kinds] > 0]
            often = (often / share.sum()).clip(1e-3, 1)
            # Rare kinds count more where they are shown, so that no kind is judged by its frequency alone.
            self.shown_weight[:-1] = ((1 - often) / often).clip(1.5, 8.0)

    def phrases(self, views: Sequence[PreparedView], rng: np.random.Generator) -> tuple[list[Expression], np.ndarray]:
        """Draw what is asked.

        views (Sequence[PreparedView]): With every kind as a key.
        rng (np.random.Generator): Source of chance.
        RETURNS (Tuple[List[Expression], np.ndarray]): P expressions; P the kind of each, that after the last for what no photo shows.
        """
        present = {int(key) for view in views for key in np.flatnonzero(view.status == 1)}
        keys: list[int] = []
        for key, kind in enumerate(self.bank.kinds):
            if kind == "person":
                keys.extend([key] * 5)
            elif kind in VOC_KINDS:
                keys.extend([key] * (2 if key in present and rng.random() < 0.3 else 1))
            elif key in present or rng.random() < 0.15:
                keys.append(key)
        known = len(self.bank.kinds)
        shown = sorted(key for key in present if key >= known)
        keys.extend(shown if len(shown) <= OPEN_SHOWN else rng.choice(shown, OPEN_SHOWN, replace=False).tolist())
        others = [int(key) for key in self.open_kinds if key not in present]
        keys.extend(int(key) for key in rng.permutation(others)[:OPEN_ABSENT])
        expressions = [self.bank.sample(self.kinds[key], rng).expression for key in keys]
        absent = [self.bank.absent(rng).expression for _ in range(ABSENT_PHRASES)]
        return expressions + absent, np.array(keys + [len(self.kinds)] * len(absent))

    def new_guess(self, network: SmallVision) -> nn.Linear:
        """Guesses the kind from a phrase vector: takes part in training only."""
        guess = nn.Linear(network.width, len(self.kinds) + 1).to(network.heat_prior.device)
        # From zero, phrase vectors that are good already are not pulled about while this layer learns.
        nn.init.zeros_(guess.weight)
        return guess

    def loss(
        self, network: SmallVision, guess: nn.Module, views: Sequence[PreparedView], step: int, *, bf16: bool = False
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss of a batch of views.

        network (SmallVision): The network.
        guess (Module): What `new_guess` returned.
        views (Sequence[PreparedView]): B views of one size.
        step (int): Which one it is, for the draw of the phrases.
        bf16 (bool): Run the image encoder in bfloat16.
        RETURNS (Tuple[Tensor, Dict[str, float]]): The loss; its parts, for the log.
        """
        expressions, label = self.phrases(views, np.random.default_rng((self.seed, step, 1)))
        column = np.tile(np.where(label < len(self.kinds), label, -1), (len(views), 1))
        phrases = network.text(expressions)
        batch = make_batch(views, expressions, column, self.shown_weight[label])
        loss, parts = joint_loss(network, batch, phrases=phrases, bf16=bf16)
        # The phrase vectors alone must tell the kind, else words are learnt only as fast as pictures are.
        kind = nn.functional.cross_entropy(guess(phrases), torch.from_numpy(label).to(phrases.device))
        return loss + KIND_WEIGHT * kind, {**parts, "kind": kind.item()}
