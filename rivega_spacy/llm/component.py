"""What the components that ask a language model have in common: two batches under way, nothing that stops the stream."""
from collections import deque
from typing import Any, Callable, Deque, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

import srsly
from spacy.pipeline import Pipe
from spacy.tokens import Doc
from spacy.util import ensure_path, minibatch

from ..errors import Errors
from ..extensions import ID_KEY, post_name, record_error, record_failure
from .asking import Asker, Result
from .prompting import Prompt


class AskingPipe(Pipe):
    """Base of `rivega_captioner` and `rivega_knowledge`.

    A subclass has `start(docs)`, which begins to ask and returns what waits, `set_annotations(docs, answers)`, and `prompts`.
    """

    name: str
    prompts: Dict[str, Prompt]

    def start(self, docs: Sequence[Doc]) -> Callable[[], Any]:
        """Begin to ask about these posts; calling what it returns waits for the answers."""
        raise NotImplementedError

    def set_annotations(self, docs: Sequence[Doc], answers: Any) -> None:
        """Write the answers on the posts."""
        raise NotImplementedError

    def __call__(self, doc: Doc) -> Doc:
        self.annotate([doc])
        return doc

    def annotate(self, docs: Sequence[Doc]) -> None:
        """Ask about a batch, wait, and write the answers on the posts."""
        self.finish(docs, self.begin(docs))

    def predict(self, docs: Sequence[Doc]) -> Any:
        """The answers for these posts; the posts stay as they are."""
        return self.start(docs)()

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Ask about a stream. While one batch is waited for, the next one is already being asked.

        stream (Iterable[Doc]): The posts.
        batch_size (int): Posts a batch; best several times the model's concurrency.
        YIELDS (Doc): The same posts in the same order.
        """
        waiting: Deque[Tuple[List[Doc], Optional[Callable[[], Any]]]] = deque()
        for docs in minibatch(stream, size=batch_size):
            waiting.append((docs, self.begin(docs)))
            if len(waiting) > 1:
                docs, wait = waiting.popleft()
                self.finish(docs, wait)
                yield from docs
        while waiting:
            docs, wait = waiting.popleft()
            self.finish(docs, wait)
            yield from docs

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
                self._set_prompt(name, file.read_text(encoding="utf8"))
        return self

    def _set_prompt(self, name: str, source: str) -> None:
        former = self.prompts[name]
        self.prompts[name] = Prompt(name, source, former.fields, path=former.path)

    def begin(self, docs: Sequence[Doc]) -> Optional[Callable[[], Any]]:
        """`start`, with what goes wrong noted on the posts."""
        try:
            return self.start(docs)
        except Exception as error:  # whatever a model or a store raises is noted on the posts, and the stream goes on
            record_failure(self.name, list(docs), error)
            return None

    def finish(self, docs: Sequence[Doc], wait: Optional[Callable[[], Any]]) -> None:
        """Wait for what `begin` returned and write it on the posts."""
        if wait is None:
            return
        try:
            self.set_annotations(docs, wait())
        except Exception as error:
            record_failure(self.name, list(docs), error)


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
