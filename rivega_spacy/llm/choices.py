"""What a model could have said instead: each token of an answer with its likeliest alternatives and their log-probabilities."""

import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

_LETTERS = re.compile(r"[^\W\d_]+")


class TokenChoice(NamedTuple):
    """One token of an answer.

    token (str): As it stands in the answer.
    options (Dict[str, float]): Log-probabilities of the tokens that could have stood there, itself among them, natural logarithm.
    """

    token: str
    options: dict[str, float]


Choices = tuple[TokenChoice, ...]


def read_choices(logprobs: Any) -> Choices:
    """From the field `logprobs` of a reply of OpenAI's protocol; empty if the server sent none, or something else.

    logprobs (Any): {"content": [{"token": str, "logprob": float, "top_logprobs": [{"token": str, "logprob": float}, ...]}, ...]}.
    """
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    found = []
    for item in content if isinstance(content, list) else ():
        if not isinstance(item, dict) or not isinstance(item.get("token"), str):
            return ()
        top = item.get("top_logprobs")
        options = _options([*(top if isinstance(top, list) else ()), item])
        found.append(TokenChoice(item["token"], options))
    return tuple(found)


def dump_choices(choices: Choices) -> str:
    """As text for the answer store; "" if there are none."""
    return json.dumps([[token, options] for token, options in choices], ensure_ascii=True) if choices else ""


def load_choices(text: str) -> Choices:
    """What `dump_choices` wrote; empty if the text is something else."""
    try:
        rows = json.loads(text) if text else []
        return tuple(TokenChoice(str(token), {str(k): float(v) for k, v in options.items()}) for token, options in rows)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return ()


def odds_at(choices: Choices, text: str, start: int, first: Sequence[str], second: Sequence[str]) -> float | None:
    """How likely one group of words was against another at a place of an answer.

    choices (Choices): Of the answer's tokens.
    text (str): The answer, or the part of it that is not thought.
    start (int): Where in it the word begins.
    first (Sequence[str]), second (Sequence[str]): Lower-case words. A token counts for a word that begins with the token's letters,
        so that "Yes", '"yes' and "ye" are all yes.
    RETURNS (Optional[float]): p(first) / (p(first) + p(second)); None if the tokens are not those of the text, or none counts.
    """
    whole = "".join(choice.token for choice in choices)
    # Servers strip the text they return, but not its tokens; and thoughts, which come first, may say the same word.
    place = whole.rfind(text)
    if place < 0 or not choices:
        return None
    end = 0
    for choice in choices:
        begin, end = end, end + len(choice.token)
        if end > place + start:
            break
    # What stands in the same token before the word, a quotation mark or a space, stands in the alternatives as well.
    if any(character.isalnum() for character in choice.token[: place + start - begin]):
        return None
    shares = [0.0, 0.0]
    for token, value in choice.options.items():
        letters = _LETTERS.search(token)
        for group, words in enumerate((first, second)):
            if letters and any(word.startswith(letters[0].lower()) for word in words):
                shares[group] += math.exp(min(0.0, value))
    return shares[0] / sum(shares) if sum(shares) > 0 else None


def _options(items: Iterable[Any]) -> dict[str, float]:
    options: dict[str, float] = {}
    for item in items:
        token, value = (item.get("token"), item.get("logprob")) if isinstance(item, dict) else (None, None)
        if isinstance(token, str) and isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value):
            # JSON has no infinity: some servers send -9999 for it.
            options[token] = round(max(-9999.0, min(0.0, float(value))), 6)
    return options
