"""`rivega assemble-open OUT`: a pipeline of today's open networks from the model hub."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from .saying import say

EXAMPLES = (
    "rivega assemble-open training/open --profile laptop",
    "rivega assemble-open training/open --grounder owlv2 --segmenter sam-base --dev corpus/dev.spacy --yes",
    "rivega assemble-open training/open --profile server --base-url http://localhost:8000/v1 --chat-model Qwen/Qwen3-VL-8B-Instruct",
)
MORE_HELP = (
    "Says what would be downloaded, of what size and under which licence, and asks. What the hub's client has downloaded before, and "
    "folders, are used without asking. Each network lies once in the pipeline's folder, which can be moved; the revisions stand in its "
    "open_models.json."
)


def run(
    output: Annotated[Path, typer.Argument(help="Folder of the pipeline.")],
    profile: Annotated[Literal["laptop", "gpu", "server"], typer.Option("--profile", help="Which networks.")] = "laptop",
    grounder: Annotated[
        str | None,
        typer.Option(
            "--grounder", help="Another: its short name, `chat`, or FUNCTION=NAME@REVISION.", show_default="the profile's"
        ),
    ] = None,
    segmenter: Annotated[
        str | None,
        typer.Option(
            "--segmenter", help="Another: its short name, `base`, or FUNCTION=NAME@REVISION.", show_default="the profile's"
        ),
    ] = None,
    entailment: Annotated[
        Literal["score", "none"],
        typer.Option("--entailment", help="Judge by the grounder's score (the chat model), or not at all."),
    ] = "score",
    dev: Annotated[Path | None, typer.Option("--dev", help="Dev posts (.spacy) to fit the entailment's threshold on.")] = None,
    base: Annotated[str, typer.Option("--base", help="Pipeline whose tagger and expander are used.")] = "rivega_twitter",
    base_url: Annotated[str, typer.Option("--base-url", help="Server of the chat model.")] = "http://localhost:8000/v1",
    chat_model: Annotated[
        str, typer.Option("--chat-model", help="Name of the chat model on its server.")
    ] = "Qwen/Qwen3-VL-8B-Instruct",
    pins: Annotated[
        Path | None, typer.Option("--pins", help="open_models.json of a pipeline assembled before: use its revisions.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Download without asking.")] = False,
) -> int:
    """RETURNS (int): 0."""
    from ..jobs.open_models import assemble_open, fetch, make_plan

    plan = make_plan(profile, grounder=grounder, segmenter=segmenter, pins=pins)
    say("".join(f"{line}\n" for line in plan.lines()))
    folders = fetch(plan, agree=lambda lines: yes or _ask(lines))
    done = assemble_open(
        output, plan, folders, base=base, entailment=entailment == "score", dev=dev, base_url=base_url, chat_model=chat_model
    )
    say("".join(f"{line}\n" for line in done))
    return 0


def _ask(lines: list[str]) -> bool:
    if not sys.stdin.isatty():
        return False
    return typer.confirm("Download from the model hub:\n" + "\n".join(lines) + "\n?")
