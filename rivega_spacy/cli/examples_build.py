"""`rivega examples build`: the features by which in-context examples are chosen, computed once."""

from pathlib import Path
from typing import Annotated

import typer

from .saying import say, warn

EXAMPLES = (
    "rivega examples build examples.jsonl examples.safetensors",
    "rivega examples build ManualAnnotation/2015/2015train.txt examples.safetensors --posts twitter2015_train.jsonl.gz",
    "rivega examples build examples.jsonl examples.safetensors --config configs/enrich_openai.cfg --exclude test.jsonl.gz",
)


def run(
    examples: Annotated[
        Path,
        typer.Argument(
            help="JSON lines: tokens or text, caption_blip2 or caption, annotation; optional id, image. Or PGIM's ManualAnnotation/*.txt."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
    config: Annotated[
        Path | None,
        typer.Option("--config", help=r"Config whose \[examples] names the encoders.", show_default="those without weights"),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Pipeline that encodes the texts first, for rivega.DocVectors.v1.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", help="Folder that relative image paths start from.", show_default="that of EXAMPLES"),
    ] = None,
    posts: Annotated[
        list[Path], typer.Option("--posts", metavar="POSTS", help="For a .txt file of annotations: the posts, JSON lines with ids.")
    ] = [],
    exclude: Annotated[
        list[Path], typer.Option("--exclude", metavar="POSTS", help="Posts to measure on: left out of the file.")
    ] = [],
) -> int:
    """RETURNS (int): 0, or 1 if lines or pictures were refused."""
    from spacy.util import registry
    from thinc.api import Config

    from ..knowledge.encoders import ColourEncoder, HashedTextEncoder
    from ..knowledge.example_bank import encode_examples
    from ..knowledge.examples import Exclusion, read_examples
    from ..pipes.loading import load_pipeline
    from ..post.config_files import parse_config
    from ..post.errors import Errors, RivegaError
    from ..post.files import check_input, check_output
    from ..post.textfiles import read_text

    check_input(examples)
    check_output(out, inputs=[examples, config, *posts, *exclude])
    section = {}
    if config is not None:
        check_input(config)
        try:
            settings = parse_config(read_text(config), interpolate=False).get("examples", {})
        except ValueError as error:
            raise RivegaError(Errors.E427.format(path=config, section="examples", reason=" ".join(str(error).split()))) from error
        wanted = {name: settings[name] for name in ("text_encoder", "image_encoder") if settings.get(name)}
        section = registry.resolve(Config(wanted)) if wanted else {}
    found, wrong = read_examples(examples, images=images, posts=posts)
    kept = Exclusion(exclude).keep(found)
    bank = encode_examples(
        kept,
        section.get("text_encoder") or HashedTextEncoder(),
        section.get("image_encoder") or ColourEncoder(),
        nlp=load_pipeline(model) if model else None,
        wrong=wrong,
    )
    bank.save(out)
    for line in wrong:
        warn(line + "\n")
    left_out = len(found) - len(kept)
    say(
        f"{len(kept)} examples, {int(bank.has_image.sum())} with a picture, {left_out} left out as measured, "
        f"{len(wrong)} problems -> {out}\n"
    )
    return 1 if wrong else 0
