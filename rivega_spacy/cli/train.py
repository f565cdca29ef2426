"""`rivega train PARTS`: a trained pipeline, trained further on posts of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from .options import GpuId
from .saying import say

EXAMPLES = (
    "rivega train tagger --from rivega_twitter --train corrected.jsonl --output mine",
    "rivega train tagger vision --from rivega_twitter --train train.jsonl --dev dev.jsonl --images pictures --output mine",
)


def run(
    parts: Annotated[
        list[str], typer.Argument(metavar="PARTS...", help="tagger, entailment, grounder, segmenter; vision (the middle two), all.")
    ],
    train: Annotated[
        Path, typer.Option("--train", help="Annotated or corrected posts: any format that `rivega convert` reads, or .spacy.")
    ],
    output: Annotated[
        Path, typer.Option("--output", help="Folder for configs, trainings and the new pipeline, OUTPUT/pipeline; must be empty.")
    ],
    start: Annotated[str, typer.Option("--from", help="The pipeline to start from.")] = "rivega_twitter",
    dev: Annotated[
        Path | None,
        typer.Option("--dev", help="Posts to choose and measure on.", show_default="every fifth training post, kept from training"),
    ] = None,
    images: Annotated[Path | None, typer.Option("--images", help="Folder of the pictures.")] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Optimiser steps of each part.", show_default="ten passes, 40 to 2000")
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", min=0.0, help="Highest learning rate of each part.", show_default="the recipe's")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the trainings.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write posts and configs, train nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what an earlier call left in OUTPUT.")] = False,
    gpu_id: GpuId = -1,
) -> int:
    """RETURNS (int): 0."""
    from ..jobs.tuning import format_report, parts_of, prepare, tune, write_configs

    wanted = parts_of(parts)
    train_file, dev_file, lines = prepare(train, dev, output, images=images, force=force)
    configs = write_configs(wanted, start, train_file, dev_file, output, seed=seed, steps=steps, rate=rate)
    lines += [f"{part}: {path}" for part, path in configs.items()]
    say("\n".join(lines) + "\n")
    if dry_run:
        return 0
    report = tune(wanted, start, train_file, dev_file, output, configs, images=None, gpu_id=gpu_id)
    say("\n".join([*format_report(report), "", f"{output / 'pipeline'}: spacy.load(it), or name it to any command", ""]))
    return 0
