"""Questions about pictures to a vision-language model: asked together, kept, and read strictly."""
import json
import re
from typing import Any, Callable, Dict, List, Optional, Sequence

from ..errors import Errors, RivegaError
from .asking import Asker
from .base import Answer, ChatRequest, LanguageModel, prompt_key
from .safety import InvalidAnswer
from .store import AnswerStore

# Answers of this many questions are kept in memory, so that a batch whose one question failed is not asked again for the others.
KEPT = 4096
_FENCED = re.compile(r"(?s)\A\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*\Z")
REMINDER = "Reply with the JSON alone: no other words, no markup."


class PictureAsker:
    """Asks a model about pictures and reads its answers.

    client (LanguageModel): Who is asked; it must take pictures.
    store (Optional[AnswerStore]): Where answers are kept between runs.
    read (Callable[[Answer], Any]): From an answer to what is meant, as JSON values; raises InvalidAnswer.
    """

    def __init__(self, client: LanguageModel, store: Optional[AnswerStore], read: Callable[[Answer], Any]) -> None:
        self.asker = Asker(client, store, REMINDER)
        self.read = read
        self._kept: Dict[str, str] = {}

    def ask(self, requests: Sequence[ChatRequest]) -> List[Any]:
        """requests (Sequence[ChatRequest]): The questions. RETURNS (List[Any]): What `read` made of each answer.

        RAISES (RivegaError): E741 where a question has no usable answer, after all were asked.
        """
        keys = [prompt_key(request) for request in requests]
        missing = [request for request, key in zip(requests, keys) if key not in self._kept]
        failures = []
        if missing:
            for request, result in zip(missing, self.asker.start(missing, self._validate).results()):
                if result is None or result.text is None:
                    failures.append("no answer" if result is None else result.reason)
                else:
                    self._kept[prompt_key(request)] = result.text
        if failures:
            raise RivegaError(Errors.E741.format(model=self.asker.model.name, count=len(failures), reason=failures[0].rstrip(".")))
        found = [json.loads(self._kept[key]) for key in keys]
        while len(self._kept) > KEPT:
            self._kept.pop(next(iter(self._kept)))
        return found

    def _validate(self, answer: Answer) -> str:
        return json.dumps(self.read(answer))


def strict_json(answer: Answer) -> Any:
    """The answer as JSON: all of it, but for a code fence around it.

    RAISES (InvalidAnswer): For anything else, and for an answer cut by the limit.
    """
    text = answer.text or ""
    if answer.finish == "length":
        raise InvalidAnswer(f"cut by the limit: {text[:80]!r}")
    fenced = _FENCED.match(text)
    try:
        return json.loads(fenced.group(1) if fenced else text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidAnswer(Errors.E739.format(reason=error, answer=text[:80])) from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
