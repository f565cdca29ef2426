"""How well the network does on photographs, set by set: boxes, and shown or not, over all kinds that their annotations know of.

rivega vision measure network.safetensors --photos PHOTOS [--split dev] [--size 288]
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ..backends.small.network import SmallVision
from ..backends.small.phrases.bank import PhraseBank, load_bank
from ..backends.small.pictures import SEEN_SIZE, fit, plain
from ..backends.small.predict import answers
from ..backends.small.second_look import Look, look_again
from ..backends.small.weights import load_network
from ..post.boxes import box_iou, clip_boxes
from .photos import VOC_KINDS, Photo, keys_of, read_photos
from .views import to_picture

# What is asked about where it is absent: kinds of the same sets, so that no question is answered by its style.
ANNOTATED = ("voc", "voc2012", "coco", "coco_lightly", "ccp", "human290")


class MeasuredQuestion(NamedTuple):
    """One question about one photo.

    source (str): The photo's set.
    photo (str): Its id.
    kind (str): What was asked about.
    present (bool): Whether it is shown.
    known (bool): Whether some training photo shows one.
    logit (float): That it is shown.
    overlap (float): Intersection over union of box and best instance; nan if there is none, or no one knows where.
    area (float): Largest instance, as a share of the picture.
    score (float): Logit of the box.
    """

    source: str
    photo: str
    kind: str
    present: bool
    known: bool
    logit: float
    overlap: float
    area: float
    score: float


def ask_photos(
    network: SmallVision,
    photos: Sequence[Photo],
    bank: PhraseBank,
    *,
    size: int,
    known: set | None = None,
    seed: int = 7,
    second_look: float = 0.0,
) -> list[MeasuredQuestion]:
    """Ask about each kind that a photo shows, and about one that it does not for each.

    network (SmallVision): The network.
    photos (Sequence[Photo]): What to measure on.
    bank (PhraseBank): Source of phrases.
    size (int): Side of the input.
    known (Optional[set]): Kinds of the training photos; None counts all as known.
    seed (int): Of phrases and absent kinds.
    second_look (float): As in `rivega.SmallGrounder.v2`.
    RETURNS (List[MeasuredQuestion]): One for each question.
    """
    rng, rows = np.random.default_rng(seed), []
    network.eval()
    often: dict[str, dict[str, int]] = {}
    for photo in photos:
        for kind in _own(photo):
            group = often.setdefault(_group(photo.source), {})
            group[kind] = group.get(kind, 0) + 1
    for photo in photos:
        own, maybe, group = sorted(_own(photo)), photo.maybe_shown, often.get(_group(photo.source), {})
        keys = {key for kind in own for key in keys_of(kind)}
        others = [kind for kind in sorted(group) if kind not in maybe and kind not in keys and not keys & set(keys_of(kind))]
        # Absent kinds are drawn as often as they are shown elsewhere: with kinds drawn evenly, a person would nearly always be there.
        chance = np.array([group[kind] for kind in others], float)
        count = min(len(own), len(others))
        absent = [str(kind) for kind in rng.choice(others, count, replace=False, p=chance / chance.sum())] if count else []
        asked = [(kind, True) for kind in own] + [(kind, False) for kind in absent]
        if not asked:
            continue
        kinds = [kind for kind, _ in asked]
        picture = to_picture(photo, kinds)
        view = plain(picture, size)
        with torch.inference_mode():
            encoded = network.encode_images(torch.from_numpy(view.pixels.copy()).permute(2, 0, 1)[None])
            questions = network.encode_phrases([bank.sample(kind, rng).expression for kind in kinds])
            shown, boxes, heat = answers(network, encoded, questions)
            found = boxes.double().numpy()
            if second_look:
                image = np.asarray(picture.image)
                placed, extent = fit(*picture.image.size, size), image.shape[:2]
                seen = clip_boxes(placed.to_picture(found), *extent)
                seen, heat = look_again(network, [Look(image, questions, seen, heat)], below=second_look)[0]
                found = placed.to_input(clip_boxes(seen, *extent))
        for place, (kind, present) in enumerate(asked):
            gold = view.boxes[(view.owner == place) & ~view.hard]
            overlap, area = float("nan"), float("nan")
            if present and len(gold):
                overlap = float(box_iou(found[place], gold).max())
                area = float(((gold[:, 2] - gold[:, 0]) * (gold[:, 3] - gold[:, 1])).max()) / size**2
            row = MeasuredQuestion(
                photo.source,
                photo.id,
                kind,
                present,
                known is None or kind in known,
                float(shown[place]),
                overlap,
                area,
                float(heat[place]),
            )
            rows.append(row)
    return rows


def _group(source: str) -> str:
    return "voc" if source in ("voc", "voc2012") else "annotated" if source in ANNOTATED else "named"


def _own(photo: Photo) -> set:
    kinds = {kind for kind, hard in zip(photo.kinds, photo.hard) if not hard} | set(photo.labels)
    if photo.source in ("voc", "voc2012"):
        kinds &= set(VOC_KINDS)
    return kinds


def summary(rows: Sequence[MeasuredQuestion]) -> dict[str, dict[str, float]]:
    """Boxes right, balanced accuracy and area under the curve, in percent, for each set and for some sets together."""
    together = {
        "voc persons": lambda r: r.source == "voc" and r.kind == "person",
        "ecssd, sod": lambda r: r.source in ("ecssd", "sod_bsd"),
        "not of VOC": lambda r: r.source not in ANNOTATED,
        "open shown": lambda r: r.source in ("ecssd", "sod_bsd", "caltech101_photos", "grocery"),
        "unknown kinds": lambda r: not r.known,
    }
    names = [(source, lambda r, source=source: r.source == source) for source in sorted({r.source for r in rows})]
    found = {}
    for name, chosen in [*names, *together.items()]:
        mine = [row for row in rows if chosen(row)]
        hits = np.array([row.overlap >= 0.5 for row in mine if row.overlap == row.overlap])
        yes, no = (np.array([row.logit for row in mine if row.present is present]) for present in (True, False))
        found[name] = {
            "questions": len(hits),
            "boxes": _percent(hits),
            "shown": (_percent(yes > 0) + _percent(no <= 0)) / 2,
            "auc": area_under_curve(yes, no),
        }
    return found


def area_under_curve(yes: np.ndarray, no: np.ndarray) -> float:
    """Share of pairs in which what is shown has the higher score, in percent; a tie counts half."""
    if not len(yes) or not len(no):
        return float("nan")
    return 100 * float(np.mean(yes[:, None] > no[None]) + np.mean(yes[:, None] == no[None]) / 2)


def _percent(values: np.ndarray) -> float:
    return 100 * float(np.mean(values)) if len(values) else float("nan")


def measure(
    weights: Path, photos: Path, *, split: str = "dev", size: int | None = None, limit: int = 0, second_look: float = 0.0
) -> dict[str, dict[str, float]]:
    """Figures of a network on photographs.

    weights (Path): Of a trained network.
    photos (Path): Folder of the photographs' sources.
    split (str): "dev" or "heldout".
    size (Optional[int]): Side of the network's input; None takes the backbone's.
    limit (int): Photographs of each set at most; 0 for all.
    second_look (float): As in `rivega.SmallGrounder.v2`.
    RETURNS (Dict[str, Dict[str, float]]): As `summary`.
    """
    bank = load_bank()
    asked = read_photos(photos, split, bank=bank)
    known = {
        key for photo in read_photos(photos, "train", bank=bank) for kind in (*photo.kinds, *photo.labels) for key in keys_of(kind)
    }
    if limit:
        groups: dict[str, list[Photo]] = {}
        for photo in asked:
            groups.setdefault(photo.source, []).append(photo)
        asked = [photo for group in groups.values() for photo in group[:limit]]
    network, side = load_network(weights, {}), size or SEEN_SIZE
    return summary(ask_photos(network, asked, bank, size=side, known=known, second_look=second_look))
