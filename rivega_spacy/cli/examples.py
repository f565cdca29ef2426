"""`rivega examples build`: the features by which in-context examples are chosen, computed once."""

import argparse
import sys
from pathlib import Path

NAME = "examples"
HELP = "Compute the features of annotated in-context examples."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="annotated examples (JSON lines) to a file of features for rivega.MSEA.v1")
    build.add_argument(
        "examples", type=Path, help="JSON lines: tokens or text, caption_blip2 or caption, annotation; optional id, image"
    )
    build.add_argument("out", type=Path, help="the .safetensors file to write")
    build.add_argument(
        "--config", type=Path, default=None, help="config whose [examples] names the encoders (default: those without weights)"
    )
    build.add_argument("--model", default=None, help="pipeline that encodes the texts first, for rivega.DocVectors.v1")
    build.add_argument(
        "--images", type=Path, default=None, help="folder that relative image paths start from (default: that of EXAMPLES)"
    )
    build.add_argument(
        "--exclude", type=Path, action="append", default=[], metavar="POSTS", help="posts that are measured: left out of the file"
    )


def run(args: argparse.Namespace) -> int:
    """RETURNS (int): 0, or 1 where lines or pictures were refused."""
    from spacy.util import registry
    from thinc.api import Config

    from ..knowledge.bank import encode_examples
    from ..knowledge.encoders import ColourEncoder, HashedTextEncoder
    from ..knowledge.examples import Exclusion, read_examples
    from ..pipes.loading import load_pipeline
    from ..post.files import check_input, check_output
    from ..post.textfiles import read_text

    check_input(args.examples)
    check_output(args.out, inputs=[args.examples, args.config, *args.exclude])
    section = {}
    if args.config is not None:
        check_input(args.config)
        config = Config().from_str(read_text(args.config), interpolate=False).get("examples", {})
        wanted = {name: config[name] for name in ("text_encoder", "image_encoder") if config.get(name)}
        section = registry.resolve(Config(wanted)) if wanted else {}
    examples, wrong = read_examples(args.examples, images=args.images)
    kept = Exclusion(args.exclude).keep(examples)
    bank = encode_examples(
        kept,
        section.get("text_encoder") or HashedTextEncoder(),
        section.get("image_encoder") or ColourEncoder(),
        nlp=load_pipeline(args.model) if args.model else None,
        wrong=wrong,
    )
    bank.save(args.out)
    for line in wrong:
        sys.stderr.write(line + "\n")
    left_out = len(examples) - len(kept)
    sys.stdout.write(
        f"{len(kept)} examples, {int(bank.has_image.sum())} with a picture, {left_out} left out as measured, "
        f"{len(wrong)} problems -> {args.out}\n"
    )
    return 1 if wrong else 0
