"""`rivega.ChatEntailment.v1`: does the picture show the entity, asked of a vision-language model."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from thinc.api import Model
from thinc.types import Floats1d

from ...llm.base import Answer, ChatRequest, LanguageModel, image_ref
from ...llm.choices import odds_at
from ...llm.pictures import PictureAsker, answer_text, parse_json
from ...llm.prompting import Prompt, load_prompt
from ...llm.safety import InvalidAnswer
from ...llm.store import AnswerStore
from ...pipes.queries import ImageQueries
from ...post.errors import Errors, RivegaError
from ...post.images import image_for_storage
from ..backend import no_gradient

FIELDS = ("expression",)
YES, NO = ("yes", "true"), ("no", "false")
# An answer of one word, and where in an answer the word stands: there the probability of yes is read off the tokens.
_PLAIN = re.compile(r"(?i)\A[\s\"'*`]*(yes|no)[\s\"'*`.!]*\Z")
_STATED = re.compile(r"(?i)\"shown\"\s*:\s*\"?\s*(yes|no|true|false)\b")


def chat_entailment(
    *,
    client: LanguageModel,
    store: AnswerStore | None = None,
    prompt: str | None = None,
    max_tokens: int = 60,
    alternatives: int = 5,
) -> Model[list[ImageQueries], list[Floats1d]]:
    """`rivega.ChatEntailment.v1`.

    client (LanguageModel): Takes pictures: `rivega.OpenAIChat.v1` or `rivega.TransformersChat.v1` with a vision-language model.
    store (Optional[AnswerStore]): `rivega.AnswerStore.v1` keeps answers, so that nothing is asked twice.
    prompt (Optional[str]): The user's prompt file; None takes the package's.
    max_tokens (int): Longest answer.
    alternatives (int): So many likeliest tokens are asked for at every place of the answer (`top_logprobs`; OpenAI gives 20 at
        most). 0 reads words alone.
    RETURNS (Model[List[ImageQueries], List[Floats1d]]): For every expression the probability of yes against no where the answer
        says one of them, if the model gives its tokens' probabilities; else the probability that its answer states. It cannot be
        trained here.
    """
    if alternatives < 0:
        raise RivegaError(Errors.E209.format(option="alternatives", least=0, value=alternatives))
    asker = PictureAsker(client, store, read_answer)
    template = load_prompt("entailment", FIELDS, prompt)
    forward = partial(_forward, asker=asker, template=template, max_tokens=max_tokens, alternatives=alternatives)
    return Model("chat_entailment", forward)


def read_answer(answer: Answer) -> float:
    """The probability in an answer: of its tokens where they came with it, else the one that it states.

    RAISES (InvalidAnswer): If it is neither the JSON asked for nor a plain yes or no.
    """
    text = answer_text(answer)
    plain = _PLAIN.match(text)
    stated = read_judgement(plain.group(1) if plain else parse_json(text))
    word = plain or _STATED.search(text)
    told = odds_at(answer.choices, text, word.start(1), YES, NO) if word else None
    return stated if told is None else told


def read_judgement(value: Any) -> float:
    """The probability in {"shown": "yes" or "no", "probability": 0..1}; a plain "yes" or "no" is taken as certain.

    RAISES (InvalidAnswer): For anything else, and if both parts contradict each other.
    """
    if isinstance(value, str):
        value = {"shown": value}
    shown = value.get("shown") if isinstance(value, dict) else None
    if isinstance(shown, bool):
        shown = "yes" if shown else "no"
    word = shown.strip().lower() if isinstance(shown, str) else None
    if word not in ("yes", "no"):
        raise InvalidAnswer(f"`shown` is neither yes nor no: {str(value)[:80]}")
    probability = value.get("probability", 1.0 if word == "yes" else 0.0)
    if isinstance(probability, bool) or not isinstance(probability, (int, float)) or not 0 <= probability <= 1:
        raise InvalidAnswer(f"`probability` is not a number from 0 to 1: {str(value)[:80]}")
    if (word == "yes" and probability < 0.5) or (word == "no" and probability > 0.5):
        raise InvalidAnswer(f"`shown` and `probability` contradict each other: {str(value)[:80]}")
    return float(probability)


def _forward(
    model: Model,
    batch: list[ImageQueries],
    is_train: bool,
    *,
    asker: PictureAsker,
    template: Prompt,
    max_tokens: int,
    alternatives: int,
) -> tuple[list[Floats1d], Callable]:
    requests = []
    for queries in batch:
        if not queries.expressions:
            continue
        picture = image_ref(image_for_storage(np.asarray(queries.image)))
        for text in map(str, queries.expressions):
            messages = template.render({"expression": text}, image=picture)
            request = ChatRequest(messages, max_tokens, "entailment", template.version, entity=text, alternatives=alternatives)
            requests.append(request)
    answers = iter(asker.ask(requests))
    found = [model.ops.asarray1f([next(answers) for _ in queries.expressions]) for queries in batch]
    return found, no_gradient
