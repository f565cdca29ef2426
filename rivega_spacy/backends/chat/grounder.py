"""`rivega.ChatGrounder.v1`: where is the entity, asked of a vision-language model."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from PIL import Image
from thinc.api import Model
from thinc.types import Floats2d

from ...llm.base import Answer, ChatRequest, LanguageModel, image_ref
from ...llm.pictures import PictureAsker, strict_json
from ...llm.prompting import Prompt, load_prompt
from ...llm.safety import InvalidAnswer
from ...llm.store import AnswerStore
from ...pipes.queries import ImageQueries
from ...post.boxes import clip_boxes
from ...post.errors import Errors, RivegaError
from ...post.images import image_for_storage
from ..backend import no_gradient
from .families import convention_of

CONVENTIONS = {"absolute": ("expression", "width", "height"), "thousand": ("expression",), "thousand_yx": ("expression",)}
# Qwen2.5-VL scales pictures to multiples of its patches; given such a one, its pixels are the picture's.
PATCH = 28


def chat_grounder(
    *,
    client: LanguageModel,
    store: AnswerStore | None = None,
    convention: str = "absolute",
    max_side: int = 1008,
    prompt: str | None = None,
    max_tokens: int = 200,
) -> Model[list[ImageQueries], list[Floats2d]]:
    """`rivega.ChatGrounder.v1`.

    client (LanguageModel): Takes pictures: `rivega.OpenAIChat.v1` or `rivega.TransformersChat.v1` with a vision-language model.
        Its `max_image_side` must be at least `max_side`, else it scales pictures again.
    store (Optional[AnswerStore]): `rivega.AnswerStore.v1` keeps answers, so that nothing is asked twice.
    convention (str): "absolute": boxes in pixels of the picture as sent (Qwen2.5-VL); "thousand": from 0 to 1000 (Qwen2-VL,
        Qwen3-VL, InternVL); "thousand_yx": the same with y before x (Gemini); "auto": by the name of the client's model.
    max_side (int): Longer side of the picture as sent, in pixels.
    prompt (Optional[str]): The user's prompt file; None takes the package's.
    max_tokens (int): Longest answer.
    RETURNS (Model[List[ImageQueries], List[Floats2d]]): The first box of each answer with score 1; where the model sees none, a
        box of NaN with score 0. It cannot be trained here.
    """
    if convention == "auto":
        convention = convention_of(client)
    if convention not in CONVENTIONS:
        allowed = " or ".join(repr(name) for name in (*CONVENTIONS, "auto"))
        raise RivegaError(Errors.E738.format(option="convention", allowed=allowed, value=convention))
    asker = PictureAsker(client, store, _read_answer)
    template = load_prompt(f"grounding_{convention}", CONVENTIONS[convention], prompt)
    forward = partial(_forward, asker=asker, template=template, convention=convention, max_side=max_side, max_tokens=max_tokens)
    return Model("chat_grounder", forward)


def _read_answer(answer: Answer) -> list[list[float]]:
    return read_boxes(strict_json(answer))


def read_boxes(value: Any) -> list[list[float]]:
    """The boxes in [{"bbox_2d": [x1, y1, x2, y2], ...}, ...]; a single object or plain lists of four numbers are taken too.

    RAISES (InvalidAnswer): For anything else, and for a box that is not two corners in order.
    """
    if isinstance(value, dict) or (isinstance(value, list) and len(value) == 4 and all(_is_number(x) for x in value)):
        value = [value]
    if not isinstance(value, list):
        raise InvalidAnswer(f"no list of boxes: {str(value)[:80]}")
    boxes = []
    for item in value:
        box = item.get("bbox_2d", item.get("box_2d", item.get("bbox"))) if isinstance(item, dict) else item
        if not isinstance(box, list) or len(box) != 4 or not all(_is_number(x) for x in box):
            raise InvalidAnswer(f"no box of four numbers: {str(item)[:80]}")
        if not (box[0] < box[2] and box[1] < box[3]):
            raise InvalidAnswer(f"not a left upper and a right lower corner: {box}")
        boxes.append([float(x) for x in box])
    return boxes


def sent_size(height: int, width: int, max_side: int) -> tuple[int, int]:
    """Height and width of the picture as sent: multiples of 28 within `max_side`, the ratio kept as nearly as that allows."""
    most = max(2, max_side // PATCH)
    scale = min(1.0, max_side / max(height, width))
    # Two patches at least, and no side more than a hundred times the other: the limits of Qwen's own scaling.
    sides = [min(most, max(2, round(side * scale / PATCH))) for side in (height, width)]
    return sides[0] * PATCH, sides[1] * PATCH


def to_pixels(boxes: np.ndarray, convention: str, sent: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Boxes of an answer in pixels of the original picture.

    boxes (ndarray): n x 4. convention (str): See `chat_grounder`. sent (Tuple[int, int]), size (Tuple[int, int]): Height and
        width of the picture as sent and of the original.
    RETURNS (ndarray): n x 4, within the picture.
    """
    height, width = sent if convention == "absolute" else (1000, 1000)
    scale = np.array([size[1] / width, size[0] / height] * 2)
    corners = np.asarray(boxes, dtype="float64").reshape(-1, 4)
    if convention == "thousand_yx":
        corners = corners[:, [1, 0, 3, 2]]
    return clip_boxes(corners * scale, *size)


def _forward(
    model: Model,
    batch: list[ImageQueries],
    is_train: bool,
    *,
    asker: PictureAsker,
    template: Prompt,
    convention: str,
    max_side: int,
    max_tokens: int,
) -> tuple[list[Floats2d], Callable]:
    requests, sizes = [], []
    for queries in batch:
        sizes.append(sent_size(queries.image.shape[0], queries.image.shape[1], max_side))
        if not queries.expressions:
            continue
        height, width = sizes[-1]
        scaled = Image.fromarray(np.asarray(queries.image)).resize((width, height), Image.Resampling.BICUBIC)
        picture = image_ref(image_for_storage(scaled))
        for text in map(str, queries.expressions):
            values = {"expression": text, "width": str(width), "height": str(height)}
            messages = template.render({field: values[field] for field in template.fields}, image=picture)
            requests.append(ChatRequest(messages, max_tokens, "grounding", template.version, entity=text))
    answers = iter(asker.ask(requests))
    found: list[Floats2d] = []
    for queries, sent in zip(batch, sizes):
        rows: Any = np.full((len(queries.expressions), 5), math.nan, dtype="float32")
        for row in rows:
            boxes = next(answers)
            row[4] = 1.0 if boxes else 0.0
            if boxes:
                row[:4] = to_pixels(np.array(boxes[:1]), convention, sent, queries.image.shape[:2])[0]
        found.append(model.ops.asarray2f(rows))
    return found, no_gradient


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
