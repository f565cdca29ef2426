"""A connection to a server that is not trusted: its replies have a limit in size and time, and it cannot send anybody elsewhere."""

import socket
import sys
import threading
import zlib
from collections.abc import Iterable
from typing import Any

from ..post.errors import Errors
from .base import ChatRequest
from .retries import CallFailed, retry_after
from .secrets import redact

# A reply may have so many bytes, and so many more for each token of the answer and each alternative of it.
BASE_BYTES = 1 << 20
TOKEN_BYTES = 256
_ENCODINGS = {"gzip", "x-gzip", "deflate"}
# 301 to 303 turn a question into a GET.
_KEEPS_METHOD = {307, 308}
_MOST_REDIRECTS = 3
_BARE_HEADERS = {
    "host",
    "accept",
    "connection",
    "content-type",
    "content-length",
    "transfer-encoding",
    "user-agent",
    "authorization",
}


class Connection:
    """One thread's client of one server.

    openai (Any): The package.
    key (str), address (Optional[str]): Of the server.
    timeout (float): Seconds without a byte until a try is given up.
    total_timeout (float): Seconds until it is given up though bytes keep coming.
    bare (bool): Send nothing of what the environment names for OpenAI beside the key: organization, project, headers of the user's own.
    """

    def __init__(
        self, openai: Any, *, key: str, address: str | None, timeout: float, total_timeout: float, bare: bool = False
    ) -> None:
        self.openai = openai
        hooks = {"request": [self._before], "response": [self._received]}
        http = openai.DefaultHttpxClient(event_hooks=hooks, max_redirects=_MOST_REDIRECTS)
        # The package stands on httpx or, from version 3, on httpx2: the same names in another module.
        self.httpx = next(
            sys.modules[kind.__module__.partition(".")[0]] for kind in type(http).__mro__ if kind.__module__.startswith("httpx")
        )
        # Retries are ours: those of the package wait in each thread alone and ignore a Retry-After of more than a minute.
        self.client = openai.OpenAI(api_key=key, base_url=address, timeout=timeout, max_retries=0, http_client=http)
        self.key = key
        self.bare = bare
        self.total_timeout = total_timeout
        self.pause: float | None = None
        self._limit = BASE_BYTES
        self._tokens = 0
        self._stream: Any = None
        self._expired = False
        self._lock = threading.Lock()

    def post(self, body: dict[str, Any], request: ChatRequest) -> Any:
        """Ask.

        body (Dict[str, Any]): Of the request.
        request (ChatRequest): Says how long a reply may be.
        RETURNS (Any): The reply's JSON, or its text where the server does not call it JSON.
        RAISES (CallFailed): For a reply too large or too slow, and for a redirect to another server. Exceptions of the package.
        """
        self._limit = BASE_BYTES + TOKEN_BYTES * request.max_tokens * (1 + request.alternatives)
        self._tokens, self._expired, self.pause = request.max_tokens, False, None
        running = threading.Event()
        timer = threading.Timer(self.total_timeout, self._expire, (running,))
        timer.daemon = True
        timer.start()
        try:
            # The package's typed `chat.completions.create` takes as much CPU again to check what is built here and read elsewhere.
            return self.client.post("/chat/completions", cast_to=object, body=body)
        except self.openai.APIConnectionError as error:
            # Earlier versions of the package wrap whatever is raised while a reply is read.
            if isinstance(error.__cause__, CallFailed):
                raise error.__cause__ from None
            if self._expired:
                raise self._too_slow() from None
            raise
        finally:
            timer.cancel()
            with self._lock:
                running.set()

    def close(self) -> None:
        """Close it."""
        self.client.close()

    def _too_slow(self) -> CallFailed:
        return CallFailed(Errors.E772.format(seconds=self.total_timeout), again=False)

    def _expire(self, over: threading.Event) -> None:
        with self._lock:
            if over.is_set() or self._stream is None:
                return
            self._expired = True
            # Wakes the thread that reads; timeouts of the socket begin anew with every byte.
            sock = self._stream.get_extra_info("socket")
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except (OSError, AttributeError):
                pass

    def _before(self, request: Any) -> None:
        if self.bare:
            for name in list(request.headers):
                if name.lower() not in _BARE_HEADERS and not name.lower().startswith("x-stainless-"):
                    del request.headers[name]
        request.headers["accept-encoding"] = "gzip, deflate"
        request.extensions["trace"] = self._trace

    def _trace(self, event: str, info: dict[str, Any]) -> None:
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._stream = info["return_value"]

    def _received(self, response: Any) -> None:
        """Runs before a byte of the reply is read."""
        if response.has_redirect_location:
            self._check_redirect(response)
        self.pause = retry_after(response.headers)
        encoding = response.headers.get("content-encoding", "").strip().lower()
        if encoding not in {"", "identity", *_ENCODINGS}:
            raise CallFailed(Errors.E774.format(encoding=redact(encoding, self.key)[:40]), again=False)
        stream = response.stream
        try:
            data = self._read(stream, encoding in _ENCODINGS)
        finally:
            stream.close()
        if encoding in _ENCODINGS:
            del response.headers["content-encoding"]
        response.stream = self.httpx.ByteStream(data)

    def _read(self, stream: Iterable[bytes], compressed: bool) -> bytes:
        # 32 more than the largest window: zlib finds out whether it is gzip or zlib.
        inflate = zlib.decompressobj(zlib.MAX_WBITS | 32) if compressed else None
        parts: list[bytes] = []
        sent = size = 0
        for chunk in stream:
            sent += len(chunk)
            while chunk:
                part, chunk = chunk, b""
                if inflate is not None:
                    try:
                        part, chunk = inflate.decompress(part, self._limit - size + 1), inflate.unconsumed_tail
                    except zlib.error as error:
                        raise CallFailed(f"the reply cannot be decompressed: {error}", again=True) from None
                size += len(part)
                parts.append(part)
                if max(size, sent) > self._limit:
                    raise CallFailed(Errors.E771.format(limit=self._limit, tokens=self._tokens), again=False)
        if self._expired:
            # A reply that ends with its connection looks complete.
            raise self._too_slow()
        return b"".join(parts)

    def _check_redirect(self, response: Any) -> None:
        asked = response.request.url
        try:
            target = asked.join(response.headers["location"])
            upgraded = (_place(asked), _place(target)) == (("http", 80), ("https", 443))
            same = target.host == asked.host and (upgraded or _place(target) == _place(asked))
            named = redact(f"{target.scheme}://{target.netloc.decode('ascii', 'replace')}", self.key)[:200]
        except Exception as error:  # an address that no parser takes
            same, named = False, f"an address that cannot be read ({type(error).__name__})"
        if not same or response.status_code not in _KEEPS_METHOD:
            raise CallFailed(Errors.E773.format(target=named), again=False)


def _place(url: Any) -> tuple[str, int | None]:
    return url.scheme, url.port or {"http": 80, "https": 443}.get(url.scheme)
