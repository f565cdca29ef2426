"""`rivega pipeline to-bioes PIPELINE OUT`: a tagger with BIO tags as one with BIOES tags that says the same."""

from pathlib import Path
from typing import Annotated

import typer

from .saying import say

EXAMPLES = ("rivega pipeline to-bioes training/ner/model-best training/ner_bioes",)


def run(
    pipeline: Annotated[Path, typer.Argument(help="A pipeline of `transformer` and `rivega_ner` with BIO tags.")],
    output: Annotated[Path, typer.Argument(help="Folder to write.")],
) -> int:
    """RETURNS (int): 0."""
    from ..post.files import check_output_folder, open_output_folder
    from ..training.bioes import to_bioes

    check_output_folder(output, inputs=[pipeline])
    nlp = to_bioes(pipeline)
    with open_output_folder(output) as folder:
        nlp.to_disk(folder)
    say(f"BIOES tags -> {output}\n")
    return 0
