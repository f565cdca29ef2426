"""`rivega stats DATA`: what the posts hold, counted as the paper's Tables II and III and Figure 4 count it."""

from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson
from .saying import say

EXAMPLES = (
    "rivega stats corpus",
    "rivega stats corpus --candidates candidates.jsonl --json",
)
MORE_HELP = "Twitter-2015 and -2017 are counted too if DATA has them in folders 2015/ and 2017/."


def run(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Folder with train.spacy, dev.spacy and test.spacy, from `rivega convert`.")
    ],
    candidates: Annotated[
        list[Path],
        typer.Option("--candidates", help="Boxes of a detector (`rivega candidates`): entities that it misses; may be repeated."),
    ] = [],
    iou: Annotated[float, typer.Option("--iou", help="What counts as found by the detector.")] = 0.5,
    test: Annotated[Path | None, typer.Option("--test", help="The test posts.", show_default="DATA/test.spacy")] = None,
    output: Annotated[Path | None, typer.Option("--output", help="Write the counts as JSON.")] = None,
    as_json: AsJson = False,
) -> int:
    """Count. RETURNS (int): 0."""
    import json

    from ..jobs.count_data import count_data
    from ..post.files import check_output, write_json
    from ..scoring.statistics import lines

    if output is not None:
        check_output(output, inputs=[*candidates, test, *data.glob("*.spacy")])
    result = count_data(data, test=test, candidates=candidates, iou=iou)
    say((json.dumps(result, ensure_ascii=False) if as_json else "\n".join(lines(result))) + "\n")
    if output is not None:
        write_json(output, result)
    return 0
