"""What the components that may ask a language model share: two batches under way, and nothing that stops the stream."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from spacy.pipeline import Pipe
from spacy.tokens import Doc
from spacy.util import minibatch

from ..post.errors import ImageError, RivegaError, SetupError
from ..post.failures import Failing


class InFlightPipe(Failing, Pipe):
    """A component that begins to work on a batch, and waits for it while the next one is already under way.

    A subclass has `start(docs)`, which begins and returns what waits, and `set_annotations(docs, results)`.
    """

    name: str

    def start(self, docs: Sequence[Doc]) -> Callable[[], Any]:
        """Begin with these posts; calling what it returns waits for the results."""
        raise NotImplementedError

    def set_annotations(self, docs: Sequence[Doc], results: Any) -> None:
        """Write the results on the posts."""
        raise NotImplementedError

    def __call__(self, doc: Doc) -> Doc:
        self.annotate([doc])
        self.left([doc])
        return doc

    def annotate(self, docs: Sequence[Doc]) -> None:
        """Begin with a batch, wait, and write the results on the posts."""
        self.finish(docs, self.begin(docs))

    def predict(self, docs: Sequence[Doc]) -> Any:
        """The results for these posts; the posts stay as they are."""
        return self.start(docs)()

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Process a stream. While one batch is waited for, the next one is already under way.

        stream (Iterable[Doc]): The posts.
        batch_size (int): Posts a batch; for language models best several times the model's concurrency.
        YIELDS (Doc): The same posts in the same order.
        """
        waiting: deque[tuple[list[Doc], Callable[[], Any] | None]] = deque()
        for docs in minibatch(stream, size=batch_size):
            waiting.append((docs, self.begin(docs)))
            if len(waiting) > 1:
                docs, wait = waiting.popleft()
                self.finish(docs, wait)
                yield from self.left(docs)
        while waiting:
            docs, wait = waiting.popleft()
            self.finish(docs, wait)
            yield from self.left(docs)

    def begin(self, docs: Sequence[Doc]) -> Callable[[], Any] | None:
        """`start`; where that goes wrong, `finish` looks for the post at fault. RAISES (SetupError): If the component cannot work at all."""
        try:
            return self.start(docs)
        except SetupError:
            raise
        except Exception as error:  # whatever a model or a store raises stays with its posts, and the stream goes on
            failure = error
        if self._shared(docs, failure):
            self.fail(docs, failure)
            return None

        def again() -> Any:
            raise failure

        return again

    def finish(self, docs: Sequence[Doc], wait: Callable[[], Any] | None) -> None:
        """Wait for what `begin` returned and write it on the posts."""
        if wait is None:
            return
        try:
            self.set_annotations(docs, wait())
        except SetupError:
            raise
        except Exception as error:
            if self._shared(docs, error):
                self.fail(docs, error)
                return
            for doc in docs:
                self.annotate([doc])

    @staticmethod
    def _shared(docs: Sequence[Doc], error: Exception) -> bool:
        """Whether an exception concerns all of these posts alike: they need not be tried one by one. Of our own errors only those about
        pictures concern one post; others are about a store, a collection, a disk, for which each post would wait anew."""
        return len(docs) == 1 or (isinstance(error, RivegaError) and not isinstance(error, ImageError))
