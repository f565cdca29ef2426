"""Settings that are changed on the command line: SECTION.NAME=VALUE."""

import json

from ..post.errors import Errors, RivegaError


def read_override(text: str) -> tuple[str, object]:
    """Name and value of SECTION.NAME=VALUE; what is no JSON is text. RAISES (RivegaError): E538 for another form."""
    name, equals, value = text.partition("=")
    if not equals or "." not in name:
        raise RivegaError(Errors.E538.format(value=text))
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
