"""`rivega.TransformersChat.v1`: a chat model, or a vision-language model, from a local folder."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..post.errors import Errors, RivegaError
from ..post.images import read_thumbnail
from .base import Answer, ChatRequest, Message
from .choices import Choices, TokenChoice
from .local import LocalModel, load_class
from .thoughts import is_mark, open_mark


def make_transformers_chat(
    path: str,
    name: str | None = None,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    batch_size: int = 8,
    device: str = "cpu",
    dtype: str = "auto",
    max_image_side: int = 1024,
) -> "TransformersChat":
    """`rivega.TransformersChat.v1`.

    path (str): Folder with config.json, tokenizer, a chat template and safetensors weights; nothing is downloaded.
    name (Optional[str]): What this source is called in the store and in enriched files; None takes the folder's name.
    temperature (float): 0 takes the likeliest word each time.
    top_p (float), seed (int): Sampling, where the temperature is above 0; the seed is set for each batch.
    batch_size (int): Prompts answered together.
    device (str), dtype (str): Where the weights live, and as what: "auto", "float32", "bfloat16", "float16".
    max_image_side (int): Pictures are scaled down to it.
    RAISES (RivegaError): E849 for `top_p` or `seed` where nothing is sampled.
    """
    for option, value, default in (("top_p", top_p, 1.0), ("seed", seed, 0)):
        if not temperature and value != default:
            raise RivegaError(Errors.E849.format(option=option, where="at a temperature of 0", remedy="set `temperature`"))
    settings = {"temperature": temperature, "top_p": top_p, "seed": seed}
    return TransformersChat(
        path, name=name, settings=settings, batch_size=batch_size, device=device, dtype=dtype, max_image_side=max_image_side
    )


class TransformersChat(LocalModel):
    """Local weights behind a chat template, answering in batches on one thread."""

    def __init__(
        self,
        path: str,
        *,
        name: str | None = None,
        settings: dict[str, Any] | None = None,
        batch_size: int = 8,
        device: str = "cpu",
        dtype: str = "auto",
        max_image_side: int = 1024,
    ) -> None:
        super().__init__(path, name=name, batch_size=batch_size, device=device, dtype=dtype)
        self.settings = {"temperature": 0.0, "top_p": 1.0, "seed": 0, **(settings or {})}
        self.max_image_side = max_image_side

    def identity(self) -> dict[str, Any]:
        """What shapes the answers: the weights' hash, sampling, size of pictures."""
        return {
            "client": "transformers-chat",
            "name": self.name,
            "weights": self.weights,
            "settings": self.settings,
            "dtype": self.dtype,
            "max_image_side": self.max_image_side,
        }

    def _load(self) -> "_Loaded":
        return _Loaded(self)

    def _answer(self, requests: list[ChatRequest]) -> list[Answer]:
        import torch

        loaded: _Loaded = self._loaded
        with_images = any(message.images for request in requests for message in request.messages)
        if with_images and loaded.processor is None:
            return [Answer(None, error=Errors.E418.format(model=self.name, what=request.prompt)) for request in requests]
        texts = self._prompts(loaded, requests)
        inputs = self._inputs(loaded, requests, texts).to(self.device)
        # Some tokenizers make them for networks that know none.
        inputs.pop("token_type_ids", None)
        options: dict[str, Any] = {"max_new_tokens": max(request.max_tokens for request in requests)}
        if self.settings["temperature"] > 0:
            torch.manual_seed(self.settings["seed"])
            options.update(do_sample=True, temperature=self.settings["temperature"], top_p=self.settings["top_p"])
        else:
            # The folder's generation config may name sampling values, which would only cause warnings here.
            options.update(do_sample=False, temperature=None, top_p=None, top_k=None)
        wanted = max(request.alternatives for request in requests)
        with torch.inference_mode():
            output = loaded.model.generate(
                **inputs, **options, pad_token_id=loaded.pad, return_dict_in_generate=True, output_logits=wanted > 0
            )
        start = inputs["input_ids"].shape[1]
        prompt_tokens = inputs["attention_mask"].sum(dim=1).tolist()
        answers = []
        for number, (request, row, count) in enumerate(zip(requests, output.sequences, prompt_tokens)):
            answer = loaded.read(row[start : start + request.max_tokens].tolist(), int(count), open_mark(texts[number]))
            if request.alternatives:
                steps = [step[number] for step in output.logits[: request.max_tokens]]
                answer = replace(answer, choices=loaded.choices(row[start:].tolist(), steps, request.alternatives))
            answers.append(answer)
        return answers

    def _prompts(self, loaded: "_Loaded", requests: list[ChatRequest]) -> list[str]:
        if loaded.processor is None:
            chats: list[Any] = [[{"role": m.role, "content": loaded.defuse(m.text)} for m in r.messages] for r in requests]
            template = loaded.tokenizer.apply_chat_template
        else:
            chats = [[_with_pictures(m, loaded.defuse(m.text)) for m in r.messages] for r in requests]
            template = loaded.processor.apply_chat_template
        return [template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]

    def _inputs(self, loaded: "_Loaded", requests: list[ChatRequest], texts: list[str] | None = None) -> Any:
        texts = self._prompts(loaded, requests) if texts is None else texts
        # The template writes the special tokens itself.
        if loaded.processor is None:
            return loaded.tokenizer(texts, padding=True, add_special_tokens=False, return_tensors="pt")
        pictures = [[read_thumbnail(image.source, self.max_image_side) for m in r.messages for image in m.images] for r in requests]
        images = pictures if any(pictures) else None
        if images is not None and not all(pictures):
            raise ValueError("prompts with and without pictures cannot share a batch")
        return loaded.processor(text=texts, images=images, padding=True, add_special_tokens=False, return_tensors="pt")


class _Loaded:
    """Weights and tokenizer of one folder."""

    def __init__(self, chat: TransformersChat) -> None:
        config = load_class("AutoConfig", chat.path)
        if hasattr(config, "vision_config"):
            self.processor = load_class("AutoProcessor", chat.path)
            self.tokenizer = self.processor.tokenizer
            kind = "AutoModelForImageTextToText"
            template = getattr(self.processor, "chat_template", None)
        else:
            self.processor = None
            self.tokenizer = load_class("AutoTokenizer", chat.path)
            kind = "AutoModelForCausalLM"
            template = self.tokenizer.chat_template
        if not template:
            raise RivegaError(Errors.E417.format(path=chat.path, reason="it has no chat template; choose a chat (instruct) model"))
        self.model = load_class(kind, chat.path, torch_dtype=chat.dtype).to(chat.device).eval()
        # Prompts end on the right, where the answers begin.
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.pad = self.tokenizer.pad_token_id
        ends = self.model.generation_config.eos_token_id
        self.ends = set(ends if isinstance(ends, list) else [ends]) | {self.tokenizer.eos_token_id}
        special = {str(token) for token in self.tokenizer.added_tokens_decoder.values()} | set(self.tokenizer.all_special_tokens)
        # Marks of thought are special tokens of some (Magistral, gpt-oss): skipped, thought and answer would run together.
        added = {number: str(token) for number, token in self.tokenizer.added_tokens_decoder.items() if token.special}
        known = {**added, **dict(zip(self.tokenizer.all_special_ids, self.tokenizer.all_special_tokens))}
        self.skipped = {number for number, token in known.items() if not is_mark(token)}
        words = sorted((re.escape(token) for token in special if len(token) > 1), key=len, reverse=True)
        self.special = re.compile("|".join(words)) if words else None

    def defuse(self, text: str) -> str:
        """Text in which no special token of this tokenizer is left: only the template may write those."""
        return text if self.special is None else self.special.sub(lambda match: match[0][0] + " " + match[0][1:], text)

    def choices(self, tokens: list[int], logits: Sequence[Any], count: int) -> Choices:
        """The tokens of an answer with their alternatives.

        tokens (List[int]): As generated. logits (Sequence[Tensor]): Of each, vocabulary, before sampling. count (int): Alternatives.
        """
        found = []
        for place, (token, row) in enumerate(zip(tokens, logits)):
            if token in self.ends:
                break
            shares = row.float().log_softmax(-1)
            likely = dict.fromkeys([*shares.topk(min(count, len(shares))).indices.tolist(), token])
            before = self._words(tokens[:place])
            # A token is what it adds to the words before it: alone, many lose the space that they begin with.
            words = {other: self._words([*tokens[:place], other])[len(before) :] for other in likely}
            options: dict[str, float] = {}
            for other in likely:
                options.setdefault(words[other], round(float(shares[other]), 6))
            found.append(TokenChoice(words[token], options))
        return tuple(found)

    def _words(self, tokens: list[int]) -> str:
        return self.tokenizer.decode([token for token in tokens if token not in self.skipped], skip_special_tokens=False)

    def read(self, tokens: list[int], prompt_tokens: int, opened: str = "") -> Answer:
        """The words of an answer, up to its end, behind the mark of thought that its prompt `opened`."""
        end = next((index for index, token in enumerate(tokens) if token in self.ends), None)
        kept = tokens if end is None else tokens[:end]
        if end is None:
            while kept and kept[-1] == self.pad:
                kept = kept[:-1]
        text = opened + self._words(kept)
        finish = "length" if end is None else "stop"
        return Answer(text, finish=finish, input_tokens=prompt_tokens, output_tokens=len(kept) + (end is not None))


def _with_pictures(message: Message, text: str) -> dict[str, Any]:
    parts: list[dict[str, str]] = [{"type": "image"} for _ in message.images]
    return {"role": message.role, "content": [*parts, {"type": "text", "text": text}]}
