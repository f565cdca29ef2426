"""`rivega data more-texts POSTS OUT`: the training lines of WNUT-17, the Broad Twitter Corpus and CoNLL-2003."""

from pathlib import Path
from typing import Annotated

import typer

from .saying import say

EXAMPLES = ("rivega data more-texts ../data/posts corpus/texts",)


def run(
    posts: Annotated[Path, typer.Argument(help="Folder of compact JSON lines.")],
    output: Annotated[Path, typer.Argument(help="Folder to write.")],
) -> int:
    """RETURNS (int): 0."""
    from ..corpus.more_texts import FILES, training_rows
    from ..post.files import check_output_folder
    from ..post.jsonl import write_lines

    check_output_folder(output, inputs=[posts])
    for corpus in FILES:
        path = output / f"{corpus}.jsonl"
        say(f"{write_lines(path, training_rows(posts, corpus))} texts of {corpus} -> {path}\n")
    return 0
