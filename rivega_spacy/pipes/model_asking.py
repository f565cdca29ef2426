"""What captioner and knowledge have in common: prompts that travel with the pipeline, and notes on what failed."""

from collections.abc import Iterable
from typing import Any

import srsly
from spacy.tokens import Doc
from spacy.util import ensure_path

from ..llm.asking import Asker, Result
from ..llm.prompting import Prompt, read_prompt
from ..post.errors import Errors, RivegaError
from ..post.extensions import ID_KEY, post_name, record_error
from .in_flight import InFlightPipe
from .settings import Configured

# Where the names of the user's prompt files are kept beside the saved prompts.
_FILES = "prompt_files"


class AskingPipe(Configured, InFlightPipe):
    """Base of `rivega_captioner` and `rivega_knowledge`.

    A subclass has what InFlightPipe wants, and `prompts`.

    prompt_files (Dict[str, Optional[str]]): The files that the config names in place of the package's prompts.
    """

    prompts: dict[str, Prompt]
    prompt_files: dict[str, str | None]

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        self.tell_unsaved_settings()
        return srsly.msgpack_dumps({**{name: prompt.source for name, prompt in self.prompts.items()}, _FILES: self.prompt_files})

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> "AskingPipe":
        try:
            sources = dict(srsly.msgpack_loads(data))
        except (ValueError, TypeError, RecursionError) as error:
            raise RivegaError(Errors.E021.format(name=self.name, reason=error)) from error
        files = sources.pop(_FILES, None)
        self._set_prompts(sources, files)
        return self

    def to_disk(self, path: Any, *, exclude: Iterable[str] = ()) -> None:
        """The prompts go with the pipeline, so that a packaged one asks what the trained one asked."""
        self.tell_unsaved_settings()
        folder = ensure_path(path)
        folder.mkdir(parents=True, exist_ok=True)
        srsly.write_json(folder / f"{_FILES}.json", self.prompt_files)
        for name, prompt in self.prompts.items():
            (folder / f"{name}.txt").write_text(prompt.source, encoding="utf8")

    def from_disk(self, path: Any, *, exclude: Iterable[str] = ()) -> "AskingPipe":
        folder = ensure_path(path)
        files = folder / f"{_FILES}.json"
        found = {name: folder / f"{name}.txt" for name in self.prompts}
        sources = {name: read_prompt(file) for name, file in found.items() if file.is_file()}
        self._set_prompts(sources, srsly.read_json(files) if files.is_file() else None)
        return self

    def _set_prompts(self, sources: dict[str, str], files: dict[str, str | None] | None) -> None:
        """Take the saved prompts, but where the config names another file than it did when they were saved."""
        if not (files is None or isinstance(files, dict)) or not all(
            name in self.prompts and isinstance(source, str) for name, source in sources.items()
        ):
            raise RivegaError(Errors.E021.format(name=self.name, reason="its prompts are none"))
        for name, source in sources.items():
            former = self.prompts[name]
            if files is None or files.get(name) == self.prompt_files[name]:
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
    """The post's id, "" if it has none."""
    value = doc.user_data.get(ID_KEY)
    return "" if value is None else str(value)
