"""Weights to spaCy components: calibrate on the dev photos, then save entailment and grounder as a pipeline.

rivega vision export training/vision_run/model-last OUT --photos PHOTOS
rivega vision export network.safetensors OUT --photos PHOTOS --size 256
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..backends.small.network import SmallVision
from ..backends.small.phrases.bank import load_bank
from ..backends.small.pictures import SEEN_SIZE, SIZE
from ..backends.small.seen import SeenVision
from ..backends.small.weights import WHAT, load_network, save_network, sizes
from ..backends.weights import read_checkpoint
from .measure import MeasuredQuestion, ask_photos
from .photos import read_photos

logger = logging.getLogger(__name__)
COMPONENTS = ("rivega_entailment", "rivega_grounder")


def calibrate(network: SmallVision, folder: Path, *, size: int, rounds: int = 3, second_look: float = 0.0) -> dict[str, float]:
    """Fit slope and offset of both probabilities on the dev photos (Platt 1999), in place.

    Every photo is asked about as many kinds that it does not show as about kinds that it shows, so that 0.5 is the best threshold. The
    photos of VOC, where the same twenty kinds come again and again, count as much as all others together.

    network (SmallVision): The network.
    folder (Path): The photos.
    size (int): Side of the input.
    rounds (int): Phrases drawn for each thing.
    second_look (float): As in `rivega.SmallGrounder.v2`.
    RETURNS (Dict[str, float]): The fitted numbers, and how many questions they come from.
    """
    bank = load_bank()
    photos = read_photos(folder, "dev", bank=bank)
    seeds = range(11, 11 + rounds)
    rows = [row for seed in seeds for row in ask_photos(network, photos, bank, size=size, seed=seed, second_look=second_look)]
    shown = np.array([(row.logit, row.present) for row in rows], float).reshape(-1, 2)
    located = [row for row in rows if row.overlap == row.overlap]
    right = np.array([(row.score, row.overlap >= 0.5) for row in located], float).reshape(-1, 2)
    network.shown_calibration.copy_(fit_logistic(shown, weights=_even(rows)))
    network.box_calibration.copy_(fit_logistic(right, weights=_even(located)))
    return {
        "shown_slope": float(network.shown_calibration[0]),
        "shown_offset": float(network.shown_calibration[1]),
        "box_slope": float(network.box_calibration[0]),
        "box_offset": float(network.box_calibration[1]),
        "questions": float(len(shown)),
    }


def _even(rows: Sequence[MeasuredQuestion]) -> np.ndarray:
    voc = np.array([row.source == "voc" for row in rows], bool)
    share = voc.mean() if len(voc) else 1.0
    return np.where(voc, 0.5 / max(share, 1e-9), 0.5 / max(1 - share, 1e-9)) if 0 < share < 1 else np.ones(len(voc))


def fit_logistic(pairs: np.ndarray, *, weights: np.ndarray | None = None, steps: int = 50) -> torch.Tensor:
    """Slope and offset of a logistic curve, by Newton's method.

    pairs (np.ndarray): N x 2, logit and truth (0 or 1).
    weights (Optional[np.ndarray]): N, how much each counts.
    steps (int): Newton steps.
    RETURNS (torch.Tensor): Slope (at least 0.05, so that the order of scores stays) and offset.
    """
    x = np.stack([pairs[:, 0], np.ones(len(pairs))], axis=1)
    share = np.ones(len(pairs)) if weights is None else weights
    line = np.array([1.0, 0.0])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(x @ line, -30, 30)))
        gradient = x.T @ (share * (p - pairs[:, 1])) + 1e-3 * line
        curvature = (x * (share * p * (1 - p))[:, None]).T @ x + 1e-3 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        line = line - step * min(1.0, 2.0 / (np.abs(step).max() + 1e-9))
    line[0] = max(line[0], 0.05)
    return torch.tensor(line, dtype=torch.float32)


def make_pipeline(weights: Path, *, size: int, second_look: float = 0.0, language: str = "rivega") -> Any:
    """A pipeline of the two components with equal weights.

    weights (Path): A file of `save_network`.
    size (int): Side of the input.
    second_look (float): As in `rivega.SmallGrounder.v2`.
    language (str): Code of the language class.
    RETURNS (Language): With rivega_entailment and rivega_grounder.
    """
    import spacy

    nlp = spacy.blank(language)
    # The config is to say what the weights are, not only what the architecture's defaults were.
    shape = {
        name: value
        for name, value in sizes(read_checkpoint(weights, what=WHAT)).items()
        if not name.startswith("vocab_") and name != "nouns"
    }
    version = "v2" if "backbone" in shape else "v1"
    architectures = {"rivega_entailment": f"rivega.SmallEntailment.{version}", "rivega_grounder": f"rivega.SmallGrounder.{version}"}
    looks = {"second_look": second_look} if second_look else {}
    for name, more in zip(COMPONENTS, ({}, looks)):
        pipe: Any = nlp.add_pipe(name, config={"model": {"@architectures": architectures[name], "size": size, **shape, **more}})
        pipe.model.attrs["load"](pipe.model, weights)
    return nlp


def export(
    weights: Path, out: Path, *, size: int | None = None, photos: Path | None = None, second_look: float = 0.0
) -> dict[str, float]:
    """Calibrate and save: OUT/network.safetensors and OUT/pipeline (a folder for `spacy.load`).

    weights (Path): What training wrote: a file of weights, or a pipeline folder of `spacy train` with a grounder.
    out (Path): Folder to write.
    size (Optional[int]): Side of the input; None: that of the pipeline folder, or the default of the architectures.
    photos (Optional[Path]): For calibration; without them the weights keep theirs.
    second_look (float): As in `rivega.SmallGrounder.v2`, of the pipeline and of the boxes that the calibration sees.
    RETURNS (Dict[str, float]): What `calibrate` returned.
    """
    network, trained_for = _from_pipeline(weights) if Path(weights).is_dir() else _from_file(weights)
    size = size or trained_for
    fitted = calibrate(network, photos, size=size, second_look=second_look) if photos is not None else {}
    out.mkdir(parents=True, exist_ok=True)
    save_network(network, out / "network.safetensors")
    make_pipeline(out / "network.safetensors", size=size, second_look=second_look).to_disk(out / "pipeline")
    return fitted


def _from_file(path: Path) -> tuple[SmallVision, int]:
    network = load_network(path, {})
    return network, SEEN_SIZE if isinstance(network, SeenVision) else SIZE


def _from_pipeline(folder: Path) -> tuple[SmallVision, int]:
    import spacy

    grounder: Any = spacy.load(folder).get_pipe(COMPONENTS[1])
    shim = grounder.model.shims[0]
    return shim.module, shim.cfg["size"]
