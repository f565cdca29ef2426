"""`rivega.TransformersCaptioner.v1`: BLIP-2, BLIP, GIT and other image-to-text models from a local folder."""

from typing import Any

import numpy as np

from ..post.errors import Errors, ImageError, RivegaError
from ..post.images import PART_BYTES, read_image
from .base import Answer, ChatRequest
from .local import LocalModel, load_class

# What the answer goes on from; image-to-text models know no chat.
DEFAULT_PREFIXES = {"caption": "", "description": "a detailed description of the picture:"}


class TransformersCaptioner(LocalModel):
    """`rivega.TransformersCaptioner.v1`: an image-to-text model behind the interface of language models.

    Of a question it sees the picture and which prompt it is.

    path (str): Folder with config.json, preprocessor_config.json, a tokenizer and safetensors weights; nothing is downloaded.
    name (Optional[str]): What this source is called in the store; None takes the folder's name.
    prefixes (Optional[Dict[str, str]]): "caption" and "description" -> the words that the model goes on from.
    num_beams (int): Width of the beam search; 1 takes the likeliest word each time.
    batch_size (int): Pictures a batch.
    device (str), dtype (str): Where the weights live, and as what: "auto", "float32", "bfloat16", "float16".
    """

    def __init__(
        self,
        path: str,
        name: str | None = None,
        prefixes: dict[str, str] | None = None,
        num_beams: int = 1,
        batch_size: int = 8,
        device: str = "cpu",
        dtype: str = "auto",
    ) -> None:
        super().__init__(path, name=name, batch_size=batch_size, device=device, dtype=dtype)
        if num_beams < 1:
            raise RivegaError(Errors.E416.format(field="num_beams", value=num_beams, wanted="1 or more"))
        self.prefixes = {**DEFAULT_PREFIXES, **(prefixes or {})}
        self.num_beams = num_beams

    def identity(self) -> dict[str, Any]:
        """What shapes the answers."""
        return {
            "client": "transformers-captioner",
            "name": self.name,
            "weights": self.weights,
            "prefixes": self.prefixes,
            "num_beams": self.num_beams,
            "dtype": self.dtype,
        }

    def _load(self) -> tuple[Any, Any]:
        processor = load_class("AutoProcessor", self.path)
        model = load_class("AutoModelForImageTextToText", self.path, torch_dtype=self.dtype).to(self.device).eval()
        processor.tokenizer.padding_side = "left"
        return processor, model

    def _answer(self, requests: list[ChatRequest]) -> list[Answer]:
        answers: dict[int, Answer] = {}
        groups: dict[tuple, list[tuple[int, Any]]] = {}
        for index, request in enumerate(requests):
            images = [image for message in request.messages for image in message.images]
            if not images:
                answers[index] = Answer(None, error="the question comes without a picture, and this model knows nothing else")
                continue
            key = (self.prefixes.get(request.prompt, ""), request.max_tokens)
            groups.setdefault(key, []).append((index, images[0].source))
        for (prefix, max_tokens), asked in groups.items():
            waiting: dict[int, np.ndarray] = {}
            for index, source in asked:
                try:
                    picture = read_image(source)
                except ImageError as error:
                    answers[index] = Answer(None, error=str(error))
                    continue
                if waiting and picture.nbytes + sum(other.nbytes for other in waiting.values()) > PART_BYTES:
                    answers.update(zip(waiting, self._generate(list(waiting.values()), prefix, max_tokens)))
                    waiting = {}
                waiting[index] = picture
            if waiting:
                answers.update(zip(waiting, self._generate(list(waiting.values()), prefix, max_tokens)))
        return [answers[index] for index in range(len(requests))]

    def _generate(self, pictures: list[np.ndarray], prefix: str, max_tokens: int) -> list[Answer]:
        import torch
        from PIL import Image

        processor, model = self._loaded
        images = [Image.fromarray(picture) for picture in pictures]
        words = {"text": [prefix] * len(images), "padding": True} if prefix else {}
        inputs = processor(images=images, return_tensors="pt", **words).to(self.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)
        with torch.inference_mode():
            output = model.generate(**inputs, max_new_tokens=max_tokens, num_beams=self.num_beams, do_sample=False)
        texts = processor.batch_decode(output, skip_special_tokens=True)
        return [_read(text, prefix, row, max_tokens) for text, row in zip(texts, output)]


def _read(text: str, prefix: str, row: Any, max_tokens: int) -> Answer:
    """The answer without the words it went on from, which some models repeat."""
    text = text.strip()
    plain = " ".join(text.lower().split())
    opening = " ".join(prefix.lower().split())
    if opening and plain.startswith(opening):
        text = " ".join(text.split())[len(opening) :].strip(" :")
    elif opening and plain.replace(" ", "").startswith(opening.replace(" ", "")):
        # Word-piece tokenizers put spaces around punctuation.
        left = len(opening.replace(" ", ""))
        for index, character in enumerate(text):
            left -= not character.isspace()
            if left == 0:
                text = text[index + 1 :].strip(" :")
                break
    return Answer(text, output_tokens=int(min(len(row), max_tokens)))
