"""`rivega vision draw-masks PIPELINE PHOTOS OUT`: masks in the boxes of photographs, drawn by a trained segmenter to train the next."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .saying import say

EXAMPLES = ("rivega vision draw-masks training/segmenter/model-last corpus/photos corpus/drawn_masks",)


def run(
    pipeline: Annotated[str, typer.Argument(help="A pipeline with a trained rivega_segmenter.")],
    photos: Annotated[Path, typer.Argument(help="Folder of the photographs' sources.")],
    output: Annotated[Path, typer.Argument(help="Folder to write annotations.jsonl to.")],
    sources: Annotated[list[str], typer.Option("--sources", help="Sources with boxes; may be repeated.")] = [
        "voc2007_test_a",
        "voc2007_test_b",
    ],
    min_score: Annotated[float, typer.Option("--min-score", help="Lowest mask score to accept.")] = 0.8,
    min_mask_box_iou: Annotated[
        float, typer.Option("--min-mask-box-iou", help="Lowest IoU of a mask's own box with the box it was drawn in.")
    ] = 0.8,
) -> int:
    """RETURNS (int): 0."""
    from ..pipes.loading import load_pipeline
    from ..post.jsonl import write_lines
    from ..training.self_training import draw_masks

    segmenter: Any = load_pipeline(pipeline).get_pipe("rivega_segmenter")
    rows = draw_masks(segmenter.model.predict, photos, sources, min_score=min_score, min_mask_box_iou=min_mask_box_iou)
    count = write_lines(output / "annotations.jsonl", rows)
    say(f"{count} photographs -> {output}\n")
    return 0
