"""The small interface that all language models share: a request in, the future of an answer out."""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from ..post.errors import Errors
from ..post.image_sources import read_source
from ..post.images import image_for_storage
from .choices import Choices


@dataclass(frozen=True)
class ImageRef:
    """A picture that goes with a message; it is opened only when the question is really asked.

    source (Union[str, bytes]): A path or an encoded picture, as `doc._.image` returns it.
    digest (str): SHA-256 of the encoded picture: equal on every machine, whatever the file is called.
    """

    source: str | bytes
    digest: str


@dataclass(frozen=True)
class Message:
    """One turn of a chat.

    role (str): "system" or "user".
    text (str): What is said.
    images (Tuple[ImageRef, ...]): Pictures shown with it.
    """

    role: str
    text: str
    images: tuple[ImageRef, ...] = ()


@dataclass(frozen=True)
class ChatRequest:
    """One question.

    messages (Tuple[Message, ...]): The full prompt.
    max_tokens (int): Length limit of the answer.
    prompt (str): Which prompt it is made from: "caption", "description", "knowledge" or "expansion".
    version (str): Version of that prompt, from its text and from the code that fills it.
    post (str), entity (str): What it is about: for recorded answers and for people who read the store; no part of the key.
    attempt (int): 0, or 1 where the first answer was not usable.
    alternatives (int): So many alternatives of every token of the answer are asked for, with their probabilities; 0 for none.
    """

    messages: tuple[Message, ...]
    max_tokens: int
    prompt: str
    version: str
    post: str = ""
    entity: str = ""
    attempt: int = 0
    alternatives: int = 0

    def again(self, reminder: str) -> "ChatRequest":
        """The same question once more, with a reminder of how to answer."""
        last = self.messages[-1]
        messages = (*self.messages[:-1], replace(last, text=f"{last.text}\n\n{reminder}"))
        return replace(self, messages=messages, attempt=self.attempt + 1)

    def tokens(self) -> int:
        """What it will cost at most, roughly: four bytes of prompt a token, 800 tokens a picture, and the whole answer."""
        return self.prompt_tokens() + self.max_tokens

    def prompt_tokens(self) -> int:
        """The prompt's share of `tokens`."""
        size = sum(len(message.text.encode("utf8", "replace")) // 4 + 800 * len(message.images) + 8 for message in self.messages)
        return max(1, size)


@dataclass(frozen=True)
class Answer:
    """What came back.

    text (Optional[str]): The answer as the model wrote it, or None.
    error (str): Why there is none; "" if there is one.
    finish (str): "stop", or "length" where the limit cut it; where a final answer has no text, one of `NO_ANSWER`.
    input_tokens (int), output_tokens (int): As the server counted them over all tries, or estimated where it did not.
    cached (bool): Whether it came from the store.
    choices (Choices): Its tokens with their alternatives, where they were asked for and the model gives them.
    final (bool): The model did answer, there is no text in it, and the same question would come to the same: it is kept like an answer.
    """

    text: str | None
    error: str = ""
    finish: str = "stop"
    input_tokens: int = 0
    output_tokens: int = 0
    cached: bool = False
    choices: Choices = ()
    final: bool = False


# How an answer without text can finish, and what is said about it then.
NO_ANSWER = {
    "length": Errors.E764,
    "reasoning": Errors.E765,
    "refusal": Errors.E768.format(words=""),
    "content_filter": Errors.E769,
    "tool_calls": Errors.E770,
}


def kept_answer(text: str, finish: str, **values: Any) -> Answer:
    """An answer as it was recorded.

    text (str), finish (str): An empty text with a finish of `NO_ANSWER` is a final answer without text.
    values: Further fields of the answer.
    """
    if not text.strip() and finish in NO_ANSWER:
        return Answer(None, error=NO_ANSWER[finish], finish=finish, final=True, **values)
    return Answer(text, finish=finish, **values)


@runtime_checkable
class LanguageModel(Protocol):
    """What `rivega.OpenAIChat.v1` and the others return.

    name (str): The source's name, for people and for the store.
    recorded (bool): True if the answers were recorded earlier; they are not stored again.
    """

    name: str
    recorded: bool

    def identity(self) -> dict[str, Any]:
        """Everything but the prompt that shapes its answers, as JSON values; part of the store's key."""

    def submit(self, requests: Sequence[ChatRequest]) -> list["Future[Answer]"]:
        """Begin to answer. A future never raises: what goes wrong is an Answer with `error`."""

    def close(self) -> None:
        """Let go of threads and connections."""


def image_ref(value: Any) -> ImageRef:
    """A picture ready for a message.

    value (Union[str, Path, bytes]): What `doc._.image` returns.
    RETURNS (ImageRef): With the digest of its content.
    RAISES (ImageError): As `read_source`: if it is missing, empty, too large or no file.
    """
    source = image_for_storage(value)
    return ImageRef(source, hashlib.sha256(read_source(source)).hexdigest())


def prompt_key(request: ChatRequest) -> str:
    """Hash of the question alone, whoever answers it: 64 hexadecimal digits."""
    messages = [[message.role, message.text, [image.digest for image in message.images]] for message in request.messages]
    # Questions without alternatives keep the key they had before there were any.
    wanted = [{"alternatives": request.alternatives}] if request.alternatives else []
    return _digest([messages, request.max_tokens, request.prompt, request.version, request.attempt, *wanted])


def answer_key(identity: dict[str, Any], question: str) -> str:
    """Hash of everything that shapes an answer: 64 hexadecimal digits.

    identity (Dict[str, Any]): Of the model.
    question (str): From `prompt_key`.
    """
    return _digest([identity, question])


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def finished(answer: Answer) -> "Future[Answer]":
    """A future that is done."""
    future: Future[Answer] = Future()
    future.set_result(answer)
    return future
