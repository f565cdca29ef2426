"""What failed, and who hears of it: a post's trouble goes to spaCy's error handler, a pipeline's trouble is raised at once."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from spacy.tokens import Doc

from .errors import Errors, RivegaError, SetupError
from .extensions import post_name, record_error
from .text import printable

logger = logging.getLogger(__name__)
# On posts that an error handler of the user's has been given.
_HANDED_OVER = "rivega_handed_over"


def note_failure(name: str, proc: Any, docs: list[Doc], error: Exception) -> None:
    """The default error handler of the components, in the shape of `nlp.set_error_handler`: a note on each post, the traceback in the log.

    name (str): Name of the component that failed.
    proc (Any): The component.
    docs (List[Doc]): The posts it failed on.
    error (Exception): What it raised.
    RAISES (SetupError): If it is one: that the pipeline cannot work at all is no post's fault.
    """
    if isinstance(error, SetupError):
        raise error
    message = getattr(proc, "failure_message", Errors.E017)
    for doc in docs:
        text = message.format(post=post_name(doc), component=name, reason=f"{type(error).__name__}: {error}")
        record_error(doc, name, text)
        logger.warning(printable(text), exc_info=error)


class Failing:
    """Mixin of components: `fail` hands what was raised to the error handler, `left` says which posts are still to be yielded."""

    name: str
    failure_message: str = Errors.E017

    def get_error_handler(self) -> Any:
        """The handler that `nlp.set_error_handler` set, else `note_failure`."""
        return getattr(self, "error_handler", note_failure)

    def fail(self, docs: Sequence[Doc], error: Exception) -> None:
        """Hand an exception to the error handler. RAISES (SetupError): If it is one; and what the handler raises."""
        if isinstance(error, SetupError):
            raise error
        handler = self.get_error_handler()
        handler(self.name, self, list(docs), error)
        if handler is not note_failure:
            for doc in docs:
                doc.user_data[_HANDED_OVER] = True

    def left(self, docs: Sequence[Doc]) -> list[Doc]:
        """Without the posts that a handler of the user's was given: as everywhere in spaCy, the stream goes on without them."""
        return [doc for doc in docs if not doc.user_data.pop(_HANDED_OVER, False)]


@contextlib.contextmanager
def setting_up(what: str) -> Iterator[None]:
    """Whatever goes wrong within is the pipeline's trouble: weights, extras, devices, the model hub.

    what (str): What is being set up, for errors that do not say it.
    RAISES (SetupError): In place of any exception, with the message of errors of this package.
    """
    try:
        yield
    except SetupError:
        raise
    except RivegaError as error:
        raise SetupError(str(error)) from error
    except Exception as error:  # libraries and devices raise anything
        raise SetupError(Errors.E089.format(what=what, reason=f"{type(error).__name__}: {error}")) from error


__all__ = ["Failing", "note_failure", "setting_up"]
