"""`rivega pipeline average OUT PIPELINE PIPELINE ...`: the mean of several runs from one start."""

from pathlib import Path
from typing import Annotated

import typer

from .saying import say

EXAMPLES = ("rivega pipeline average training/ner_mean training/ner_1/model-best training/ner_2/model-best",)


def run(
    output: Annotated[Path, typer.Argument(help="Folder to write.")],
    pipelines: Annotated[list[str], typer.Argument(help="Runs of one config and one start; all but weights comes from the first.")],
) -> int:
    """RETURNS (int): 0."""
    from ..pipes.loading import load_pipeline
    from ..post.files import check_output_folder, open_output_folder
    from ..training.averaging import average

    check_output_folder(output, inputs=pipelines)
    mean = average([load_pipeline(each) for each in pipelines])
    with open_output_folder(output) as folder:
        mean.to_disk(folder)
    say(f"mean of {len(pipelines)} pipelines -> {output}\n")
    return 0
