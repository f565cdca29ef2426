"""What captioner and knowledge have in common: prompts that travel with the pipeline, and notes on what failed."""
from typing import Any, Dict, Iterable

import srsly
from spacy.tokens import Doc
from spacy.util import ensure_path

from ..errors import Errors
from ..extensions import ID_KEY, post_name, record_error
from ..in_flight import InFlightPipe
from ..textfiles import read_text
from .asking import Asker, Result
from .prompting import Prompt


class AskingPipe(InFlightPipe):
    """Base of `rivega_captioner` and `rivega_knowledge`.

    A subclass has what InFlightPipe wants, and `prompts`.
    """

    prompts: Dict[str, Prompt]

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        return srsly.msgpack_dumps({name: prompt.source for name, prompt in self.prompts.items()})

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> "AskingPipe":
        for name, source in srsly.msgpack_loads(data).items():
            self._set_prompt(name, source)
        return self

    def to_disk(self, path: Any, *, exclude: Iterable[str] = ()) -> None:
        """The prompts go with the pipeline, so that a packaged one asks what the trained one asked."""
        folder = ensure_path(path)
        folder.mkdir(parents=True, exist_ok=True)
        for name, prompt in self.prompts.items():
            (folder / f"{name}.txt").write_text(prompt.source, encoding="utf8")

    def from_disk(self, path: Any, *, exclude: Iterable[str] = ()) -> "AskingPipe":
        folder = ensure_path(path)
        for name in self.prompts:
            file = folder / f"{name}.txt"
            if file.is_file():
                self._set_prompt(name, read_text(file))
        return self

    def _set_prompt(self, name: str, source: str) -> None:
        former = self.prompts[name]
        self.prompts[name] = Prompt(name, source, former.fields, path=former.path)


def note_failure(doc: Doc, component: str, asker: Asker, what: str, result: Result) -> None:
    """Say on the post that there is no answer, and why.

    doc (Doc): The post.
    component (str): Who asked.
    asker (Asker): Whom.
    what (str): For example "caption".
    result (Result): Without text.
    """
    message = Errors.E401 if result.unusable else Errors.E400
    values = {"post": post_name(doc), "model": asker.model.name, "what": what, "reason": result.reason}
    record_error(doc, component, message.format(**values))


def doc_id(doc: Doc) -> str:
    """The post's id, "" where it has none."""
    value = doc.user_data.get(ID_KEY)
    return "" if value is None else str(value)
