"""`rivega enrich`: captions, knowledge and expansions of one or several language models for a file of posts."""

import argparse
import json
import sys
from pathlib import Path

NAME = "enrich"
HELP = "Let language models write captions, knowledge and expansions for posts; every answer is kept, none is asked for twice."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-command's arguments."""
    parser.add_argument(
        "posts", type=Path, help="JSON lines: text, or tokens and tags; optional id, image, caption, description, ents"
    )
    parser.add_argument("out", type=Path, help="where to write the enriched JSON lines (.gz compresses)")
    parser.add_argument(
        "--config", type=Path, required=True, help="models, store, examples, and what is asked: configs/enrich_openai.cfg"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.NAME=VALUE", help="overrides a value of the config (JSON)"
    )
    parser.add_argument(
        "--images", type=Path, default=None, help="folder that relative image paths start from (default: that of POSTS)"
    )
    parser.add_argument("--model", default=None, help="pipeline that finds the entities of posts without `ents` or `tags`")
    parser.add_argument(
        "--measured",
        type=Path,
        action="append",
        default=[],
        metavar="POSTS",
        help="posts that are measured: never shown as an example",
    )


def run(args: argparse.Namespace) -> int:
    """Enrich the file.

    RETURNS (int): 0 where every post got all its answers, 1 where some carry errors (they are in the output, on their lines).
    """
    import spacy
    from tqdm import tqdm

    from ..jobs.enrich import Enricher, read_settings
    from ..pipes.loading import load_pipeline
    from ..post.files import check_input, check_output
    from ..post.jsonl import write_lines
    from ..post.posts import check_images, read_posts

    overrides = dict(read_override(text) for text in args.set)
    check_input(args.posts)
    check_output(args.out, inputs=[args.posts, args.config, *args.measured])
    images = args.images if args.images is not None else args.posts.resolve().parent
    check_images(images)
    settings = read_settings(args.config, measured=args.measured, overrides=overrides)
    enricher = Enricher(load_pipeline(args.model) if args.model else spacy.blank("rivega"), settings)
    failed = 0

    def counted(post: dict) -> dict:
        nonlocal failed
        failed += bool(post.get("errors"))
        return post

    try:
        # What a stopped run had asked is in the store, and the next one writes the file at once.
        posts = tqdm(enricher.run(read_posts(args.posts), images=images), unit=" posts", disable=None)
        total = write_lines(args.out, map(counted, posts))
    finally:
        enricher.close()
    sys.stdout.write("\n".join([f"{total} posts, {failed} of them with errors -> {args.out}", *_summary(enricher)]) + "\n")
    return 1 if failed else 0


def _summary(enricher: "object") -> list[str]:
    """What was asked and what was known, a line each."""
    lines = []
    for what, asker in enricher.askers().items():  # type: ignore[attr-defined]
        counts = asker.counts
        line = f"{what}: {counts.questions} questions, {counts.stored} answers from the store, {counts.asked} asked"
        if counts.asked:
            line += f" ({counts.input_tokens} tokens in, {counts.output_tokens} out)"
        if counts.failed:
            line += f", {counts.failed} failed"
        if counts.unusable:
            line += f", {counts.unusable} not usable"
        lines.append(line)
    return lines


def read_override(text: str) -> "tuple[str, object]":
    """SECTION.NAME and the value of SECTION.NAME=VALUE, which other commands share. RAISES (RivegaError): E538 for another form."""
    from ..post.errors import Errors, RivegaError

    name, equals, value = text.partition("=")
    if not equals or "." not in name:
        raise RivegaError(Errors.E538.format(value=text))
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
