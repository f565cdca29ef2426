"""How a command ends: its exit status, and one line on stderr where something stopped it."""

import os
import sys
from collections.abc import Callable

from ..post.errors import OutputError, RivegaError
from .saying import warn

DONE, REFUSED, WRONG_CALL, NOT_WRITTEN, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 3, 130, 141
MEANINGS = {
    DONE: "done",
    REFUSED: "done, but something was refused, failed or differs; it is named",
    WRONG_CALL: "wrong usage: an argument, a file or a pipeline that cannot be used",
    NOT_WRITTEN: "the results cannot be written",
    INTERRUPTED: "interrupted",
    BROKEN_PIPE: "the program that read the output has ended",
}


def ended_well(command: str, call: Callable[[], int | None]) -> int:
    """Call, and turn whatever stops it into a line on stderr and an exit status.

    command (str): What the line begins with, "rivega annotate".
    call (Callable[[], Optional[int]]): Returns its own exit status; None is DONE.
    RETURNS (int): One of MEANINGS.
    """
    try:
        status = call()
        sys.stdout.flush()
        return status or DONE
    except BrokenPipeError:
        _leave_stdout()
        return _stop(command, "the program that read the output has ended", BROKEN_PIPE)
    except KeyboardInterrupt:
        return _stop(command, "interrupted", INTERRUPTED)
    except OutputError as error:
        return _stop(command, str(error), NOT_WRITTEN)
    except RivegaError as error:
        return _stop(command, str(error), WRONG_CALL)
    except OSError as error:
        if error.filename is None:  # what is open already: a full disk, most often
            _leave_stdout()
            return _stop(command, f"{type(error).__name__}: {error.strerror or error}", NOT_WRITTEN)
        return _stop(command, f"{error.filename}: {error.strerror or error}", WRONG_CALL)


def _stop(command: str, reason: str, status: int) -> int:
    line = " ".join(reason.split())
    warn(f"{command}: {line}\n")
    return status


def _leave_stdout() -> None:
    """What is still to be written to a closed or full output must not fail once more when Python ends."""
    try:
        sys.stdout.flush()
        return
    except (OSError, ValueError):
        pass
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        pass
