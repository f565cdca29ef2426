"""Keys: read from the environment when a client is made, and blanked wherever a message or an answer might carry them."""
import os
import re
from typing import Any, Optional
from urllib.parse import urlsplit

from ..errors import Errors, RivegaError

# What a key looks like, for keys that are not ours to know (an upstream server's, for example).
_LOOKS_LIKE_KEY = re.compile(r"(?i)\b(?:sk|pk|rk|hf|gsk|xai|AIza)[-_][A-Za-z0-9_\-*.]{16,}|\bbearer\s+[A-Za-z0-9_\-.=+/*]{8,}")
_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_SECRET_FIELDS = re.compile(r"(?i)api[-_]?key|authorization|token$|secret|password|bearer")
BLANK = "[key]"


def check_key_name(name: Any) -> str:
    """The name of the environment variable that holds the key.

    name (Any): From the config.
    RETURNS (str): The name.
    RAISES (RivegaError): E404, without repeating the value, where it is no name: it may be the key itself.
    """
    if not isinstance(name, str) or _NAME.fullmatch(name) is None or _LOOKS_LIKE_KEY.search(name):
        raise RivegaError(Errors.E404)
    return name


def check_no_credentials(name: str, *, base_url: Optional[str], extra: Any) -> None:
    """Refuse credentials that stand in a config.

    name (str): The environment variable where the key belongs.
    base_url (Optional[str]): May not hold "user:password@" or a key in its query.
    extra (Any): Further fields of the request; none may be named like a key.
    RAISES (RivegaError): E405.
    """
    if base_url is not None:
        try:
            parts = urlsplit(base_url)
            fit = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            fit = False
        if not fit:
            raise RivegaError(Errors.E416.format(field="base_url", value=redact(str(base_url)), wanted="an address such as http://localhost:8000/v1"))
        if parts.username or parts.password or _SECRET_FIELDS.search(parts.query) or _LOOKS_LIKE_KEY.search(base_url):
            raise RivegaError(Errors.E405.format(field="base_url", name=name))
    if _has_secret(extra):
        raise RivegaError(Errors.E405.format(field="extra", name=name))


def read_key(name: str) -> Optional[str]:
    """The key, from the environment; None where the variable is not set or empty."""
    return os.environ.get(name, "").strip() or None


def redact(message: str, key: Optional[str] = None) -> str:
    """An error message without keys.

    message (str): What the server or a library said.
    key (Optional[str]): The key in use, blanked wherever it stands; whatever looks like one is blanked too.
    """
    return _LOOKS_LIKE_KEY.sub(BLANK, blank_key(message, key))


def blank_key(answer: str, key: Optional[str]) -> str:
    """An answer without the key in use, should a server echo it; the rest stays as it is."""
    return answer.replace(key, BLANK) if key and len(key) >= 6 else answer


def _has_secret(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_SECRET_FIELDS.search(str(name)) is not None or _has_secret(item) for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return any(_has_secret(item) for item in value)
    return isinstance(value, str) and _LOOKS_LIKE_KEY.search(value) is not None
