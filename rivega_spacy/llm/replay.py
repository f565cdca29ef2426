"""`rivega.Replay.v1`: answers that were recorded earlier, from an answer store or from JSON lines."""

from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from ..post.errors import Errors, RivegaError
from ..post.jsonl import read_lines
from .base import Answer, ChatRequest, finished, kept_answer, prompt_key
from .choices import Choices, load_choices
from .store import AnswerStore

# Prompt -> the fields of a post that hold its recorded answer, the first one that is there.
POST_FIELDS = {
    "knowledge": ("knowledge",),
    "caption": ("caption", "caption_blip2"),
    "description": ("description", "description_owl"),
}
_SQLITE = b"SQLite format 3\x00"


def make_replay(path: str, name: str = "replay", source: str | None = None) -> "Replay":
    """`rivega.Replay.v1`.

    path (str): An answer store, or JSON lines (gzipped where the name ends in .gz): what `rivega store export` wrote; or posts with
        `id` and `knowledge`, `caption`, `description`; or entities with `id`, `text` and `expansion`.
    name (str): What this source is called in enriched files.
    source (Optional[str]): Where the recording holds several models' answers, the one to take; None takes any.
    """
    return Replay(path, name=name, source=source)


class Replay:
    """Answers by question, or by post. Of posts in JSON lines all answers are held in memory; a store stays on disk."""

    recorded = True

    def __init__(self, path: str, *, name: str = "replay", source: str | None = None) -> None:
        self.path = str(path)
        self.name = name
        self.source = source
        if not Path(path).is_file():
            raise RivegaError(Errors.E020.format(path=path))
        with open(path, "rb") as file:
            is_store = file.read(len(_SQLITE)) == _SQLITE
        self.store = AnswerStore(path) if is_store else None
        self._lines: _Lines | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lines": None}

    def identity(self) -> dict[str, Any]:
        """Only for people: recorded answers are not stored again."""
        return {"client": "replay", "name": self.name}

    def submit(self, requests: Sequence[ChatRequest]) -> list["Future[Answer]"]:
        """The recorded answers; if there is none, an Answer that says so."""
        questions = [prompt_key(request) for request in requests]
        missing = Answer(None, error=Errors.E414)
        if self.store is not None:
            found = self.store.find(questions, self.source)
            return [finished(found.get(question, missing)) for question in questions]
        if self._lines is None:
            self._lines = _Lines(self.path, self.source)
        return [finished(self._lines.find(question, request) or missing) for question, request in zip(questions, requests)]

    def close(self) -> None:
        """Close the store."""
        if self.store is not None:
            self.store.close()


class _Lines:
    """Recorded answers of a JSON lines file."""

    def __init__(self, path: str, source: str | None) -> None:
        self.by_question: dict[str, tuple[str, str]] = {}
        self.choices: dict[str, Choices] = {}
        self.by_post: dict[tuple[str, str, str], str] = {}
        for _, row in read_lines(path):
            if isinstance(row, str):
                continue
            if isinstance(row.get("question"), str) and isinstance(row.get("text"), str):
                if source is None or row.get("model") == source:
                    finish = row.get("finish")
                    self.by_question[row["question"]] = row["text"], finish if isinstance(finish, str) else "stop"
                    if isinstance(row.get("choices"), str) and row["choices"]:
                        self.choices[row["question"]] = load_choices(row["choices"])
            elif row.get("id") is not None:
                self._add_post(str(row["id"]), row, source)

    def find(self, question: str, request: ChatRequest) -> Answer | None:
        """The answer to a question, or to its prompt about that post."""
        if question in self.by_question:
            return kept_answer(*self.by_question[question], cached=True, choices=self.choices.get(question, ()))
        text = self.by_post.get((request.post, request.prompt, request.entity)) if request.post else None
        return None if text is None else Answer(text, cached=True)

    def _add_post(self, post: str, row: dict[str, Any], source: str | None) -> None:
        named = row.get("knowledge_by_model")
        if source is not None and isinstance(named, dict):
            if isinstance(named.get(source), str):
                self.by_post[post, "knowledge", ""] = named[source]
        else:
            for prompt, fields in POST_FIELDS.items():
                text = next((row[field] for field in fields if isinstance(row.get(field), str) and row[field]), None)
                if text is not None:
                    self.by_post.setdefault((post, prompt, ""), text)
        if isinstance(row.get("expansion"), str) and isinstance(row.get("text"), str):
            self.by_post.setdefault((post, "expansion", row["text"]), row["expansion"])
