"""`rivega data swap-mentions OUT.jsonl POSTS...`: training posts again with other names in them."""

from pathlib import Path
from typing import Annotated

import typer

from .saying import say

EXAMPLES = ("rivega data swap-mentions corpus/swapped.jsonl ../data/posts/twitter_gmner_train.jsonl.gz corpus/more.jsonl --seed 2",)


def run(
    output: Annotated[Path, typer.Argument(help="The JSON lines.")],
    posts: Annotated[list[Path], typer.Argument(help="Training posts only, so that names in dev and test stay unseen.")],
    share: Annotated[float, typer.Option("--share", help="Share of the entities to rename.")] = 0.5,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the choice.")] = 1,
) -> int:
    """RETURNS (int): 0."""
    from ..corpus.swap_mentions import swapped
    from ..post.files import check_output
    from ..post.jsonl import write_lines

    check_output(output, inputs=posts)
    rows, total = swapped(posts, share=share, seed=seed)
    say(f"{write_lines(output, rows)} of {total} posts with other names -> {output}\n")
    return 0
