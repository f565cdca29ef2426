"""`rivega store export`: the answers of a store as JSON lines."""

from pathlib import Path
from typing import Annotated

import typer

from .saying import say

EXAMPLES = ("rivega store export answers.sqlite answers.jsonl", "rivega store export answers.sqlite qwen.jsonl --source qwen")


def run(
    store: Annotated[Path, typer.Argument(help="The answer store.")],
    out: Annotated[Path, typer.Argument(help="The JSON lines.")],
    source: Annotated[str | None, typer.Option("--source", help="Only the answers of this model.")] = None,
) -> int:
    """RETURNS (int): 0."""
    from ..llm.store import open_store
    from ..post.files import check_output

    check_output(out, inputs=[store])
    with open_store(store) as answers:
        count = answers.export(out, model=source)
    say(f"{count} answers -> {out}\n")
    return 0
