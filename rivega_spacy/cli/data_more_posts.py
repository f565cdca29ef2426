"""`rivega data more-posts POSTS OUT.jsonl`: Extract Twitter-2015 and -2017 posts that are in no split of Twitter-GMNER."""

from pathlib import Path
from typing import Annotated

import typer

from .saying import say

EXAMPLES = ("rivega data more-posts ../data/posts corpus/more.jsonl",)


def run(
    posts: Annotated[Path, typer.Argument(help="Folder of compact JSON lines.")],
    output: Annotated[Path, typer.Argument(help="The JSON lines.")],
) -> int:
    """RETURNS (int): 0."""
    from ..corpus.more_posts import more_posts
    from ..post.files import check_output
    from ..post.jsonl import write_lines

    check_output(output, inputs=sorted(posts.glob("*")))
    rows = list(more_posts(posts))
    write_lines(output, rows)
    again = sum(row["id"].endswith("-mix") for row in rows)
    say(f"{len(rows) - again} posts more, {again} training posts again with other knowledge -> {output}\n")
    return 0
