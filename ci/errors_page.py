"""Write docs/errors.md: every message with its code, where it is raised and what to do, read from the tables and the sources.

python ci/errors_page.py [FILE]
"""

import re
import sys
from collections import defaultdict
from pathlib import Path
from string import Formatter

from rivega_spacy.post import errors
from rivega_spacy.post.errors import Errors
from rivega_spacy.post.errors.messages import CODE

TABLE = Path(errors.__file__).parent
PACKAGE = TABLE.parents[1]
PAGE = Path(__file__).resolve().parents[1] / "docs" / "errors.md"
_USE = re.compile(rf"\bErrors\.({CODE.pattern})\b")
# A sentence ends, and the next begins with a capital, a name in backquotes or a value to fill in.
_SENTENCE = re.compile(r"(?<=[.?!])\s+(?=[A-Z`{])")
_HEAD = """# Messages

Every error, warning and note on a post begins with a code, and this page lists them all. `{...}` stands for what a message fills in.
Codes of spaCy look the same: an error of this package is a `RivegaError` (below), and its warnings name one of its modules.

```
%s
```

Notes on posts are in `doc._.rivega_errors`, as `component` and `message`; `rivega annotate` writes them under `errors`. A warning is
silenced by its code: `warnings.filterwarnings("ignore", message=r"\\[W091\\]")`. Tracebacks of what failed on a post go to the logger
`rivega_spacy`. This page is written by `python ci/errors_page.py`.
"""


def error_page() -> str:
    """The page, in Markdown: one section a room, one row a code."""
    where = uses()
    parts = [_HEAD % "\n".join(line.removeprefix("    ") for line in (errors.__doc__ or "").split("\n\n")[1].splitlines())]
    for table in Errors.__bases__:
        rows = [_row(code, text, where[code]) for code, text in vars(table).items() if CODE.fullmatch(code)]
        head = "| Code | Message | What to do | Raised in |\n|---|---|---|---|\n"
        parts.append(f"## {(table.__doc__ or '').rstrip('.')}\n\n{head}" + "".join(rows))
    return "\n".join(parts)


def uses() -> dict[str, list[str]]:
    """Modules of the package that use each code."""
    found = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.parent != TABLE:
            for code in sorted(set(_USE.findall(path.read_text(encoding="utf8")))):
                found[code].append(path.relative_to(PACKAGE).as_posix())
    return found


def split(message: str) -> tuple[str, str]:
    """What was wrong, and what to do: the first sentence of a message without its code, and the others."""
    text = message.split("] ", 1)[1]
    parts = _SENTENCE.split(text, maxsplit=1)
    if len(parts) == 1:  # reasons within other messages are no sentences
        parts = text.split("; ", 1)
    return parts[0], parts[1] if len(parts) > 1 else ""


def _row(code: str, message: str, modules: list[str]) -> str:
    what, remedy = (_plain(part).replace("|", "\\|") for part in split(message))
    return f'| <a id="{code.lower()}"></a>{code} | {what} | {remedy} | {", ".join(f"`{name}`" for name in modules)} |\n'


def _plain(text: str) -> str:
    """Without the format of what is filled in: `{value!r}` is {value}, `{{` is a brace."""
    pieces = []
    for literal, field, _, _ in Formatter().parse(text):
        pieces.append(literal if field is None else f"{literal}{{{field}}}")
    return "".join(pieces)


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else PAGE).write_text(error_page(), encoding="utf8")
