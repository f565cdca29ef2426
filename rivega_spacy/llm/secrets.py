"""Keys: read from the environment when a client is made, sent where they belong, and blanked wherever a message might carry them."""

import base64
import codecs
import html
import ipaddress
import json
import logging
import os
import re
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

from ..post.errors import Errors, RivegaError

# What a key looks like, for keys that are not ours to know (an upstream server's, for example).
_LOOKS_LIKE_KEY = re.compile(r"(?i)\b(?:sk|pk|rk|hf|gsk|xai|AIza)[-_][A-Za-z0-9_\-*.]{16,}|\bbearer\s+[A-Za-z0-9_\-.=+/*]{8,}")
_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_SECRET_FIELDS = re.compile(r"(?i)api[-_]?key|authorization|token$|secret|password|bearer")
BLANK = "[key]"
# What may stand between two letters of a key that is written apart.
_BETWEEN = r"""(?:\\[nrt]|[\s\-.,_"'+|]){0,12}"""
# Well-known names of keys, and whose they are: with that server a config may name them. Empty: of a server that one runs oneself.
KEYS_OF = {
    "OPENAI_API_KEY": ("openai.com",),
    "AZURE_OPENAI_API_KEY": ("openai.azure.com", "cognitiveservices.azure.com", "services.ai.azure.com"),
    "ANTHROPIC_API_KEY": ("anthropic.com",),
    "CEREBRAS_API_KEY": ("cerebras.ai",),
    "COHERE_API_KEY": ("cohere.ai", "cohere.com"),
    "DASHSCOPE_API_KEY": ("dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com"),
    "DEEPSEEK_API_KEY": ("deepseek.com",),
    "FIREWORKS_API_KEY": ("fireworks.ai",),
    "GEMINI_API_KEY": ("generativelanguage.googleapis.com",),
    "GOOGLE_API_KEY": ("generativelanguage.googleapis.com",),
    "GROQ_API_KEY": ("groq.com",),
    "HF_TOKEN": ("huggingface.co",),
    "MISTRAL_API_KEY": ("mistral.ai",),
    "MOONSHOT_API_KEY": ("moonshot.ai", "moonshot.cn"),
    "NVIDIA_API_KEY": ("nvidia.com",),
    "OPENROUTER_API_KEY": ("openrouter.ai",),
    "TOGETHER_API_KEY": ("together.ai", "together.xyz"),
    "XAI_API_KEY": ("x.ai",),
    "ZAI_API_KEY": ("z.ai", "bigmodel.cn"),
    "LLAMA_API_KEY": (),
    "LM_STUDIO_API_KEY": (),
    "OLLAMA_API_KEY": (),
    "RIVEGA_API_KEY": (),
    "SGLANG_API_KEY": (),
    "VLLM_API_KEY": (),
}
# Where the user says which further keys may go where: "NAME@host OTHER@host:8000".
CONSENT = "RIVEGA_KEY_CONSENT"


def check_key_name(name: Any) -> str:
    """The name of the environment variable that holds the key.

    name (Any): From the config.
    RETURNS (str): The name.
    RAISES (RivegaError): E404, without repeating the value, if it is no name: it may be the key itself.
    """
    if not isinstance(name, str) or _NAME.fullmatch(name) is None or _LOOKS_LIKE_KEY.search(name):
        raise RivegaError(Errors.E404)
    return name


def check_no_credentials(name: str, *, base_url: str | None, extra: Any) -> None:
    """Refuse credentials that stand in a config.

    name (str): The environment variable where the key belongs.
    base_url (Optional[str]): May not hold "user:password@" or a key in its query.
    extra (Any): Further fields of the request; none may be named like a key.
    RAISES (RivegaError): E405.
    """
    if base_url is not None:
        try:
            parts = urlsplit(base_url)
            fit = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            fit = False
        if not fit:
            raise RivegaError(
                Errors.E416.format(
                    field="base_url", value=redact(str(base_url)), wanted="an address such as http://localhost:8000/v1"
                )
            )
        if parts.username or parts.password or _SECRET_FIELDS.search(parts.query) or _LOOKS_LIKE_KEY.search(base_url):
            raise RivegaError(Errors.E405.format(field="base_url", name=name))
    if _has_secret(extra):
        raise RivegaError(Errors.E405.format(field="extra", name=name))


def check_key_server(name: str, base_url: str | None) -> None:
    """Refuse a config that names a variable of the environment as key for a server of its own.

    A pipeline that somebody else made could so have any secret of the environment sent to them.

    name (str): The environment variable. base_url (Optional[str]): The server of the config; None is OpenAI's, or the environment's.
    RAISES (RivegaError): E775, but for the names of `KEYS_OF` and what the user agreed to.
    """
    if base_url is not None and name not in KEYS_OF and not _agreed(name, base_url):
        raise RivegaError(Errors.E775.format(name=name, host=_host(base_url)))


def withheld(name: str, base_url: str | None) -> str:
    """Why a key is not sent to the server of a config; "" where it may be.

    A well-known key goes to the server that it belongs to, to this machine, and to where the user said.
    """
    if base_url is None or _agreed(name, base_url):
        return ""
    if _is_this_machine(urlsplit(base_url).hostname or "") or is_owner(name, base_url):
        return ""
    return Errors.E776.format(name=name, host=_host(base_url))


def is_owner(name: str, base_url: str) -> bool:
    """Whether a server is of those that a well-known key belongs to."""
    host = urlsplit(base_url).hostname or ""
    return any(host == owner or host.endswith("." + owner) for owner in KEYS_OF.get(name, ()))


def read_key(name: str) -> str | None:
    """The key, from the environment; None if the variable is not set or empty."""
    return os.environ.get(name, "").strip() or None


def redact(message: str, key: str | None = None) -> str:
    """An error message without keys.

    message (str): What the server or a library said.
    key (Optional[str]): The key in use, blanked wherever it stands; whatever looks like one is blanked too.
    """
    return _LOOKS_LIKE_KEY.sub(BLANK, blank_key(message, key))


def blank_key(answer: str, key: str | None) -> str:
    """An answer without the key in use, should a server echo it: as it is, quoted for URLs, HTML or JSON, in base64 or hexadecimal, in
    one piece or apart; the rest stays as it is."""
    return _spellings(key).sub(BLANK, answer) if key and len(key) >= 6 else answer


class KeyFilter(logging.Filter):
    """Takes keys out of what HTTP libraries log: with DEBUG they tell every header of a reply, and a server may echo the key in one."""

    LOGGERS = (
        *("httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.socks", "httpx"),
        *("httpcore2.connection", "httpcore2.http11", "httpcore2.http2", "httpcore2.proxy", "httpcore2.socks", "httpx2"),
        *("openai", "openai._base_client", "openai._legacy_response", "openai._response"),
    )

    def __init__(self) -> None:
        super().__init__()
        self.keys: set[str] = set()

    def guard(self, key: str | None) -> None:
        """Take this key out from now on."""
        if key:
            self.keys.add(key)
        for name in self.LOGGERS:
            # Adding a filter twice does nothing.
            logging.getLogger(name).addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        message = redact(record.getMessage())
        for key in self.keys:
            message = blank_key(message, key)
        record.msg, record.args = message, ()
        return True


key_filter = KeyFilter()


@lru_cache(maxsize=16)
def _spellings(key: str) -> "re.Pattern[str]":
    data = key.encode("utf8", "surrogateescape")
    found = {
        key,
        quote(data, safe=""),
        quote(data),
        quote_plus(data),
        html.escape(key),
        json.dumps(key)[1:-1],
        json.dumps(json.dumps(key))[3:-3],
        key.replace("/", "\\/"),
        data.hex(),
        key[::-1],
        codecs.encode(key, "rot13"),
        base64.b85encode(data).decode("ascii"),
        base64.a85encode(data).decode("ascii"),
        base64.b64encode(base64.b64encode(data)).decode("ascii").rstrip("="),
        base64.b64encode(key.encode("utf-16-le", "surrogatepass")).decode("ascii").rstrip("="),
        *(
            "".join(form % byte for byte in data).strip(" :,")
            for form in (
                "%%%02x",
                "&#%d;",
                "&#x%x;",
                "\\u%04x",
                "\\x%02x",
                "\\%03o",
                "=%02x",
                "%02x:",
                "%02x ",
                "%d,",
                "%d, ",
                "%d ",
            )
        ),
    }
    for before in range(5):
        # Base32 of a longer text, likewise.
        code = base64.b32encode(b"\0" * before + data).decode("ascii").rstrip("=")
        found.add(code[-(-8 * before // 5) : len(code) - 1])
    inners: set[str] = set()
    for before in range(3):
        # Base64 of a longer text that holds the key, "Bearer ..." or "user:key": those characters that are the key's alone.
        code = base64.b64encode(b"\0" * before + data).decode("ascii").rstrip("=")
        inner = code[(0, 2, 3)[before] : len(code) - (1 if (before + len(data)) % 3 else 0)]
        inners |= {inner, inner.replace("+", "-").replace("/", "_")} if len(inner) >= 6 else set()
    found |= {quote(spelling, safe="") for spelling in found | inners}
    whole = sorted(map(re.escape, found), key=len, reverse=True)
    # Also over several lines, in quotes that are joined, or with its letters apart.
    apart = (_BETWEEN.join(map(re.escape, spelling)) for spelling in sorted({key, data.hex(), *inners}))
    return re.compile("|".join((*whole, *apart)), re.IGNORECASE)


def _host(base_url: str) -> str:
    parts = urlsplit(base_url)
    name = parts.hostname or ""
    name = f"[{name}]" if ":" in name else name
    return f"{name}:{parts.port}" if parts.port else name


def _agreed(name: str, base_url: str) -> bool:
    wanted = {f"{name}@{_host(base_url)}".lower(), f"{name}@{urlsplit(base_url).hostname}".lower()}
    return any(entry.lower() in wanted for entry in re.split(r"[\s,;]+", os.environ.get(CONSENT, "")))


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _has_secret(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_SECRET_FIELDS.search(str(name)) is not None or _has_secret(item) for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return any(_has_secret(item) for item in value)
    return isinstance(value, str) and _LOOKS_LIKE_KEY.search(value) is not None
