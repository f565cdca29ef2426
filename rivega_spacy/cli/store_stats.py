"""`rivega store stats`: what an answer store holds."""

from pathlib import Path
from typing import Annotated

import typer

from .saying import say

EXAMPLES = ("rivega store stats answers.sqlite",)


def run(store: Annotated[Path, typer.Argument(help="The answer store.")]) -> int:
    """RETURNS (int): 0."""
    from ..llm.store import open_store

    with open_store(store) as answers:
        rows = answers.stats()
    for row in rows:
        say("{model}\t{prompt}\t{answers} answers\t{input_tokens} tokens in\t{output_tokens} out\n".format(**row))
    say(f"{sum(row['answers'] for row in rows)} answers in {store}\n")
    return 0
