"""A language model of the tests."""

from collections.abc import Callable
from typing import Any

from rivega_spacy.llm.base import Answer, finished


class Client:
    """Answers every request, and keeps the requests.

    answer (Union[str, Callable[[Request], str]]): The same answer to all, or what makes one of a request.
    """

    name, recorded = "test", False

    def __init__(self, answer: str | Callable[[Any], str]) -> None:
        self.answer = answer
        self.requests: list[Any] = []

    def identity(self) -> dict[str, str]:
        return {"client": "test"}

    def submit(self, requests: list[Any]) -> list[Any]:
        self.requests += requests
        return [finished(Answer(self.answer(one) if callable(self.answer) else self.answer)) for one in requests]

    def close(self) -> None:
        pass
