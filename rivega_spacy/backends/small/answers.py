"""Answers at run time: entailment and grounder ask the same network about the same pictures, which are encoded once.

Encodings are kept in a small least-recently-used store for the whole process, keyed by a digest of the weights
and a digest of the picture. Two components that hold equal weights therefore cost one image pass together.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch

from ...pipes.queries import ImageQueries
from ...post.boxes import clip_boxes
from ...post.cache import RecentCache
from ...post.expressions import Expression
from ..shim import TorchShim, one_at_a_time
from .network import EncodedPictures, Questions, SmallVision
from .pictures import fit, to_input
from .predict import answers
from .second_look import Look, look_again

PICTURES, PHRASES = 64, 4096
# Longer phrases are not kept.
PHRASE_CHARS = 1000


class Findings(NamedTuple):
    """What the network says of n expressions about one picture.

    shown (np.ndarray): n probabilities that the picture shows it.
    boxes (np.ndarray): n x 4 XYXY pixels of the picture, within it.
    scores (np.ndarray): n probabilities that the box is right.
    """

    shown: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray


_PICTURES: RecentCache[EncodedPictures] = RecentCache(PICTURES)
_PHRASES: RecentCache[Questions] = RecentCache(PHRASES)


def clear_store() -> None:
    """Forget all encodings."""
    _PICTURES.clear()
    _PHRASES.clear()


def answer(
    shim: TorchShim, queries: Sequence[ImageQueries], size: int, *, bf16: bool = False, second_look: float = 0.0
) -> list[Findings]:
    """Answer all queries: one image pass for each distinct picture, one text pass for each distinct phrase.

    shim (TorchShim): Holds the network.
    queries (Sequence[ImageQueries]): Pictures with expressions.
    size (int): Side of the network's input, pixels.
    bf16 (bool): Run the image encoder in bfloat16.
    second_look (float): Where a box covers a smaller share of its picture than this, the part around it is looked at again, enlarged.
    RETURNS (List[Findings]): One for each picture, in order.
    """
    with shim.inference(fold=True) as module:
        network = cast(SmallVision, module)
        encodings = _encode_pictures(network, shim, queries, size, bf16)
        asked = _encode_phrases(network, shim, queries)
        questions = [_questions([asked[expression] for expression in query.expressions]) for query in queries]
        none = network.heat_prior.new_zeros(0)
        parts = [
            (none, none.view(0, 4), none) if some is None else answers(network, encoded, some)
            for some, encoded in zip(questions, encodings)
        ]
        # Numbers leave the device once a batch, not once a picture: each time a GPU would be waited for.
        ends = np.cumsum([len(query.expressions) for query in queries])[:-1]
        logits = torch.cat([shown.float() for shown, _, _ in parts]) if parts else torch.zeros(0)
        boxes = np.split(torch.cat([found.double() for _, found, _ in parts]).cpu().numpy(), ends) if parts else []
        heats: list[torch.Tensor] = [heat.float() for _, _, heat in parts]
        placed: list[np.ndarray] = []
        small: list[tuple[int, Look]] = []
        for number, (query, some, found) in enumerate(zip(queries, questions, boxes)):
            height, width = query.image.shape[:2]
            # From the network's input to the picture as it was decoded, and on to the picture itself.
            scale = np.array([query.size[1] / width, query.size[0] / height] * 2)
            found = clip_boxes(fit(width, height, size).to_picture(found) * scale, *query.size)
            if second_look and some is not None:
                small.append((number, Look(query.image, some, found, heats[number])))
            placed.append(found)
        again = look_again(network, [look for _, look in small], below=second_look, bf16=bf16)
        for (number, _), (found, heat) in zip(small, again):
            placed[number], heats[number] = clip_boxes(found, *queries[number].size), heat
        shown = np.split(_probability(logits, network.shown_calibration), ends) if parts else []
        scores = np.split(_probability(torch.cat(heats), network.box_calibration), ends) if parts else []
    return [Findings(said, boxes.astype("f"), score) for said, boxes, score in zip(shown, placed, scores)]


def _questions(rows: Sequence[Questions]) -> Questions | None:
    return Questions(*(torch.stack(parts) for parts in zip(*rows))) if rows else None


def _probability(logits: torch.Tensor, calibration: torch.Tensor) -> np.ndarray:
    return torch.sigmoid(logits.float() * calibration[0] + calibration[1]).cpu().numpy().astype("f")


def _encode_pictures(
    network: SmallVision, shim: TorchShim, queries: Sequence[ImageQueries], size: int, bf16: bool
) -> list[EncodedPictures]:
    keys: list[tuple[Any, ...]] = [
        (shim.digest, query.image_key, size, bf16) if query.image_key else (id(query), number)
        for number, query in enumerate(queries)
    ]
    found: dict[tuple[Any, ...], EncodedPictures] = {}
    missing: dict[tuple[Any, ...], ImageQueries] = {}
    for key, query in zip(keys, queries):
        stored = _PICTURES.get(key) if query.image_key else None
        if stored is not None:
            found[key] = stored
        elif query.expressions:
            missing.setdefault(key, query)
    waiting = list(missing)
    together = network.pictures_a_pass(bf16=bf16)
    for start in range(0, len(waiting), together):
        group = waiting[start : start + together]
        pixels = np.stack([to_input(missing[key].image, size)[0] for key in group])
        batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(network.heat_prior.device)
        encoded = network.encode_images(batch, bf16=bf16)
        for i, key in enumerate(group):
            found[key] = EncodedPictures(*(part[i : i + 1].clone() for part in encoded))
            if missing[key].image_key:
                _PICTURES.put(key, found[key])
    return [found.get(key, _NOTHING) for key in keys]


_NOTHING = EncodedPictures(*(torch.zeros(0) for _ in EncodedPictures._fields))


def _encode_phrases(network: SmallVision, shim: TorchShim, queries: Sequence[ImageQueries]) -> dict[Expression, Questions]:
    rows: dict[Expression, Questions] = {}
    missing: list[Expression] = []
    for expression in dict.fromkeys(e for query in queries for e in query.expressions):
        stored = _PHRASES.get((shim.digest, expression))
        if stored is None:
            missing.append(expression)
        else:
            rows[expression] = stored
    step = 1 if one_at_a_time(shim.device) else max(1, len(missing))
    for start in range(0, len(missing), step):
        group = missing[start : start + step]
        encoded = network.encode_phrases(group)
        for i, expression in enumerate(group):
            rows[expression] = Questions(*(part[i].clone() for part in encoded))
            # The network reads the first words alone, but the key is all of it.
            if len(expression.name) + len(expression.expansion) <= PHRASE_CHARS:
                _PHRASES.put((shim.digest, expression), rows[expression])
    return rows


__all__ = ["Findings", "answer", "clear_store"]
