"""Options that several commands share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from .saying import say, warn

GpuId = Annotated[int, typer.Option("--gpu-id", help="GPU to use; -1 for the CPU.")]
Model = Annotated[str, typer.Option("--model", help="Installed pipeline or folder.")]
ModelArgument = Annotated[str, typer.Argument(help="Installed pipeline or folder.")]
Images = Annotated[Path | None, typer.Option("--images", help="Folder that relative image paths start from.")]
PostsImages = Annotated[
    Path | None,
    typer.Option("--images", help="Folder that relative image paths start from.", show_default="that of the first argument"),
]
AnnotatedPosts = Annotated[
    Path, typer.Argument(metavar="ANNOTATED", help="JSON lines that `rivega annotate` wrote (.gz: gzipped).")
]
Form = Annotated[
    Literal["auto", "jsonl", "json", "csv", "parquet", "folder"],
    typer.Option("--from", help="Format of the posts; by default detected from name and content."),
]
Columns = Annotated[
    list[str],
    typer.Option("--column", metavar="FIELD=NAME", help="Name of a field in the posts: text=tweet, image=photo_path, id=key."),
]
Limit = Annotated[int, typer.Option("--limit", help="Maximum number of posts; 0 for all.")]
Changes = Annotated[list[str], typer.Option("--set", metavar="SECTION.NAME=VALUE", help="Overrides a value of the config (JSON).")]
Bootstrap = Annotated[int, typer.Option("--bootstrap", metavar="N", help="95 % intervals from N resamples of the posts.")]
Sweep = Annotated[bool, typer.Option("--sweep", help="F1 over IoU thresholds.")]
Calibration = Annotated[bool, typer.Option("--calibration", help="Judge the groundability scores.")]

# The matching rules and the output of what is scored.
RULES = "Matching rules"
Rule = Annotated[
    Literal["offset", "text", "entry"],
    typer.Option(
        "--rule",
        help="When two entities are the same: same offsets, same text, or same offsets in gold data of one-box entries (SAKE).",
        rich_help_panel=RULES,
    ),
]
TrainedOn = Annotated[
    Path | None,
    typer.Option(
        "--trained-on",
        metavar="TRAIN.spacy",
        help="Also score separately the entities that occur in these training posts and those that do not.",
    ),
]
Types = Annotated[
    Literal["raw", "folded", "none"],
    typer.Option("--types", help="Types as written, MISC as OTHER, or none.", rich_help_panel=RULES),
]
Iou = Annotated[float, typer.Option("--iou", help="IoU that boxes and masks must reach.", rich_help_panel=RULES)]
Comparison = Annotated[
    Literal[">=", ">"], typer.Option("--comparison", help="Reach the threshold, or exceed it.", rich_help_panel=RULES)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
GoldCorpus = Annotated[Path, typer.Argument(help=".spacy file or folder of them, from `rivega convert`.")]


def read_columns(pairs: list[str]) -> dict[str, str]:
    """What `--column` says, by field. RAISES (RivegaError): E738 if one is not FIELD=NAME, or a field is named twice."""
    from ..post.errors import Errors, RivegaError

    columns: dict[str, str] = {}
    for pair in pairs:
        field, equals, name = pair.partition("=")
        if not (field and equals and name) or field in columns:
            raise RivegaError(Errors.E738.format(option="--column", allowed="FIELD=NAME, once for each field", value=pair))
        columns[field] = name
    return columns


def print_summary(line: str, out: Path, more: Sequence[str] = ()) -> None:
    """The last lines of a command: on stdout, or on stderr where its results are on stdout."""
    (warn if str(out) == "-" else say)("\n".join([f"{line} -> {out}", *more]) + "\n")
