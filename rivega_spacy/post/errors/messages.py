"""The base of the tables of messages: every message begins with its code."""

import re

CODE = re.compile(r"[EW]\d{3}")


class Messages:
    """A table of messages, one attribute a code: E... for errors and notes on posts, W... for warnings.

    Written as text alone (`E001 = "The picture ..."`), read with its code in front (`Errors.E001 == "[E001] The picture ..."`), so that
    whoever meets a message finds it in docs/errors.md. Values are filled in with `Errors.E001.format(...)`.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for code, text in list(vars(cls).items()):
            if CODE.fullmatch(code):
                setattr(cls, code, f"[{code}] {text}")


__all__ = ["CODE", "Messages"]
