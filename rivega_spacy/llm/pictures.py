"""Questions about pictures to a vision-language model: asked together, kept, and read strictly."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from ..post.errors import Errors, RivegaError
from .asking import Asker, Result
from .base import Answer, ChatRequest, LanguageModel, prompt_key
from .store import AnswerStore
from .thoughts import InvalidAnswer, answer_of

# Answers of this many questions are kept in memory, so that a batch whose one question failed is not asked again for the others.
KEPT = 4096
REMINDER = "Reply with the JSON alone: no other words, no markup."


class PictureAsker:
    """Asks a model about pictures and reads its answers.

    client (LanguageModel): Who is asked; it must take pictures.
    store (Optional[AnswerStore]): Where answers are kept between runs.
    read (Callable[[Answer], Any]): From an answer to what is meant, as JSON values; raises InvalidAnswer.
    """

    def __init__(self, client: LanguageModel, store: AnswerStore | None, read: Callable[[Answer], Any]) -> None:
        self.asker = Asker(client, store, REMINDER)
        self.read = read
        self._kept: dict[str, Result] = {}

    def ask(self, requests: Sequence[ChatRequest]) -> list[Any]:
        """requests (Sequence[ChatRequest]): The questions. RETURNS (List[Any]): What `read` made of each answer.

        RAISES (RivegaError): E741 if a question has no usable answer, after all were asked.
        """
        keys = [prompt_key(request) for request in requests]
        missing = [request for request, key in zip(requests, keys) if key not in self._kept]
        failures = []
        if missing:
            for request, result in zip(missing, self.asker.start(missing, self._validate).results()):
                if result is None or not (result.text is not None or result.unusable):
                    failures.append("no answer" if result is None else result.reason)
                else:
                    # What could not be used was paid for as well, and would be no better next time.
                    self._kept[prompt_key(request)] = result
        found = [self._kept[key] for key in keys if key in self._kept]
        while len(self._kept) > KEPT:
            self._kept.pop(next(iter(self._kept)))
        failures += [result.reason for result in found if result.text is None]
        if failures:
            raise RivegaError(Errors.E741.format(model=self.asker.model.name, count=len(failures), reason=failures[0].rstrip(".")))
        return [json.loads(result.text or "") for result in found]

    def _validate(self, answer: Answer) -> str:
        return json.dumps(self.read(answer))


def strict_json(answer: Answer) -> Any:
    """The answer as JSON: all of it, but for thoughts before it and a code fence around it.

    RAISES (InvalidAnswer): For anything else, and for an answer cut by the limit.
    """
    return parse_json(answer_text(answer))


def answer_text(answer: Answer) -> str:
    """What was answered, without thoughts and what is wrapped around it.

    RAISES (InvalidAnswer): If there is thought alone, and if the limit cut it.
    """
    cut = answer.finish == "length"
    text = answer_of(answer.text or "", cut=cut, boxed=True)
    if cut:
        raise InvalidAnswer(Errors.E767.format(answer=text[:80]))
    return text


def parse_json(text: str) -> Any:
    """RAISES (InvalidAnswer): If the text is no JSON."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidAnswer(Errors.E739.format(reason=error, answer=text[:80])) from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
