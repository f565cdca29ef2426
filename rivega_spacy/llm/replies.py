"""Replies in OpenAI's protocol as servers really send them: the answer, what it cost, or the error that stands in its place."""

import json
import re
from collections.abc import Iterable
from typing import Any

from ..post.errors import Errors
from .base import NO_ANSWER, Answer, ChatRequest
from .choices import read_choices
from .retries import CallFailed, worth_another_try
from .secrets import blank_key, redact
from .thoughts import named_thought

# Other words for "length", and how a reply ends that a filter stopped or that broke off.
_LENGTH = {"max_tokens", "max_output_tokens", "model_length", "max_length", "token_limit", "model_context_window_exceeded"}
_FILTERED = {"content_filter", "safety", "sensitive", "refusal", "blocked", "blocklist", "prohibited_content", "recitation", "spii"}
_BROKEN = {"error", "abort", "network_error", "insufficient_system_resource"}
# Errors without a status say what they are in their code, their type or their words.
_PASSING = re.compile(
    r"(?i)rate.?limit|too.?many|overload|unavailable|time.?d?.?out|server.?error|internal|busy|capacity|try.?again|later"
)
_LASTING = re.compile(
    r"(?i)invalid|not.?found|unsupported|not.?supported|quota|billing|credit|payment|denied|forbidden|unauthori[sz]ed|authenticat|permission|"
    r"context.?length|too.?long|bad.?request|moderat|policy|filter|no.?auth"
)
_KEY_REFUSED = re.compile(r"(?i)invalid.?api.?key|authenticat|unauthori[sz]ed")
_LONGEST_REASON = 300
Usage = tuple[int, int]


def read_reply(reply: Any, request: ChatRequest, key: str | None, *, pause: float | None = None) -> Answer:
    """The answer in a reply.

    reply (Any): The reply's JSON; text where the server did not say that it is JSON.
    request (ChatRequest): What was asked.
    key (Optional[str]): The key in use, blanked should the server echo it.
    pause (Optional[float]): Seconds that the reply's headers ask to wait.
    RETURNS (Answer): Text, or a final answer without: the limit cut its thought, the model refused, a filter stopped it.
    RAISES (CallFailed): If the reply is no answer: an error with status 200, a page, nothing at all.
    """
    reply = _parsed(reply)
    choices = reply.get("choices") if isinstance(reply, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    message = choice.get("message")
    usage = stated_usage(reply, choice)
    error = _error_within(reply, choice)
    if error is not None:
        raise read_error(error, key=key, usage=usage, pause=pause)
    if not isinstance(message, dict):
        raise CallFailed("the reply holds no answer", again=True, usage=usage)
    finish = str(choice.get("finish_reason") or "stop").lower()[:40]
    finish = "length" if finish in _LENGTH else finish
    if finish in _BROKEN:
        raise CallFailed(f"the server broke off its answer (finish_reason {finish!r})", again=True, usage=usage)
    text, refusal = _text(message.get("content")), _refusal(message)
    kind = _without_text(text, finish, message, refusal)
    if kind is None and text is None:
        raise CallFailed(
            f"the reply holds no text (finish_reason {finish!r})", again=True, usage=usage or _estimate(request, "", finish)
        )
    thought = "".join(str(message[name]) for name in named_thought(message))
    used = usage or _estimate(request, (text or "") + thought, finish)
    if kind is not None:
        words = f": {_short(refusal, key)!r}" if refusal else ""
        reason = Errors.E768.format(words=words) if kind == "refusal" else NO_ANSWER[kind]
        return Answer(None, error=reason, finish=kind, input_tokens=used[0], output_tokens=used[1], final=True)
    told = read_choices(choice.get("logprobs")) if request.alternatives else ()
    return Answer(blank_key(text or "", key), finish=finish, input_tokens=used[0], output_tokens=used[1], choices=told)


def read_error(
    error: Any, *, status: int | None = None, key: str | None = None, usage: Usage | None = None, pause: float | None = None
) -> CallFailed:
    """What an error of a server means for the question.

    error (Any): The error's JSON, or words.
    status (Optional[int]): Of HTTP, where it says more than 200.
    key, usage, pause: See `read_reply` and `CallFailed`.
    """
    fields: dict[str, Any] = error if isinstance(error, dict) else {}
    code = next((fields[name] for name in ("code", "status", "type") if fields.get(name) not in (None, "")), None)
    if status is None:
        status = next(filter(None, (_status(fields.get(name)) for name in ("code", "status", "status_code", "http_status"))), None)
    words = _words(error)
    told = " ".join(str(fields.get(name) or "") for name in ("code", "type"))
    if status is not None:
        again = worth_another_try(status, "insufficient_quota" if "insufficient_quota" in told else None)
    else:
        passing, lasting = (bool(rule.search(told) or rule.search(words)) for rule in (_PASSING, _LASTING))
        again = passing or not lasting
    moderated = isinstance(fields.get("metadata"), dict) and (
        "flagged_input" in fields["metadata"] or "reasons" in fields["metadata"]
    )
    refused = (
        status == 401 or (status == 403 and not moderated) or (status is None and not again and bool(_KEY_REFUSED.search(told)))
    )
    said = status if status is not None else (str(code) if code is not None else "that it failed")
    reason = Errors.E407.format(status=_short(str(said), key), reason=_short(words, key))
    return CallFailed(reason, again=again, pause=pause if again else None, refused=refused, usage=usage)


def stated_usage(*places: Any) -> Usage | None:
    """Tokens of prompt and answer as a server counted them; None if it counted none.

    places (Any): Where `usage` may stand: the reply, its error, its first choice.
    """
    for place in places:
        usage = place.get("usage") if isinstance(place, dict) else None
        if not isinstance(usage, dict):
            continue
        prompt, answer = _count(usage, "prompt_tokens", "input_tokens"), _count(usage, "completion_tokens", "output_tokens")
        total = _count(usage, "total_tokens")
        if prompt is None and answer is None and total is None:
            continue
        if prompt is None:
            prompt = max(0, (total or 0) - (answer or 0)) if answer is not None else total or 0
        # Some count the tokens of thoughts in the total alone.
        return prompt, max(answer or 0, (total or 0) - prompt)
    return None


def _parsed(reply: Any) -> Any:
    if isinstance(reply, str):
        try:
            return json.loads(reply)
        except (ValueError, RecursionError):
            return None
    return reply


def _error_within(reply: Any, choice: dict[str, Any]) -> Any:
    """An error in a reply whose status says that there is none."""
    if not isinstance(reply, dict):
        return None
    error = reply.get("error") or choice.get("error")
    if (
        not error
        and not choice
        and (reply.get("object") == "error" or any(reply.get(name) for name in ("detail", "message", "msg", "errors")))
    ):
        error = reply
    if isinstance(error, dict) and error is not reply:
        # A code beside the error says what one within it does.
        beside = {
            name: reply[name]
            for name in ("code", "status", "status_code")
            if not isinstance(reply.get(name), (dict, list, type(None)))
        }
        return {**beside, **{name: value for name, value in error.items() if value is not None}}
    return error or None


def _words(error: Any) -> str:
    """What an error says, in its own words; OpenRouter hands on those of the server behind it as `metadata.raw`."""
    if isinstance(error, dict):
        said = [error.get(name) for name in ("message", "msg", "detail", "error", "errors", "reason", "error_description")]
        words = next((value if isinstance(value, str) else json.dumps(value) for value in said if value), "") or json.dumps(error)
        metadata = error.get("metadata")
        raw = metadata.get("raw") if isinstance(metadata, dict) else None
        words = f"{words} ({raw})" if isinstance(raw, str) and raw else words
    else:
        words = error if isinstance(error, str) else json.dumps(error)
    return words


def _short(words: str, key: str | None) -> str:
    """One line of bounded length; keys go first, so that none is cut and its half left."""
    return " ".join(redact(words[:20_000], key).split())[:_LONGEST_REASON]


def _status(value: Any) -> int | None:
    text = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    return int(text) if re.fullmatch(r"[1-5]\d\d", text) else None


def _text(content: Any) -> str | None:
    """Content as a text: itself, or the texts of its parts; parts of other kinds (thinking, reasoning) are none."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else None
    found = list(filter(None, map(_part, content)))
    return "".join(found) if found else None


def _part(part: Any) -> str | None:
    if isinstance(part, dict) and part.get("type", "text") in ("text", "output_text"):
        text = part.get("text", part.get("content"))
        part = text.get("value") if isinstance(text, dict) else text
    return part if isinstance(part, str) else None


def _refusal(message: dict[str, Any]) -> str:
    content = message.get("content")
    parts: Iterable[Any] = content if isinstance(content, list) else ()
    said = [
        message.get("refusal"),
        *(part.get("refusal") for part in parts if isinstance(part, dict) and part.get("type") == "refusal"),
    ]
    return next((words for words in said if isinstance(words, str) and words.strip()), "")


def _without_text(text: str | None, finish: str, message: dict[str, Any], refusal: str) -> str | None:
    """Which final answer without text it is (`NO_ANSWER`); None if there is text, or may be at the next try."""
    if refusal:
        return "refusal"
    if finish in _FILTERED:
        return "content_filter"
    if text is not None and text.strip():
        return None
    if finish == "length":
        return "length"
    if message.get("tool_calls") or message.get("function_call") or finish in ("tool_calls", "function_call"):
        return "tool_calls"
    content = message.get("content")
    parts = content if isinstance(content, list) else ()
    thinks = any(isinstance(part, dict) and part.get("type") in ("thinking", "reasoning") for part in parts)
    return "reasoning" if thinks or named_thought(message) else None


def _count(usage: dict[str, Any], *names: str) -> int | None:
    for name in names:
        value = usage.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 2**53:
            return int(value)
    return None


def _estimate(request: ChatRequest, text: str, finish: str) -> Usage:
    """Tokens where the server counted none: four bytes each, or the limit where it was reached."""
    size = max(1, len(text.encode("utf8", "replace")) // 4)
    return request.prompt_tokens(), max(size, request.max_tokens) if finish == "length" else size
