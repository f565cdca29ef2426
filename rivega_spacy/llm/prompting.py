"""Prompts: one readable file each, filled in a way that what is filled in cannot change their structure."""

import hashlib
import re
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from ..post.errors import Errors, RivegaError
from ..post.textfiles import read_text
from .base import ImageRef, Message
from .safety import CLOSE, OPEN, SAFETY_VERSION, clean_untrusted, quote

FOLDER = Path(__file__).with_name("prompts")
# Bump it when `Prompt.render` changes.
RENDER_VERSION = "1"
_SECTION = re.compile(r"^\[\[(system|example|user|user image)\]\]\s*$")
_FIELD = re.compile(r"\{(\w+)\}")
# Longest a field may be, in characters; the longest posts have some 300, descriptions some 2,000.
LIMITS = {"text": 2000, "caption": 600, "background": 2500, "entity": 150, "label": 40, "answer": 3000}
# What an example says in answer is written by the user: it stands without delimiters, on one line.
PLAIN = {"answer"}


class Prompt:
    """One prompt.

    name (str): "caption", "description", "knowledge", "expansion" or "again".
    source (str): Text of the file.
    fields (Sequence[str]): What can be filled in.
    path (str): The file's name, for errors.
    """

    def __init__(self, name: str, source: str, fields: Sequence[str], *, path: str = "") -> None:
        self.name = name
        self.source = source
        self.fields = tuple(fields)
        self.path = path or name
        self.sections, self.with_image = _parse(source, self.path)
        for section, text in self.sections.items():
            known = set(fields) | (PLAIN if section == "example" else set())
            unknown = set(_FIELD.findall(text)) - known
            if unknown:
                self._fail(
                    f"uses {{{sorted(unknown)[0]}}} in [[{section}]], which is not among {', '.join(sorted(known)) or 'nothing'}"
                )
            if section != "system" and (OPEN in text or CLOSE in text):
                self._fail(f"writes {OPEN} or {CLOSE} in [[{section}]]; they are put around each field by themselves")
        if "user" not in self.sections:
            self._fail("has no [[user]] section")
        mark = "\0".join((RENDER_VERSION, SAFETY_VERSION, name, source))
        self.version = hashlib.sha256(mark.encode("utf8")).hexdigest()[:16]

    def render(
        self,
        values: Mapping[str, str],
        *,
        examples: Sequence[Mapping[str, str]] = (),
        image: ImageRef | None = None,
    ) -> tuple[Message, ...]:
        """The messages.

        values (Mapping[str, str]): Field -> text from outside; all of it is cleaned, and delimited, here.
        examples (Sequence[Mapping[str, str]]): Values of the [[example]] section, once each, in this order.
        image (Optional[ImageRef]): Shown where the prompt has [[user image]].
        RETURNS (Tuple[Message, ...]): System and user message; examples open the user message, as in the paper.
        """
        messages: list[Message] = []
        if "system" in self.sections:
            messages.append(Message("system", _fill(self.sections["system"], values)))
        block = self.sections.get("example", "")
        body = "".join(_example(block, tuple(example.items())) for example in examples) + _fill(self.sections["user"], values)
        messages.append(Message("user", body, (image,) if self.with_image and image is not None else ()))
        return tuple(messages)

    def _fail(self, reason: str) -> None:
        raise RivegaError(Errors.E415.format(path=self.path, reason=reason))


def load_prompt(name: str, fields: Sequence[str], override: str | None = None) -> Prompt:
    """A prompt of the package, or the user's in its place.

    name (str): Of the package's file, without ".txt".
    fields (Sequence[str]): What can be filled in.
    override (Optional[str]): The user's file.
    RAISES (RivegaError): E020 if the file is missing, E415 if it is wrong.
    """
    path = FOLDER / f"{name}.txt" if override is None else Path(override)
    if not path.is_file():
        raise RivegaError(Errors.E020.format(path=path))
    return Prompt(name, read_prompt(path), fields, path=str(path))


def read_prompt(path: Path) -> str:
    """The text of a prompt file. RAISES (RivegaError): E415 if it is none."""
    try:
        return read_text(path)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise RivegaError(Errors.E415.format(path=path, reason=f"cannot be read as text ({error})")) from error


def load_reminder() -> str:
    """What is said after an answer that could not be used."""
    return load_prompt("again", ()).render({})[-1].text


def _parse(source: str, path: str) -> tuple[dict[str, str], bool]:
    sections: dict[str, list[str]] = {}
    seen: set[str] = set()
    current: str | None = None
    with_image = False
    for line in source.splitlines():
        match = _SECTION.match(line)
        if match:
            with_image = with_image or match.group(1) == "user image"
            current = match.group(1).split()[0]
            if current in seen:
                raise RivegaError(Errors.E415.format(path=path, reason=f"has two sections [[{current}]]"))
            seen.add(current)
            sections[current] = []
        elif current is not None:
            sections[current].append(line)
        elif line.strip() and not line.startswith("#"):
            raise RivegaError(Errors.E415.format(path=path, reason=f"has text before the first section: {line[:40]!r}"))
    # An example block keeps its last empty line: it parts it from the next one.
    texts = {name: "\n".join(lines).strip("\n") + ("\n\n" if name == "example" else "") for name, lines in sections.items()}
    return texts, with_image


@lru_cache(maxsize=1024)
def _example(block: str, values: tuple[tuple[str, str], ...]) -> str:
    """An [[example]] section; the same examples stand in many prompts."""
    return _fill(block, dict(values))


def _fill(text: str, values: Mapping[str, str]) -> str:
    """All fields in one pass, so that braces within a value mean nothing."""

    def one(match: "re.Match[str]") -> str:
        name = match.group(1)
        value, limit = values.get(name) or "", LIMITS.get(name, 1000)
        return clean_untrusted(value, limit) if name in PLAIN else quote(value, limit)

    return _FIELD.sub(one, text)
