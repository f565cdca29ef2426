"""Train the small network where there is no spaCy: the views, the loss and the schedule of configs/vision_small.cfg in a plain loop.

    python -m rivega_spacy.training.plain_loop PHOTOS OUT --epochs 80 --hours 1.3
    python -m rivega_spacy.training.plain_loop PHOTOS OUT --epochs 400 --batch 256 --rate 0.004 --device cuda --workers 14

What is written to OUT: `network.safetensors` (moving average of the weights, after every epoch), `resume.safetensors` and
`log.jsonl`. A run goes on where one in OUT stopped.
"""

import argparse
import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from ..backends.small.distil import distil_word_vectors, sentence_encoder_folder
from ..backends.small.network import SmallVision
from ..backends.small.phrases.bank import PhraseBank, load_bank
from ..backends.small.pictures import Picture, Prepared, plain
from ..backends.small.predict import answers
from ..backends.small.weights import build_network, save_network, sizes
from ..backends.state import load_optimizer_state
from ..post.boxes import box_iou
from .dense import DenseAsker
from .photos import VOC_KINDS, Photo, read_photos
from .views import PhotoViews, ViewSettings, to_picture

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings(ViewSettings):
    """How to train; see also ViewSettings.

    epochs (float): Passes over the photos.
    hours (float): Time limit; the learning rate reaches zero at whichever of the two comes first.
    rate (float): Highest learning rate.
    decay (float): Weight decay of matrices.
    average (float): Decay of the moving average of the weights.
    device (str): Where the network runs.
    workers (int): Processes that prepare views; 0 prepares them in between.
    """

    epochs: float = 60.0
    hours: float = 1.5
    rate: float = 2e-3
    decay: float = 0.05
    average: float = 0.998
    device: str = "cpu"
    workers: int = 0


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
        self.bank: PhraseBank = load_bank()
        self.views = PhotoViews(folder, settings)
        self.asker = DenseAsker(self.views.photos, seed=settings.seed)
        self.dev = [(p, to_picture(p, self.bank.kinds)) for p in read_photos(folder, "dev", bank=self.bank)]
        self.network = SmallVision()
        self.guess = self.asker.new_guess(self.network)
        self.step, self.elapsed = 0, 0.0
        self.total = int(settings.epochs * self.views.per_epoch)

    def begin(self) -> None:
        """Word vectors, optimiser, and what an earlier run left."""
        resume = self.out / "resume.safetensors"
        if not resume.exists():
            self.network.text.set_table(*distil_word_vectors(sentence_encoder_folder()))
        else:
            stored = load_file(resume)
            mine = {k[4:]: v for k, v in stored.items() if k.startswith("net.")}
            self.network = build_network(sizes(mine))
            self.network.load_state_dict({**self.network.state_dict(), **mine})
        self.network.to(self.settings.device, memory_format=torch.channels_last)
        self.guess.to(self.settings.device)
        named = list(self.network.named_parameters()) + [("guess." + n, p) for n, p in self.guess.named_parameters()]
        groups = [
            {"params": [p for _, p in named if p.ndim > 1], "weight_decay": self.settings.decay},
            {"params": [p for _, p in named if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), fused=True)
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        if resume.exists():
            device = self.settings.device
            self.average.update({k[4:]: v.to(device) for k, v in stored.items() if k.startswith("ema.")})
            self.guess.load_state_dict({k[6:]: v for k, v in stored.items() if k.startswith("guess.")})
            load_optimizer_state(self.optimizer, {k[4:]: v for k, v in stored.items() if k.startswith("opt.")})
            progress = json.loads((self.out / "resume.json").read_text(encoding="utf8"))
            self.step, self.elapsed = progress["step"], progress["elapsed"]

    def progress(self) -> float:
        """float: Share of the training that is done, by steps or by time, whichever is further."""
        return min(1.0, max(self.step / self.total, self.elapsed / (self.settings.hours * 3600)))

    def size(self) -> int:
        """int: Side of the input now."""
        return self.settings.size(self.progress())

    def _places(self) -> Iterator[tuple[int, float]]:
        step = self.step
        while True:
            yield step, self.progress()
            step += 1

    def one_step(self, views: Sequence[Prepared]) -> dict[str, float]:
        """One optimiser step on the views of a batch. RETURNS (Dict[str, float]): Losses."""
        done = self.progress()
        warm = min(1.0, (self.step + 1) / 200)
        rate = self.settings.rate * warm * 0.5 * (1 + math.cos(math.pi * done))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        loss, parts = self.asker.loss(self.network, self.guess, views, self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
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
        sums: dict[str, float] = {}
        before = self.elapsed
        started = time.perf_counter()
        for views in self.views.stream(self._places, workers=self.settings.workers):
            if self.progress() >= 1.0:
                break
            for name, value in self.one_step(views).items():
                sums[name] = sums.get(name, 0.0) + value
            self.elapsed = before + time.perf_counter() - started
            if self.step % self.views.per_epoch == 0 or self.progress() >= 1.0:
                count = (self.step - 1) % self.views.per_epoch + 1
                row = {"step": self.step, "elapsed": round(self.elapsed), "size": self.size()}
                row.update({name: round(value / count, 4) for name, value in sums.items()})
                if (self.step // self.views.per_epoch) % 3 == 0 or self.progress() >= 1.0:
                    row.update(self.measure())
                self.save(row)
                sums = {}

    def save(self, row: dict[str, float]) -> None:
        """Write the average, the state to resume from, and a line of the log."""
        network = self.averaged()
        save_network(network, self.out / "network.safetensors")
        stored = {"net." + k: v for k, v in self.network.state_dict().items()}
        stored.update({"ema." + k: v for k, v in self.average.items()})
        stored.update({"guess." + k: v for k, v in self.guess.state_dict().items()})
        for index, fields in self.optimizer.state_dict()["state"].items():
            stored.update({f"opt.{index}.{k}": v for k, v in fields.items()})
        save_file({k: v.detach().cpu().clone().contiguous() for k, v in stored.items()}, self.out / "resume.safetensors")
        (self.out / "resume.json").write_text(
            json.dumps({"step": self.step, "elapsed": self.elapsed, "settings": asdict(self.settings)}), encoding="utf8"
        )
        with (self.out / "log.jsonl").open("a", encoding="utf8") as log:
            log.write(json.dumps(row) + "\n")
        logger.info("%s", json.dumps(row))

    def averaged(self) -> SmallVision:
        """SmallVision: a copy with the moving average of the weights."""
        network = build_network(sizes(self.average))
        network.load_state_dict(self.average)
        return network

    def measure(self) -> dict[str, float]:
        """Boxes and showing on the dev photos, with the average of the weights."""
        return measure(self.averaged(), self.dev, self.bank.kinds, self.bank, size=self.settings.sizes[-1][1])


def measure(
    network: SmallVision, photos: Sequence[tuple[Photo, Picture]], kinds: Sequence[str], bank: PhraseBank, *, size: int
) -> dict[str, float]:
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
    hits: list[tuple[str, bool]] = []
    logits: list[tuple[bool, float]] = []
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


def _mean(values: np.ndarray | list[bool]) -> float:
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
    parser.add_argument("--device", default=Settings.device)
    parser.add_argument("--workers", type=int, default=Settings.workers)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    chosen = {name: value for name, value in vars(args).items() if name not in ("photos", "out")}
    trainer = Trainer(args.photos, args.out, Settings(**chosen))
    trainer.begin()
    trainer.run()


if __name__ == "__main__":
    main()
