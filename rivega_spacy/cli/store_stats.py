"""`rivega store stats`: what an answer store holds."""

import sys
from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = ("rivega store stats answers.sqlite",)


def run(store: Annotated[Path, typer.Argument(help="The answer store.")]) -> int:
    """RETURNS (int): 0."""
    from ..llm.store import open_store

    with open_store(store) as answers:
        rows = answers.stats()
    for row in rows:
        sys.stdout.write("{model}\t{prompt}\t{answers} answers\t{input_tokens} tokens in\t{output_tokens} out\n".format(**row))
    sys.stdout.write(f"{sum(row['answers'] for row in rows)} answers in {store}\n")
    return 0
