"""Weights to spaCy components: calibrate on the dev photos, then save entailment and grounder as a pipeline.

    python -m rivega_spacy.networks.small.export training/vision_run/model-last OUT --photos PHOTOS
    python -m rivega_spacy.networks.small.export network.safetensors OUT --photos PHOTOS --size 256
"""

import argparse
import logging
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import torch
from safetensors.torch import load_file

from ...boxes import box_iou
from ...corpus.phrases.bank import load_bank
from ...corpus.photos import VOC_KINDS, read_photos
from .network import SmallVision
from .pictures import SIZE, plain
from .predict import answers
from .views import to_picture
from .weights import load_network, save_network, sizes

logger = logging.getLogger(__name__)
COMPONENTS = ("rivega_entailment", "rivega_grounder")


def calibrate(network: SmallVision, folder: Path, *, size: int, rounds: int = 3) -> Dict[str, float]:
    """Fit slope and offset of both probabilities on the dev photos (Platt 1999), in place.

    Every kind of thing is asked about as often where it is absent as where it is shown, so that 0.5 is the best threshold
    for each. With kinds drawn evenly, a person would be asked about where shown ten times as often as where not, and
    every name of a person would come out as shown.

    network (SmallVision): The network.
    folder (Path): The photos.
    size (int): Side of the input.
    rounds (int): Phrases drawn for each thing.
    RETURNS (Dict[str, float]): The fitted numbers, and how many questions they come from.
    """
    bank, rng = load_bank(), np.random.default_rng(11)
    network.eval()
    shown: List[Tuple[float, float]] = []
    right: List[Tuple[float, float]] = []
    photos = [photo for photo in read_photos(folder, "dev", bank=bank) if photo.source == "voc"]
    often = 0.5 + np.array([sum(kind in photo.kinds for photo in photos) for kind in bank.kinds])
    for photo in photos:
        view = plain(to_picture(photo, bank.kinds), size)
        with torch.inference_mode():
            encoded = network.encode_images(torch.from_numpy(view.pixels.copy()).permute(2, 0, 1)[None])
        present = [k for k, kind in enumerate(bank.kinds) if kind in VOC_KINDS and view.status[k] == 1]
        absent = [k for k, kind in enumerate(bank.kinds) if kind in VOC_KINDS and view.status[k] == 0]
        for _ in range(rounds):
            wrong = rng.choice(absent, len(present), p=often[absent] / often[absent].sum())
            expressions = [bank.sample(bank.kinds[k], rng).expression for k in [*present, *wrong]]
            with torch.inference_mode():
                logits, boxes, heat = answers(network, encoded, network.encode_phrases(expressions))
            shown.extend((logit, 1.0) for logit in logits[: len(present)].tolist())
            shown.extend((logit, 0.0) for logit in logits[len(present) :].tolist())
            for k, box, score in zip(present, boxes.numpy(), heat.tolist()):
                right.append((score, float((box_iou(box, view.boxes[view.owner == k]) >= 0.5).any())))
    network.shown_calibration.copy_(fit_logistic(np.array(shown)))
    network.box_calibration.copy_(fit_logistic(np.array(right)))
    return {
        "shown_slope": float(network.shown_calibration[0]),
        "shown_offset": float(network.shown_calibration[1]),
        "box_slope": float(network.box_calibration[0]),
        "box_offset": float(network.box_calibration[1]),
        "questions": float(len(shown)),
    }


def fit_logistic(pairs: np.ndarray, *, steps: int = 50) -> torch.Tensor:
    """Slope and offset of a logistic curve, by Newton's method.

    pairs (np.ndarray): N x 2, logit and truth (0 or 1).
    steps (int): Newton steps.
    RETURNS (torch.Tensor): Slope (at least 0.05, so that the order of scores stays) and offset.
    """
    x = np.stack([pairs[:, 0], np.ones(len(pairs))], axis=1)
    weights = np.array([1.0, 0.0])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        gradient = x.T @ (p - pairs[:, 1]) + 1e-3 * weights
        curvature = (x * (p * (1 - p))[:, None]).T @ x + 1e-3 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step * min(1.0, 2.0 / (np.abs(step).max() + 1e-9))
    weights[0] = max(weights[0], 0.05)
    return torch.tensor(weights, dtype=torch.float32)


def make_pipeline(weights: Path, *, size: int, language: str = "rivega") -> Any:
    """A pipeline of the two components with equal weights.

    weights (Path): A file of `save_network`.
    size (int): Side of the input.
    language (str): Code of the language class.
    RETURNS (Language): With rivega_entailment and rivega_grounder.
    """
    import spacy

    nlp = spacy.blank(language)
    # The config is to say what the weights are, not only what the architecture's defaults were.
    shape = {name: value for name, value in sizes(load_file(weights)).items() if not name.startswith("vocab_") and name != "nouns"}
    architectures = {"rivega_entailment": "rivega.SmallEntailment.v1", "rivega_grounder": "rivega.SmallGrounder.v1"}
    for name in COMPONENTS:
        pipe = nlp.add_pipe(name, config={"model": {"@architectures": architectures[name], "size": size, **shape}})
        pipe.model.attrs["load"](pipe.model, weights)
    return nlp


def export(weights: Path, out: Path, *, size: Optional[int] = None, photos: Optional[Path] = None) -> Dict[str, float]:
    """Calibrate and save: OUT/network.safetensors and OUT/pipeline (a folder for `spacy.load`).

    weights (Path): What training wrote: a file of weights, or a pipeline folder of `spacy train` with a grounder.
    out (Path): Folder to write.
    size (Optional[int]): Side of the input; None: that of the pipeline folder, or the default of the architectures.
    photos (Optional[Path]): For calibration; without them the weights keep theirs.
    RETURNS (Dict[str, float]): What `calibrate` returned.
    """
    network, trained_for = _from_pipeline(weights) if Path(weights).is_dir() else (load_network(weights, {}), SIZE)
    size = size or trained_for
    fitted = calibrate(network, photos, size=size) if photos is not None else {}
    out.mkdir(parents=True, exist_ok=True)
    save_network(network, out / "network.safetensors")
    make_pipeline(out / "network.safetensors", size=size).to_disk(out / "pipeline")
    return fitted


def _from_pipeline(folder: Path) -> Tuple[SmallVision, int]:
    import spacy

    shim = spacy.load(folder).get_pipe(COMPONENTS[1]).model.shims[0]
    return shim.module, shim.cfg["size"]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--photos", type=Path, default=None, help="folder of photos, for calibration")
    parser.add_argument("--size", type=int, default=None, help="side of the network's input (default: what it was trained for)")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logger.info("%s", export(args.weights, args.out, size=args.size, photos=args.photos))


if __name__ == "__main__":
    main()
