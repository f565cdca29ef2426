"""`rivega store import`: answers that were exported, taken over into a store."""

from pathlib import Path
from typing import Annotated

import typer

from .saying import say, warn

EXAMPLES = ("rivega store import answers.sqlite answers.jsonl.gz",)


def run(
    store: Annotated[Path, typer.Argument(help="The answer store; created if it does not exist.")],
    lines: Annotated[Path, typer.Argument(help="The JSON lines (may be .gz).")],
) -> int:
    """RETURNS (int): 0, or 1 if lines were refused."""
    from ..llm.store import open_store
    from ..post.files import check_input

    check_input(lines)
    with open_store(store, make=True) as answers:
        new, known, wrong = answers.import_file(lines)
    for line in wrong:
        warn(line + "\n")
    say(f"{new} answers imported, {known} were there already, {len(wrong)} lines refused\n")
    return 1 if wrong else 0
