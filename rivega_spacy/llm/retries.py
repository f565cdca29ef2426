"""Which failures are worth another try, and how long to wait before it."""

import email.utils
import random
import time
from collections.abc import Mapping

# No question waits longer than this for a server that asks for pauses: it fails with the reason, and the next run asks again.
LONGEST_PAUSE = 600.0
_TRY_AGAIN = {408, 409, 425, 429}


class CallFailed(Exception):
    """One try failed.

    reason (str): Why, without keys.
    again (bool): Whether another try may help.
    pause (Optional[float]): Seconds that the server asked to wait.
    refused (bool): The server will not serve this key: asking anything more is useless.
    usage (Optional[Tuple[int, int]]): Tokens of prompt and answer that the server counted all the same.
    """

    def __init__(
        self,
        reason: str,
        *,
        again: bool,
        pause: float | None = None,
        refused: bool = False,
        usage: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again
        self.pause = pause
        self.refused = refused
        self.usage = usage


def worth_another_try(status: int, code: str | None) -> bool:
    """Whether a status may pass.

    status (int): Of HTTP.
    code (Optional[str]): The server's own name for the error; an empty account does not fill while one waits.
    """
    if code == "insufficient_quota":
        return False
    return status in _TRY_AGAIN or status >= 500


def retry_after(headers: Mapping[str, str], *, now: float | None = None) -> float | None:
    """The pause that a server asks for.

    headers (Mapping[str, str]): Of the response: `retry-after-ms`, or `Retry-After` in seconds or as an HTTP date.
    now (Optional[float]): Seconds since the epoch; None takes the clock.
    RETURNS (Optional[float]): Seconds, from 0 up; None if none is asked for or it cannot be read.
    """
    for name, divisor in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) / divisor
        except ValueError:
            continue
        if seconds == seconds and seconds >= 0:
            return seconds
    parsed = email.utils.parsedate_tz(headers.get("retry-after") or "")
    if parsed is None:
        return None
    try:
        due = email.utils.mktime_tz(parsed)
    except (OverflowError, ValueError):
        return None
    return max(0.0, due - (time.time() if now is None else now))


def backoff(tries: int, *, first: float = 0.5, top: float = 30.0) -> float:
    """Seconds before the next try where the server names none: doubling, with up to a quarter off so that workers spread.

    tries (int): How many failed so far, from 1.
    """
    return min(top, first * 2 ** (tries - 1)) * (1 - 0.25 * random.random())
