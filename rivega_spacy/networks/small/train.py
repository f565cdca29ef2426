"""Train the small network on annotated photographs: one joint loss, on one CPU core if need be.

    python -m rivega_spacy.networks.small.train PHOTOS OUT --epochs 80 --hours 1.3

Every picture answers for every kind of thing at once: each batch draws fresh phrases for all kinds and as many
for what no photograph shows, and all of them are asked about all pictures. What is written to OUT:
`network.safetensors` (moving average of the weights, after every epoch), `resume.safetensors` and `log.jsonl`.
"""

import argparse
import json
import logging
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Dict, List, Sequence, Tuple, Union

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from ...boxes import box_iou
from ...corpus.phrases.bank import PhraseBank, load_bank
from ...corpus.photos import VOC_KINDS, Photo, kind_members, read_photos
from .blanks import blank_picture
from .distil import distil_word_vectors, sentence_encoder_folder
from .loss import joint_loss, make_batch
from .network import SmallVision
from .pictures import Picture, Prepared, augmented, plain
from .predict import answers
from .weights import build_network, save_network, vocabulary_sizes

logger = logging.getLogger(__name__)
# How often a data set's photos are drawn in an epoch.
SHARE = {"voc": 1.0, "ccp": 0.4, "coco": 2.0}


@dataclass(frozen=True)
class Settings:
    """How to train.

    epochs (float): Passes over the photos.
    hours (float): Time limit; the learning rate reaches zero at whichever of the two comes first.
    batch (int): Pictures a step.
    sizes (Tuple[Tuple[float, int], ...]): From which share of the training on which input side is used.
    rate (float): Highest learning rate.
    decay (float): Weight decay of matrices.
    mosaic (float): Share of mosaics until the last fifth of training.
    blanks (float): Share of pictures that show nothing at all.
    average (float): Decay of the moving average of the weights.
    seed (int): Of all chance but the order of the CPU's sums.
    """

    epochs: float = 60.0
    hours: float = 1.5
    batch: int = 20
    sizes: Tuple[Tuple[float, int], ...] = ((0.0, 128), (0.65, 160))
    rate: float = 2e-3
    decay: float = 0.05
    mosaic: float = 0.15
    blanks: float = 0.04
    average: float = 0.998
    seed: int = 0


def to_picture(photo: Photo, kinds: Sequence[str]) -> Picture:
    """A photo with every kind (and group of kinds) as a key.

    photo (Photo): The photo; it is decoded here.
    kinds (Sequence[str]): The keys.
    RETURNS (Picture): What augmentation takes.
    """
    with Image.open(photo.path) as opened:
        image = opened.convert("RGB")
    owner: List[int] = []
    rows: List[int] = []
    for key, kind in enumerate(kinds):
        members = kind_members(kind)
        for row, own in enumerate(photo.kinds):
            if own in members:
                owner.append(key)
                rows.append(row)
    known = np.array([photo.knows(kind) for kind in kinds])
    return Picture(image, photo.boxes[rows], np.array(owner, np.int64), photo.hard[rows], known)


class Trainer:
    """Holds network, moving average, optimiser and photos.

    folder (Path): Photos.
    out (Path): Where to write.
    settings (Settings): How to train.
    """

    def __init__(self, folder: Path, out: Path, settings: Settings) -> None:
        self.settings, self.out = settings, out
        out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(settings.seed)
        self.rng = np.random.default_rng(settings.seed)
        self.bank: PhraseBank = load_bank()
        self.kinds = self.bank.kinds
        photos = read_photos(folder, "train", bank=self.bank)
        self.pictures = [to_picture(photo, self.kinds) for photo in photos]
        share = np.array([SHARE[photo.source] for photo in photos])
        self.chance = share / share.sum()
        # Rare kinds count more where they are shown, so that no kind is judged by its frequency alone.
        seen = np.array([[bool(set(kind_members(k)) & set(photo.kinds)) for k in self.kinds] for photo in photos], float)
        often = np.average(seen, axis=0, weights=share).clip(1e-3, 1)
        self.shown_weight = np.append(((1 - often) / often).clip(1.5, 8.0), 1.0).astype(np.float32)
        self.per_epoch = int(share.sum()) // settings.batch
        self.dev = [(p, to_picture(p, self.kinds)) for p in read_photos(folder, "dev", bank=self.bank)]
        self.network = SmallVision()
        self.guess = nn.Linear(self.network.width, len(self.kinds) + 1)
        self.step, self.elapsed = 0, 0.0
        self.total = int(settings.epochs * self.per_epoch)

    def begin(self) -> None:
        """Word vectors, optimiser, and what an earlier run left."""
        resume = self.out / "resume.safetensors"
        if not resume.exists():
            self.network.text.set_table(*distil_word_vectors(sentence_encoder_folder()))
        else:
            stored = load_file(resume)
            mine = {k[4:]: v for k, v in stored.items() if k.startswith("net.")}
            self.network = build_network(vocabulary_sizes(mine))
            self.network.load_state_dict({**self.network.state_dict(), **mine})
        self.network.to(memory_format=torch.channels_last)
        named = list(self.network.named_parameters()) + [("guess." + n, p) for n, p in self.guess.named_parameters()]
        self.names = [name for name, _ in named]
        groups = [
            {"params": [p for _, p in named if p.ndim > 1], "weight_decay": self.settings.decay},
            {"params": [p for _, p in named if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), fused=True)
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        if resume.exists():
            self.average.update({k[4:]: v for k, v in stored.items() if k.startswith("ema.")})
            self.guess.load_state_dict({k[6:]: v for k, v in stored.items() if k.startswith("guess.")})
            state = {}
            for key, value in stored.items():
                if key.startswith("opt."):
                    _, index, field = key.split(".")
                    state.setdefault(int(index), {})[field] = value
            self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})
            progress = json.loads((self.out / "resume.json").read_text(encoding="utf8"))
            self.step, self.elapsed = progress["step"], progress["elapsed"]
            self.rng = np.random.default_rng((self.settings.seed, self.step))

    def progress(self) -> float:
        """float: Share of the training that is done, by steps or by time, whichever is further."""
        return min(1.0, max(self.step / self.total, self.elapsed / (self.settings.hours * 3600)))

    def size(self) -> int:
        """int: Side of the input now."""
        done = self.progress()
        return [size for start, size in self.settings.sizes if done >= start][-1]

    def batch(self) -> Tuple[List[Prepared], List[str], np.ndarray, np.ndarray]:
        """Draw pictures and phrases: prepared pictures, expressions, which key each asks (B x P), its kind label."""
        size, mosaic = self.size(), self.settings.mosaic if self.progress() < 0.8 else 0.0
        prepared: List[Prepared] = []
        for _ in range(self.settings.batch):
            if self.rng.random() < self.settings.blanks:
                prepared.append(augmented([blank_picture(len(self.kinds), self.rng)], size, self.rng))
                continue
            count = 4 if self.rng.random() < mosaic else 1
            chosen = self.rng.choice(len(self.pictures), count, p=self.chance)
            prepared.append(augmented([self.pictures[i] for i in chosen], size, self.rng))
        present = {key for item in prepared for key in np.unique(item.owner)}
        keys: List[int] = []
        for key, kind in enumerate(self.kinds):
            if kind == "person":
                keys.extend([key] * 5)
            elif kind in VOC_KINDS:
                keys.extend([key] * (2 if key in present and self.rng.random() < 0.3 else 1))
            elif key in present or self.rng.random() < 0.15:
                keys.append(key)
        expressions = [self.bank.sample(self.kinds[key], self.rng).expression for key in keys]
        absent = [self.bank.absent(self.rng).expression for _ in range(18)]
        label = np.array(keys + [len(self.kinds)] * len(absent))
        column = np.tile(np.array(keys + [-1] * len(absent)), (len(prepared), 1))
        return prepared, expressions + absent, column, label

    def one_step(self) -> Dict[str, float]:
        """One optimiser step. RETURNS (Dict[str, float]): Losses."""
        done = self.progress()
        warm = min(1.0, (self.step + 1) / 200)
        rate = self.settings.rate * warm * 0.5 * (1 + math.cos(math.pi * done))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        prepared, expressions, column, label = self.batch()
        self.network.train()
        phrases = self.network.text(expressions)
        loss, parts = joint_loss(self.network, make_batch(prepared, expressions, column, self.shown_weight[label]), phrases=phrases)
        # The phrase vectors alone must tell the kind, else words are learnt only as fast as pictures are.
        kind = nn.functional.cross_entropy(self.guess(phrases), torch.from_numpy(label))
        parts["kind"] = kind.item()
        self.optimizer.zero_grad(set_to_none=True)
        (loss + 0.3 * kind).backward()
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(parameters, 5.0)
        self.optimizer.step()
        self.step += 1
        decay = min(self.settings.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1 - decay)
                else:
                    self.average[name].copy_(value)
        return parts

    def run(self) -> None:
        """Train to the end, saving and measuring after every epoch."""
        sums: Dict[str, float] = {}
        before = self.elapsed
        started = time.perf_counter()
        while self.progress() < 1.0:
            for name, value in self.one_step().items():
                sums[name] = sums.get(name, 0.0) + value
            self.elapsed = before + time.perf_counter() - started
            if self.step % self.per_epoch == 0 or self.progress() >= 1.0:
                count = (self.step - 1) % self.per_epoch + 1
                row = {"step": self.step, "elapsed": round(self.elapsed), "size": self.size()}
                row.update({name: round(value / count, 4) for name, value in sums.items()})
                if (self.step // self.per_epoch) % 3 == 0 or self.progress() >= 1.0:
                    row.update(self.measure())
                self.save(row)
                sums = {}

    def save(self, row: Dict[str, float]) -> None:
        """Write the average, the state to resume from, and a line of the log."""
        network = self.averaged()
        save_network(network, self.out / "network.safetensors")
        stored = {"net." + k: v for k, v in self.network.state_dict().items()}
        stored.update({"ema." + k: v for k, v in self.average.items()})
        stored.update({"guess." + k: v for k, v in self.guess.state_dict().items()})
        for index, fields in self.optimizer.state_dict()["state"].items():
            stored.update({f"opt.{index}.{k}": v for k, v in fields.items()})
        save_file({k: v.detach().clone().contiguous() for k, v in stored.items()}, self.out / "resume.safetensors")
        (self.out / "resume.json").write_text(
            json.dumps({"step": self.step, "elapsed": self.elapsed, "settings": asdict(self.settings)}), encoding="utf8"
        )
        with (self.out / "log.jsonl").open("a", encoding="utf8") as log:
            log.write(json.dumps(row) + "\n")
        logger.info("%s", json.dumps(row))

    def averaged(self) -> SmallVision:
        """SmallVision: a copy with the moving average of the weights."""
        network = build_network(vocabulary_sizes(self.average))
        network.load_state_dict(self.average)
        return network

    def measure(self) -> Dict[str, float]:
        """Boxes and showing on the dev photos, with the average of the weights."""
        return measure(self.averaged(), self.dev, self.kinds, self.bank, size=self.settings.sizes[-1][1])


def measure(
    network: SmallVision, photos: Sequence[Tuple[Photo, Picture]], kinds: Sequence[str], bank: PhraseBank, *, size: int
) -> Dict[str, float]:
    """Prec@0.5 of boxes (any instance counts) and balanced accuracy of showing.

    network (SmallVision): The network.
    photos (Sequence[Tuple[Photo, Picture]]): What to measure on.
    kinds (Sequence[str]): The keys of the pictures.
    bank (PhraseBank): Source of phrases.
    size (int): Side of the input.
    RETURNS (Dict[str, float]): person, all (Prec@0.5), shown (mean of the two accuracies at 0.5), auc.
    """
    rng = np.random.default_rng(7)
    network.eval()
    hits: List[Tuple[str, bool]] = []
    logits: List[Tuple[bool, float]] = []
    for photo, picture in photos:
        if photo.source != "voc":
            continue
        view = plain(picture, size)
        keys = [k for k, kind in enumerate(kinds) if kind in VOC_KINDS and view.status[k] >= 0]
        expressions = [bank.sample(kinds[k], rng).expression for k in keys]
        with torch.inference_mode():
            encoded = network.encode_images(torch.from_numpy(view.pixels.copy()).permute(2, 0, 1)[None])
            shown, boxes, _ = answers(network, encoded, network.encode_phrases(expressions))
        for k, logit, box in zip(keys, shown.tolist(), boxes.numpy()):
            logits.append((bool(view.status[k]), logit))
            if view.status[k]:
                gold = view.boxes[view.owner == k]
                hits.append((kinds[k], bool((box_iou(box, gold) >= 0.5).any())))
    yes = np.array([logit for truth, logit in logits if truth])
    no = np.array([logit for truth, logit in logits if not truth])
    return {
        "person": _mean([hit for kind, hit in hits if kind == "person"]),
        "all": _mean([hit for _, hit in hits]),
        "shown": (_mean(yes > 0) + _mean(no <= 0)) / 2,
        "auc": _mean(yes[:, None] > no[None]),
    }


def _mean(values: Union[np.ndarray, List[bool]]) -> float:
    # A split without persons has no value for persons.
    return round(float(np.mean(values)), 4) if np.size(values) else float("nan")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("photos", type=Path, help="folder with voc*/, ccp*/ and coco*/")
    parser.add_argument("out", type=Path, help="where to write; an earlier run there is resumed")
    parser.add_argument("--epochs", type=float, default=Settings.epochs)
    parser.add_argument("--hours", type=float, default=Settings.hours)
    parser.add_argument("--batch", type=int, default=Settings.batch)
    parser.add_argument("--rate", type=float, default=Settings.rate)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = Settings(epochs=args.epochs, hours=args.hours, batch=args.batch, rate=args.rate)
    trainer = Trainer(args.photos, args.out, settings)
    trainer.begin()
    trainer.run()


if __name__ == "__main__":
    main()
