"""The server process: a socket, uvicorn over it, and an orderly end."""

import signal
import socket
import sys
from asyncio import TimerHandle, Transport
from typing import Any, cast

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..post.errors import Errors, RivegaError
from .guard import HEADERS
from .limits import Limits
from .problems import Problem

_HEAD_BYTES = 32 * 1024


def listen(host: str, port: int) -> socket.socket:
    """A socket to serve on.

    host (str): Name or address. port (int): 0 takes any that is free.
    RETURNS (socket): Connections wait on it until they are accepted.
    RAISES (RivegaError): E819 if something else listens there, or there is no such address.
    """
    try:
        if not 0 <= port <= 65535:
            raise OverflowError("a port is a number from 0 to 65535")
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        sock = socket.socket(family, kind, proto)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(512)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RivegaError(Errors.E819.format(host=host, port=port, reason=reason)) from error
    return sock


def address_of(sock: socket.socket) -> str:
    """What to type into a browser, for example "http://127.0.0.1:8765/"."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def is_loopback(sock: socket.socket) -> bool:
    """Whether this machine alone can reach a socket."""
    host = str(sock.getsockname()[0])
    return host.startswith("127.") or host == "::1"


def run_server(app: FastAPI, sock: socket.socket, limits: Limits) -> None:
    """Serve until SIGTERM or Ctrl+C; what is under way by then is answered first.

    app (FastAPI): Of `create_app`. sock (socket): Of `listen`.
    limits (Limits): Of connections, and of the time that a head may take to arrive.
    """
    protocol = type("Protocol", (_PatientProtocol,), {"head_seconds": limits.body_seconds, "read_seconds": limits.seconds})
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=limits.connections,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=int(limits.seconds + limits.body_seconds) + 1,
        h11_max_incomplete_event_size=_HEAD_BYTES,
    )
    # uvicorn raises the signal again when it is done, for whoever else wants to hear of it.
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        uvicorn.Server(config).run(sockets=[sock])
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
    finally:
        signal.signal(signal.SIGTERM, before)


class _PatientProtocol(H11Protocol):
    """uvicorn's, which would wait for ever for a request that does not come, whose head breaks off, or whose answer nobody reads."""

    head_seconds = 20.0
    read_seconds = 60.0
    _head_timer: TimerHandle | None = None
    _read_timer: TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(cast(Transport, transport))
        self._await_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head_timer, self._read_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        # Not `close`, which would wait for what is written to be read.
        self._read_timer = self.loop.call_later(self.read_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._read_timer is not None:
            self._read_timer.cancel()

    def send_400_response(self, msg: str) -> None:
        """Say what every other refusal says, in the same form."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answer = Problem(400, Errors.E970.format(reason="it cannot be parsed")).response()
            head = h11.Response(
                status_code=400, reason=b"Bad Request", headers=[*answer.raw_headers, *HEADERS, (b"connection", b"close")]
            )
            for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _await_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._head_timer = self.loop.call_later(self.head_seconds, self._close_without_head, self.cycle)

    def _close_without_head(self, former: Any) -> None:
        if self.cycle is not former:
            return
        if self.transport.get_write_buffer_size():
            self._read_timer = self.loop.call_later(self.read_seconds, self.transport.abort)
        self.transport.close()
