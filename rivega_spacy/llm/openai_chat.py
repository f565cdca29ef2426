"""`rivega.OpenAIChat.v1`: any server that speaks OpenAI's chat completions: vLLM, llama.cpp, Ollama, TGI, OpenAI itself."""

import base64
import io
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from ..post.errors import Errors, ImageError, RivegaError, SetupError
from ..post.images import read_thumbnail
from .base import Answer, ChatRequest, ImageRef, Message
from .connection import Connection
from .limits import Budget, Pace
from .replies import read_error, read_reply, stated_usage
from .retries import LONGEST_PAUSE, CallFailed, backoff
from .secrets import check_key_name, check_key_server, check_no_credentials, is_owner, key_filter, read_key, redact, withheld

# A try may take so many times its `timeout` where `total_timeout` is left open.
TOTAL_FACTOR = 10.0
logger = logging.getLogger(__name__)


def make_openai_chat(
    model: str,
    name: str | None = None,
    base_url: str | None = None,
    api_key_env: str = "OPENAI_API_KEY",
    temperature: float | None = 0.0,
    top_p: float | None = None,
    seed: int | None = None,
    token_parameter: str = "max_tokens",
    extra: dict[str, Any] | None = None,
    max_image_side: int = 1024,
    concurrency: int = 8,
    timeout: float = 60.0,
    total_timeout: float | None = None,
    max_retries: int = 5,
    requests_per_minute: float | None = None,
    tokens_per_minute: float | None = None,
    budget: Budget | None = None,
) -> "OpenAIChat":
    """`rivega.OpenAIChat.v1`.

    model (str): As the server calls it.
    name (Optional[str]): What this source is called in the store and in enriched files; None takes `model`. Give one where two
        servers serve different models under one name.
    base_url (Optional[str]): For example http://localhost:8000/v1; None is OpenAI, or the variable OPENAI_BASE_URL.
    api_key_env (str): The environment variable that holds the key. Servers on one's own machine mostly need none. Together with
        `base_url` it must be a well-known name, which is sent to its owner's servers and to this machine, or the user must have agreed:
        RIVEGA_KEY_CONSENT=NAME@host in the environment.
    temperature, top_p, seed: Sampling; None sends nothing, which some models insist on.
    token_parameter (str): "max_tokens", or "max_completion_tokens" for OpenAI's newer models.
    extra (Optional[Dict[str, Any]]): Further fields of the request's body.
    max_image_side (int): Pictures are scaled to it and sent as JPEG.
    concurrency (int): Requests in flight.
    timeout (float): Seconds without a byte until a try is given up.
    total_timeout (Optional[float]): Seconds until it is given up though bytes keep coming; None takes ten times `timeout`.
    max_retries (int): Further tries after the first.
    requests_per_minute, tokens_per_minute (Optional[float]): What the account allows.
    budget (Optional[Budget]): `rivega.Budget.v1`; for this process.
    """
    check_key_server(check_key_name(api_key_env), base_url)
    return OpenAIChat(
        model,
        name=name,
        base_url=base_url,
        api_key_env=api_key_env,
        parameters={"temperature": temperature, "top_p": top_p, "seed": seed},
        token_parameter=token_parameter,
        extra=extra,
        max_image_side=max_image_side,
        concurrency=concurrency,
        timeout=timeout,
        total_timeout=total_timeout,
        max_retries=max_retries,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        budget=budget,
        from_config=True,
    )


class OpenAIChat:
    """Client of one model at one server; a bounded pool of threads, one call each.

    from_config (bool): Made from a config, which somebody else may have written: a key goes to its owner's servers alone. In Python
        code, whose author names key and server, it goes where it is told.
    """

    recorded = False

    def __init__(
        self,
        model: str,
        *,
        name: str | None = None,
        base_url: str | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        parameters: dict[str, Any] | None = None,
        token_parameter: str = "max_tokens",
        extra: dict[str, Any] | None = None,
        max_image_side: int = 1024,
        concurrency: int = 8,
        timeout: float = 60.0,
        total_timeout: float | None = None,
        max_retries: int = 5,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        budget: Budget | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        from_config: bool = False,
    ) -> None:
        self.api_key_env = check_key_name(api_key_env)
        check_no_credentials(self.api_key_env, base_url=base_url, extra=extra)
        if token_parameter not in ("max_tokens", "max_completion_tokens"):
            wanted = "'max_tokens' or 'max_completion_tokens'"
            raise RivegaError(Errors.E416.format(field="token_parameter", value=token_parameter, wanted=wanted))
        total_timeout = TOTAL_FACTOR * timeout if total_timeout is None else total_timeout
        positive = {
            "concurrency": concurrency,
            "max_image_side": max_image_side,
            "timeout": timeout,
            "total_timeout": total_timeout,
        }
        for field, value in positive.items():
            if not value > 0:
                raise RivegaError(Errors.E416.format(field=field, value=value, wanted="a positive number"))
        for field, wanted in (("stream", "false: answers are read whole"), ("n", "1: one answer is read, and all are paid for")):
            given = (extra or {}).get(field)
            if given not in (None, False, 1) or (field == "stream" and given):
                raise RivegaError(Errors.E416.format(field=f"extra.{field}", value=given, wanted=wanted))
        self.model = model
        self.name = name or model
        self.base_url = base_url
        self.parameters = {field: value for field, value in (parameters or {}).items() if value is not None}
        self.token_parameter = token_parameter
        self.extra = dict(extra or {})
        self.max_image_side = max_image_side
        self.concurrency = concurrency
        self.timeout = timeout
        self.total_timeout = total_timeout
        self.from_config = from_config
        self.max_retries = max_retries
        self.requests_per_minute = requests_per_minute
        self.tokens_per_minute = tokens_per_minute
        self.budget = budget if budget is not None else Budget()
        self.clock = clock
        self.sleep = sleep
        self._running: _Running | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Threads, connections and the key belong to the process that made them.
        return {**self.__dict__, "_running": None}

    def identity(self) -> dict[str, Any]:
        """What shapes the answers: model, sampling, size of pictures; not the address, so that a server may move."""
        return {
            "client": "openai-chat",
            "model": self.model,
            "name": self.name,
            "parameters": self.parameters,
            "extra": self.extra,
            "max_image_side": self.max_image_side,
        }

    def submit(self, requests: Sequence[ChatRequest]) -> list["Future[Answer]"]:
        """Begin to ask; each request runs in one of `concurrency` threads."""
        try:
            running = self._start()
        except CallFailed as failed:
            # A missing package or key is no question's fault.
            raise SetupError(failed.reason) from None
        return [running.pool.submit(self._answer, running, request) for request in requests]

    def close(self) -> None:
        """Drop what waits, let what is in flight finish, and close the connections."""
        running, self._running = self._running, None
        if running is not None and running.pid == os.getpid():
            running.close()

    def _start(self) -> "_Running":
        if self._running is None or self._running.pid != os.getpid():
            self._running = _Running(self)
        return self._running

    def _answer(self, running: "_Running", request: ChatRequest) -> Answer:
        """All tries for one request; returns an Answer whatever happens."""
        try:
            messages = [self._message(message) for message in request.messages]
        except ImageError as error:
            return Answer(None, error=str(error))
        reserved_input, reserved_output = request.prompt_tokens(), request.max_tokens
        # `waited` counts the pauses that the server asked for.
        reason, tries, waited = "", 0, 0.0
        # What the server counted for all tries so far, and for how many of them.
        spent, paid = (0, 0), 0
        while tries <= self.max_retries:
            if running.refused:
                return _no_answer(running.refused, spent)
            if not self.budget.reserve(reserved_input, reserved_output):
                return _no_answer(Errors.E402.format(spent=self.budget.describe()), spent)
            used: tuple[int, int] | None = None
            try:
                running.pace.wait(request.tokens())
                answer = self._once(running, messages, request)
                used = answer.input_tokens, answer.output_tokens
                return replace(answer, input_tokens=spent[0] + used[0], output_tokens=spent[1] + used[1])
            except CallFailed as failed:
                reason, tries, used = redact(failed.reason, running.key), tries + 1, failed.usage
                spent, paid = _sum(spent, used), paid + (used is not None)
                if failed.refused:
                    running.refused = Errors.E406.format(reason="; ".join(filter(None, (running.withheld, reason))))
                    return _no_answer(running.refused, spent)
                # What is paid for and comes to nothing twice will come to nothing again.
                waited += failed.pause or 0.0
                if not failed.again or paid > 1 or waited > LONGEST_PAUSE:
                    return _no_answer(reason, spent)
                if failed.pause is not None:
                    # The limit is the account's, not this request's: every thread waits.
                    running.pace.pause(failed.pause)
                elif tries <= self.max_retries:
                    self.sleep(backoff(tries))
            except Exception as error:  # a thread must hand back an answer, whatever the client library raises
                return _no_answer(redact(f"{type(error).__name__}: {error}", running.key), spent)
            finally:
                tokens = used or (0, 0)
                self.budget.settle(
                    *tokens, reserved_input=reserved_input, reserved_output=reserved_output, answered=used is not None
                )
                running.pace.settle(request.tokens(), sum(tokens))
        return _no_answer(Errors.E408.format(tries=tries, reason=reason), spent)

    def _once(self, running: "_Running", messages: list[dict[str, Any]], request: ChatRequest) -> Answer:
        """One try."""
        openai = running.openai
        body = {
            "model": self.model,
            "messages": messages,
            **self.parameters,
            self.token_parameter: request.max_tokens,
            **self.extra,
        }
        with_choices = request.alternatives > 0 and running.gives_choices
        if with_choices:
            body.update(logprobs=True, top_logprobs=request.alternatives)
        connection = running.connection()
        try:
            return read_reply(connection.post(body, request), request, running.key, pause=connection.pause)
        except openai.APIStatusError as error:
            if with_choices and error.status_code in (400, 422) and "logprobs" in str(error).lower():
                # This model gives no probabilities and says so; its words are answer enough.
                running.gives_choices = False
                return self._once(running, messages, request)
            usage = stated_usage(*_bodies(error))
            raise read_error(
                error.body or str(error), status=error.status_code, key=running.key, usage=usage, pause=connection.pause
            ) from None
        except openai.APITimeoutError:
            raise CallFailed(f"no answer within {self.timeout:g} seconds", again=True) from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            reason = redact(f"connection failed: {type(cause).__name__}: {cause}", running.key)
            raise CallFailed(reason, again=True) from None
        except (openai.APIResponseValidationError, ValueError, RecursionError) as error:
            reason = f"the answer is not what the protocol says: {_first_line(error, running.key)}"
            raise CallFailed(reason, again=True) from None

    def _message(self, message: Message) -> dict[str, Any]:
        if not message.images:
            return {"role": message.role, "content": message.text}
        parts: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": self._data_url(image)}} for image in message.images
        ]
        return {"role": message.role, "content": [*parts, {"type": "text", "text": message.text}]}

    def _data_url(self, image: ImageRef) -> str:
        buffer = io.BytesIO()
        read_thumbnail(image.source, self.max_image_side).save(buffer, format="JPEG", quality=90)
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


class _Running:
    """What one process has open."""

    def __init__(self, chat: OpenAIChat) -> None:
        try:
            import openai
        except ImportError:
            raise CallFailed(Errors.E409.format(package="openai"), again=False) from None
        self.pid = os.getpid()
        self.openai = openai
        self.key = read_key(chat.api_key_env)
        key_filter.guard(self.key)
        address = chat.base_url or os.environ.get("OPENAI_BASE_URL") or None
        if self.key is None and address is None:
            raise CallFailed(Errors.E403.format(name=chat.api_key_env, url="api.openai.com"), again=False)
        self.withheld = withheld(chat.api_key_env, chat.base_url) if chat.from_config and self.key is not None else ""
        if self.withheld:
            logger.warning("%s: %s", chat.name, self.withheld)
            self.key = None
        # A server that a config names gets the key that belongs there, and nothing else of the environment.
        bare = chat.from_config and chat.base_url is not None and not is_owner("OPENAI_API_KEY", chat.base_url)
        self.settings: dict[str, Any] = {
            "key": self.key or "none",
            "address": address,
            "timeout": chat.timeout,
            "total_timeout": chat.total_timeout,
            "bare": bare,
        }
        self.pool = ThreadPoolExecutor(chat.concurrency, thread_name_prefix="rivega-chat")
        self.pace = Pace(chat.requests_per_minute, chat.tokens_per_minute, clock=chat.clock, sleep=chat.sleep)
        self.refused = ""
        self.gives_choices = True
        self.connections: list[Connection] = []
        self._mine = threading.local()

    def connection(self) -> Connection:
        """That of this thread."""
        if not hasattr(self._mine, "connection"):
            self._mine.connection = Connection(self.openai, **self.settings)
            self.connections.append(self._mine.connection)
        return self._mine.connection

    def close(self) -> None:
        """Drop what waits, let what is in flight finish, and close the connections."""
        self.pool.shutdown(wait=True, cancel_futures=True)
        for connection in self.connections:
            connection.close()


def _no_answer(reason: str, spent: tuple[int, int]) -> Answer:
    return Answer(None, error=reason, input_tokens=spent[0], output_tokens=spent[1])


def _sum(spent: tuple[int, int], used: tuple[int, int] | None) -> tuple[int, int]:
    return spent if used is None else (spent[0] + used[0], spent[1] + used[1])


def _bodies(error: Any) -> list[Any]:
    """The places of an error's reply where `usage` may stand."""
    try:
        body = error.response.json()
    except (ValueError, RecursionError):
        return []
    return [body, body.get("error") if isinstance(body, dict) else None]


def _first_line(error: Exception, key: str | None) -> str:
    return " ".join(redact(str(error), key).split())[:300]
