"""What every request passes first: who asks, from where, how much comes, and how long it takes to arrive."""

import asyncio
import ipaddress
import re
import time
from collections import Counter
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..post.errors import Errors
from .limits import Limits
from .metrics import Metrics
from .problems import Problem, failed

# Everything the page needs comes from this server; pictures also out of the browser's own memory.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_READS = ("GET", "HEAD", "OPTIONS")
_METHODS = (*_READS, "POST", "PUT", "DELETE", "PATCH")
# A name or an address, and a port: nothing that could be read as a user, a path or a query.
_HOST = re.compile(r"[\w.\-]+(:\d{1,5})?|\[[\da-fA-F:.]+\](:\d{1,5})?", re.ASCII)
# Files are sent whole: over sixty kilobytes of ranges in one header, Starlette takes a second of processor time.
_RANGES = (b"range", b"if-range", b"accept-ranges")
# What counts as the status of a request whose sender has gone.
_GONE = 499


class Guard:
    """The outermost layer of the app.

    app (ASGIApp): The app.
    limits (Limits): Of bodies and clients.
    hosts (Iterable[str]): Names that the server may be called by, beside `localhost` and addresses in numbers: a name that somebody else
        points at this machine (DNS rebinding) is none of them.
    metrics (Metrics): Counts requests.
    """

    def __init__(self, app: ASGIApp, limits: Limits, hosts: Iterable[str], metrics: Metrics) -> None:
        self.app = app
        self.limits = limits
        self.hosts = {"localhost", *(host.lower() for host in hosts)}
        self.metrics = metrics
        self.open: Counter[str] = Counter()
        self.held = 0
        metrics.gauge("rivega_requests_open", lambda: float(self.open.total()))
        metrics.gauge("rivega_body_bytes_held", lambda: float(self.held))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it with problem details."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        answer = _Answer(send)
        client = (scope.get("client") or ("?", 0))[0]
        # Reads are short; a monitor that asks for /health or /metrics takes no room from the posts of the same address.
        counts = scope["method"] not in _READS
        self.open[client] += counts
        body = bytearray()
        try:
            scope["headers"] = [pair for pair in scope["headers"] if pair[0] not in _RANGES]
            headers = Headers(scope=scope)
            if "\0" in scope["path"]:
                # No path has one, and older versions of Starlette fail as they look for such a file.
                raise Problem(404, "Not Found")
            self._check_caller(scope["method"], headers, client)
            await asyncio.wait_for(self._read(headers, receive, body), self.limits.body_seconds)
            await self._run(scope, bytes(body), receive, answer)
        except asyncio.TimeoutError:
            await _refuse(Problem(408, Errors.E803.format(seconds=self.limits.body_seconds)), scope, receive, answer)
        except Problem as problem:
            await _refuse(problem, scope, receive, answer)
        except _Gone:
            answer.status = _GONE
        except Exception as error:  # the connection gets an answer whatever goes wrong
            if answer.status:
                raise
            await _refuse(failed(error), scope, receive, answer)
        finally:
            self.held -= len(body)
            self.open[client] -= counts
            if not self.open[client]:
                del self.open[client]
            labels: dict[str, str] = {
                "path": _known_path(scope),
                "method": scope["method"] if scope["method"] in _METHODS else "other",
            }
            self.metrics.count("rivega_requests_total", 1, status=str(answer.status or _GONE), **labels)
            self.metrics.observe("rivega_request_seconds", time.perf_counter() - started, path=labels["path"])

    def _check_caller(self, method: str, headers: Headers, client: str) -> None:
        host = headers.get("host", "")
        if not self._is_own(host):
            raise Problem(421, Errors.E801.format(host=host[:100]))
        if "transfer-encoding" in headers and "content-length" in headers:
            # A proxy in front may have believed the other one, and take what follows for a request that it has checked.
            raise Problem(400, Errors.E970.format(reason="Transfer-Encoding and Content-Length state its length twice"))
        if method in _READS:
            return
        origin = headers.get("origin")
        foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
        if foreign or headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            raise Problem(403, Errors.E802.format(origin=(origin or "unknown")[:100]))
        if self.open[client] > self.limits.per_client:
            raise Problem(429, Errors.E809.format(client=client, limit=self.limits.per_client))

    def _is_own(self, host: str) -> bool:
        if not _HOST.fullmatch(host):
            return False
        name = (urlsplit(f"//{host}").hostname or "").lower()
        if name in self.hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    async def _read(self, headers: Headers, receive: Receive, body: bytearray) -> None:
        """The body, as far as it is allowed, at the end of `body`."""
        limit = self.limits.body_bytes
        stated = headers.get("content-length", "")
        if stated.isdecimal() and int(stated[:20]) > limit:
            raise Problem(413, Errors.E804.format(limit=limit))
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            chunk = message.get("body", b"")
            if len(body) + len(chunk) > limit:
                raise Problem(413, Errors.E804.format(limit=limit))
            if self.held + len(chunk) > self.limits.held_bytes:
                raise Problem(503, Errors.E810.format(reason="it holds as many pictures as it may"))
            self.held += len(chunk)
            body += chunk
            more = message.get("more_body", False)

    async def _run(self, scope: Scope, body: bytes, receive: Receive, answer: "_Answer") -> None:
        """The app's answer; where who asked has gone, nobody works on for them."""
        given = False

        async def replay() -> Message:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": body, "more_body": False}
            await answer.ended.wait()
            return {"type": "http.disconnect"}

        work = asyncio.ensure_future(self.app(scope, replay, answer))
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and not answer.ended.is_set():
                work.cancel()
                await asyncio.wait({work})
                raise _Gone
            await work
        finally:
            gone.cancel()
            if not work.done():
                work.cancel()


async def _refuse(problem: Problem, scope: Scope, receive: Receive, answer: "_Answer") -> None:
    response = problem.response()
    if scope["method"] not in _READS:
        # What there may be of a body is not read any more, so nothing can follow it.
        response.headers["Connection"] = "close"
    await response(scope, receive, answer)


class _Gone(Exception):
    """Whoever asked has closed the connection."""


class _Answer:
    """Sends on what the app answers, with the headers that every answer has, and remembers the status."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.status = 0
        self.ended = asyncio.Event()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [pair for pair in message.get("headers", []) if pair[0].lower() not in _RANGES]
            given = {name.lower() for name, _ in headers}
            headers += [pair for pair in HEADERS if pair[0] not in given]
            message = {**message, "headers": headers}
        await self.send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.ended.set()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _known_path(scope: Scope) -> str:
    """The path as the app wrote it ("/queue/{number}"); of others there could be any number."""
    route = scope.get("route")
    return getattr(route, "path", None) or "other"
