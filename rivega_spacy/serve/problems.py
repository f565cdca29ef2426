"""What went wrong with a request, as its answer: problem details (RFC 9457)."""

import json
import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

from ..post.errors import Errors, OutputError
from ..post.text import replace_surrogates

logger = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
# Seconds after which to try again, where the server has too much to do.
_RETRY = {"Retry-After": "1"}


class Problem(Exception):
    """A request that gets no other answer.

    status (int): Of HTTP.
    detail (str): What is wrong and what to do, from the table of messages.
    notes (Sequence[str]): Further messages, where several things are wrong.
    """

    def __init__(self, status: int, detail: str, notes: tuple[str, ...] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.notes = notes

    def response(self) -> Response:
        """The answer: `status`, `title`, `detail`, and where it has one the `code` of its message (docs/errors.md)."""
        body: dict[str, Any] = {"type": "about:blank", "title": _title(self.status), "status": self.status, "detail": self.detail}
        if self.detail.startswith("["):
            body["code"] = self.detail[1:].partition("]")[0]
        if self.notes:
            body["notes"] = list(self.notes)
        text = replace_surrogates(json.dumps(body, ensure_ascii=False))
        headers = _RETRY if self.status in (429, 503) else {}
        return Response(text, self.status, headers, MEDIA_TYPE)


def handle_problems(app: FastAPI) -> None:
    """Let every error of an app be answered with problem details."""

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        answer = Problem(error.status_code, str(error.detail)).response()
        answer.headers.update(error.headers or {})
        if error.status_code == 405:
            answer.headers["Allow"] = ", ".join(_allowed(request))
        return answer

    @app.exception_handler(OutputError)
    async def output(request: Request, error: OutputError) -> Response:
        return Problem(507, str(error)).response()


def failed(error: BaseException) -> Problem:
    """A fault of the server's own; its traceback goes to the log."""
    logger.error("request failed", exc_info=error)
    return Problem(500, Errors.E813.format(reason=f"{type(error).__name__}: {error}"))


def _allowed(request: Request) -> list[str]:
    """The methods of an address, which may be on several routes; Starlette names those of the first."""
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in routes for method in getattr(route, "methods", None) or ()})


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
