"""`rivega.OpenAIChat.v1`: any server that speaks OpenAI's chat completions: vLLM, llama.cpp, Ollama, TGI, OpenAI itself."""
import base64
import io
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ..errors import Errors, ImageError, RivegaError
from ..images import read_image
from .base import Answer, ChatRequest, ImageRef, Message, finished
from .choices import read_choices
from .limits import Budget, Pace
from .retries import LONGEST_PAUSE, CallFailed, backoff, retry_after, worth_another_try
from .secrets import blank_key, check_key_name, check_no_credentials, read_key, redact


def make_openai_chat(
    model: str,
    name: Optional[str] = None,
    base_url: Optional[str] = None,
    api_key_env: str = "OPENAI_API_KEY",
    temperature: Optional[float] = 0.0,
    top_p: Optional[float] = None,
    seed: Optional[int] = None,
    token_parameter: str = "max_tokens",
    extra: Optional[Dict[str, Any]] = None,
    max_image_side: int = 1024,
    concurrency: int = 8,
    timeout: float = 60.0,
    max_retries: int = 5,
    requests_per_minute: Optional[float] = None,
    tokens_per_minute: Optional[float] = None,
    budget: Optional[Budget] = None,
) -> "OpenAIChat":
    """`rivega.OpenAIChat.v1`.

    model (str): As the server calls it.
    name (Optional[str]): What this source is called in the store and in enriched files; None takes `model`. Give one where two
        servers serve different models under one name.
    base_url (Optional[str]): For example http://localhost:8000/v1; None is OpenAI, or the variable OPENAI_BASE_URL.
    api_key_env (str): The environment variable that holds the key. Servers on one's own machine mostly need none.
    temperature, top_p, seed: Sampling; None sends nothing, which some models insist on.
    token_parameter (str): "max_tokens", or "max_completion_tokens" for OpenAI's newer models.
    extra (Optional[Dict[str, Any]]): Further fields of the request's body.
    max_image_side (int): Pictures are scaled to it and sent as JPEG.
    concurrency (int): Requests in flight.
    timeout (float): Seconds without a byte until a try is given up.
    max_retries (int): Further tries after the first.
    requests_per_minute, tokens_per_minute (Optional[float]): What the account allows.
    budget (Optional[Budget]): `rivega.Budget.v1`; for this process.
    """
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
        max_retries=max_retries,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        budget=budget,
    )


class OpenAIChat:
    """Client of one model at one server; a bounded pool of threads, one call each."""

    recorded = False

    def __init__(
        self,
        model: str,
        *,
        name: Optional[str] = None,
        base_url: Optional[str] = None,
        api_key_env: str = "OPENAI_API_KEY",
        parameters: Optional[Dict[str, Any]] = None,
        token_parameter: str = "max_tokens",
        extra: Optional[Dict[str, Any]] = None,
        max_image_side: int = 1024,
        concurrency: int = 8,
        timeout: float = 60.0,
        max_retries: int = 5,
        requests_per_minute: Optional[float] = None,
        tokens_per_minute: Optional[float] = None,
        budget: Optional[Budget] = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.api_key_env = check_key_name(api_key_env)
        check_no_credentials(self.api_key_env, base_url=base_url, extra=extra)
        if token_parameter not in ("max_tokens", "max_completion_tokens"):
            wanted = "'max_tokens' or 'max_completion_tokens'"
            raise RivegaError(Errors.E416.format(field="token_parameter", value=token_parameter, wanted=wanted))
        for field, value in (("concurrency", concurrency), ("max_image_side", max_image_side), ("timeout", timeout)):
            if not value > 0:
                raise RivegaError(Errors.E416.format(field=field, value=value, wanted="a positive number"))
        self.model = model
        self.name = name or model
        self.base_url = base_url
        self.parameters = {field: value for field, value in (parameters or {}).items() if value is not None}
        self.token_parameter = token_parameter
        self.extra = dict(extra or {})
        self.max_image_side = max_image_side
        self.concurrency = concurrency
        self.timeout = timeout
        self.max_retries = max_retries
        self.requests_per_minute = requests_per_minute
        self.tokens_per_minute = tokens_per_minute
        self.budget = budget if budget is not None else Budget()
        self.clock = clock
        self.sleep = sleep
        self._running: Optional[_Running] = None

    def __getstate__(self) -> Dict[str, Any]:
        # Threads, connections and the key belong to the process that made them.
        return {**self.__dict__, "_running": None}

    def identity(self) -> Dict[str, Any]:
        """What shapes the answers: model, sampling, size of pictures; not the address, so that a server may move."""
        return {
            "client": "openai-chat",
            "model": self.model,
            "name": self.name,
            "parameters": self.parameters,
            "extra": self.extra,
            "max_image_side": self.max_image_side,
        }

    def submit(self, requests: Sequence[ChatRequest]) -> List["Future[Answer]"]:
        """Begin to ask; each request runs in one of `concurrency` threads."""
        try:
            running = self._start()
        except CallFailed as failed:
            return [finished(Answer(None, error=failed.reason)) for _ in requests]
        return [running.pool.submit(self._answer, running, request) for request in requests]

    def close(self) -> None:
        """Drop what waits, let what is in flight finish, and close the connections."""
        running, self._running = self._running, None
        if running is not None and running.pid == os.getpid():
            running.pool.shutdown(wait=True, cancel_futures=True)
            running.client.close()

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
        reason, tries = "", 0
        while tries <= self.max_retries:
            if running.refused:
                return Answer(None, error=running.refused)
            if not self.budget.reserve(reserved_input, reserved_output):
                return Answer(None, error=Errors.E402.format(spent=self.budget.describe()))
            answer: Optional[Answer] = None
            try:
                running.pace.wait(request.tokens())
                answer = self._once(running, messages, request)
                return answer
            except CallFailed as failed:
                reason, tries = failed.reason, tries + 1
                if failed.refused:
                    running.refused = Errors.E406.format(reason=reason)
                    return Answer(None, error=running.refused)
                if not failed.again or (failed.pause or 0.0) > LONGEST_PAUSE:
                    return Answer(None, error=reason)
                if failed.pause is not None:
                    # The limit is the account's, not this request's: every thread waits.
                    running.pace.pause(failed.pause)
                elif tries <= self.max_retries:
                    self.sleep(backoff(tries))
            except Exception as error:  # a thread must hand back an answer, whatever the client library raises
                return Answer(None, error=redact(f"{type(error).__name__}: {error}", running.key))
            finally:
                used = (answer.input_tokens, answer.output_tokens) if answer is not None else (0, 0)
                self.budget.settle(
                    *used, reserved_input=reserved_input, reserved_output=reserved_output, answered=answer is not None
                )
                running.pace.settle(request.tokens(), sum(used))
        return Answer(None, error=Errors.E408.format(tries=tries, reason=reason))

    def _once(self, running: "_Running", messages: List[Dict[str, Any]], request: ChatRequest) -> Answer:
        """One try."""
        openai = running.openai
        body = {"model": self.model, "messages": messages, **self.parameters, self.token_parameter: request.max_tokens, **self.extra}
        with_choices = request.alternatives > 0 and running.gives_choices
        if with_choices:
            body.update(logprobs=True, top_logprobs=request.alternatives)
        try:
            # The package's typed `chat.completions.create` takes as much CPU again to check what is built here and read below.
            reply = running.client.post("/chat/completions", cast_to=object, body=body)
            return _read_reply(reply, request, running.key)
        except openai.APIStatusError as error:
            status, code = error.status_code, getattr(error, "code", None)
            if with_choices and status in (400, 422) and "logprobs" in str(error).lower():
                # This model gives no probabilities and says so; its words are answer enough.
                running.gives_choices = False
                return self._once(running, messages, request)
            reason = Errors.E407.format(status=status, reason=redact(_first_line(error), running.key))
            again = worth_another_try(status, code)
            pause = retry_after(error.response.headers) if again else None
            raise CallFailed(reason, again=again, pause=pause, refused=status in (401, 403)) from None
        except openai.APITimeoutError:
            raise CallFailed(f"no answer within {self.timeout:g} seconds", again=True) from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            reason = redact(f"connection failed: {type(cause).__name__}: {cause}", running.key)
            raise CallFailed(reason, again=True) from None
        except (openai.APIResponseValidationError, ValueError, UnicodeError) as error:
            reason = redact(f"the answer is not what the protocol says: {_first_line(error)}", running.key)
            raise CallFailed(reason, again=True) from None

    def _message(self, message: Message) -> Dict[str, Any]:
        if not message.images:
            return {"role": message.role, "content": message.text}
        parts: List[Dict[str, Any]] = [{"type": "image_url", "image_url": {"url": self._data_url(image)}} for image in message.images]
        return {"role": message.role, "content": [*parts, {"type": "text", "text": message.text}]}

    def _data_url(self, image: ImageRef) -> str:
        from PIL import Image

        picture = Image.fromarray(read_image(image.source))
        picture.thumbnail((self.max_image_side, self.max_image_side))
        buffer = io.BytesIO()
        picture.save(buffer, format="JPEG", quality=90)
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
        address = chat.base_url or os.environ.get("OPENAI_BASE_URL") or None
        if self.key is None and address is None:
            raise CallFailed(Errors.E403.format(name=chat.api_key_env, url="api.openai.com"), again=False)
        # Retries are ours: those of the package wait in each thread alone and ignore a Retry-After of more than a minute.
        self.client = openai.OpenAI(api_key=self.key or "none", base_url=address, timeout=chat.timeout, max_retries=0)
        self.pool = ThreadPoolExecutor(chat.concurrency, thread_name_prefix="rivega-chat")
        self.pace = Pace(chat.requests_per_minute, chat.tokens_per_minute, clock=chat.clock, sleep=chat.sleep)
        self.refused = ""
        self.gives_choices = True


def _read_reply(reply: Any, request: ChatRequest, key: Optional[str]) -> Answer:
    """The answer in a reply, or CallFailed where the reply is not one (some servers answer 200 with an error page)."""
    choices = reply.get("choices") if isinstance(reply, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise CallFailed("the reply holds no answer", again=True)
    text, finish = message.get("content"), str(choice.get("finish_reason") or "stop")[:40]
    if not isinstance(text, str):
        raise CallFailed(f"the reply holds no text (finish_reason {finish!r})", again=finish not in ("content_filter", "tool_calls"))
    prompt_tokens, answer_tokens = _usage(reply, request, text)
    text = blank_key(text, key)
    choices = read_choices(choice.get("logprobs")) if request.alternatives else ()
    return Answer(text, finish=finish, input_tokens=prompt_tokens, output_tokens=answer_tokens, choices=choices)


def _usage(reply: Dict[str, Any], request: ChatRequest, text: str) -> Tuple[int, int]:
    """Tokens as the server counted them, or an estimate where it did not."""
    usage = reply.get("usage")
    counts = [usage.get(name) if isinstance(usage, dict) else None for name in ("prompt_tokens", "completion_tokens")]
    if all(isinstance(count, int) and count >= 0 for count in counts):
        return counts[0], counts[1]
    return request.prompt_tokens(), max(1, len(text.encode("utf8", "replace")) // 4)


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
