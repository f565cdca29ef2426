"""`rivega demo [OUT]`: the posts and photographs that come with the project, through the pipeline, as a page to look at."""

import argparse
import sys
import time
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spacy.tokens import Doc, Span

    from ..rendering.expected import ExpectedEntity, PostCheck

NAME = "demo"
HELP = "Run the demo posts through a pipeline and write a page with their photographs, boxes and masks."
POSTS = Path("assets", "demo", "posts.jsonl")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("out", type=Path, nargs="?", default=Path("demo"), help="folder to write (default: %(default)s)")
    parser.add_argument("--model", default="rivega_twitter", help="installed pipeline or folder (default: %(default)s)")
    parser.add_argument("--posts", type=Path, default=None, help="posts of your own (default: those in assets/demo)")
    parser.add_argument(
        "--expected", type=Path, default=None, help="what the posts should give (default: expected.jsonl beside the posts)"
    )
    parser.add_argument("--gpu-id", type=int, default=-1, help="GPU to use; -1 for the CPU (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Run the demo.

    RETURNS (int): 0, or 1 where posts carry errors.
    """
    from tqdm import tqdm

    from ..pipes.loading import load_pipeline
    from ..post.files import check_output, check_output_folder, open_output_folder, write_text
    from ..post.posts import annotate, read_posts, write_posts
    from ..rendering.expected import check_post, read_expected, summarize
    from ..rendering.html import render_posts
    from .render import write_overlays

    path = find_posts(args.posts)
    expectation = args.expected if args.expected is not None else path.with_name("expected.jsonl")
    expected: dict[str, list[ExpectedEntity]] = {}
    if args.expected is not None or expectation.is_file():
        expected = read_expected(expectation)
    check_output_folder(args.out)
    for name in ("posts.jsonl", "index.html"):
        check_output(args.out / name, inputs=[path, expectation])
    posts = list(read_posts(path))
    started = time.perf_counter()
    name = Path(args.model).name
    with tqdm(total=len(posts), unit=" posts", desc=f"loading {name}", disable=None) as progress:
        nlp = load_pipeline(args.model, gpu_id=args.gpu_id)
        loaded = time.perf_counter()
        progress.set_description(name)
        docs: list[Doc] = []
        for doc in write_posts(annotate(nlp, posts, images=path.resolve().parent), args.out / "posts.jsonl"):
            docs.append(doc)
            progress.update()
    done = time.perf_counter()
    checks = {key: check_post(doc, expected[key]) for doc in docs if (key := str(doc.user_data.get("id"))) in expected}
    title = f"What {name} sees in {'the demo posts' if args.posts is None else path.name}"
    page = render_posts(docs, title=title, checks=checks or None)
    write_text(args.out / "index.html", page)
    with open_output_folder(args.out / "overlays") as folder:
        pictures = write_overlays(docs, folder)
    out = sys.stdout
    out.write("\n" + entity_table(docs, checks) + "\n\n")
    if checks:
        out.write(summarize(list(checks.values())) + "\n")
    out.write(f"{len(docs)} posts in {done - loaded:.1f} s, after {loaded - started:.1f} s to load {name}.\n\n")
    out.write(f"Look at   {(args.out / 'index.html').resolve().as_uri()}\n")
    out.write(f"Pictures  {args.out / 'overlays'} ({pictures} PNG files)\nRecords   {args.out / 'posts.jsonl'}\n")
    failed = [doc for doc in docs if doc._.rivega_errors]
    for doc in failed:
        for entry in doc._.rivega_errors:
            out.write(f"! {entry['component']}: {entry['message']}\n")
    return 1 if failed else 0


def find_posts(given: Path | None) -> Path:
    """The file of posts: the one given, else the demo's in the working folder or in the checkout that this package is part of.

    RAISES (RivegaError): E501 where there is none.
    """
    from ..post.errors import Errors, RivegaError

    tried = [given] if given is not None else [POSTS, Path(__file__).resolve().parents[2] / POSTS]
    for path in tried:
        if path.is_file():
            return path
    raise RivegaError(Errors.E501.format(path=tried[-1]))


def entity_table(docs: Sequence["Doc"], checks: dict[str, "PostCheck"]) -> str:
    """What was found, one entity a line.

    docs (Sequence[Doc]): Processed posts.
    checks (Dict[str, PostCheck]): Comparison with what is expected, by post id; may be empty.
    RETURNS (str): A table in plain text.
    """
    rows = [["post", "entity", "type", "tagger", "expansion", "in picture", "box", "mask"]]
    if checks:
        rows[0].append("as expected?")
    for number, doc in enumerate(docs, start=1):
        name = str(doc.user_data.get("id") or number)
        check = checks.get(name)
        for ent in doc.ents:
            row = [name, ent.text, ent.label_, _score(ent._.ner_score), ent._.expansion or "-", _seen(ent), _box(ent), _mask(ent)]
            if checks:
                verdict = check.verdicts.get((ent.start_char, ent.end_char)) if check else None
                row.append("-" if verdict is None else "yes" if verdict.right else f"NO: {verdict.reason}")
            rows.append(row)
        for text in check.missed if check else []:
            rows.append([name, text, *["-"] * 6, "NO: not found in the text"])
        if not doc.ents and not (check and check.missed):
            rows.append([name, "(none)", *["-"] * (len(rows[0]) - 2)])
    cells = [[_short(cell) for cell in row[:-1]] + [row[-1]] for row in rows]
    widths = [max(_width(row[column]) for row in cells) for column in range(len(rows[0]))]
    lines = ["  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths)).rstrip() for row in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _seen(ent: "Span") -> str:
    if ent._.groundable is None:
        return "not judged"
    return f"{'yes' if ent._.groundable else 'no'} {_score(ent._.groundable_score)}"


def _box(ent: "Span") -> str:
    return "-" if ent._.box is None else " ".join(f"{side:.0f}" for side in ent._.box)


def _mask(ent: "Span") -> str:
    from ..post.rle import rle_area

    if ent._.mask_rle is None:
        return "-"
    height, width = ent._.mask_rle["size"]
    area = rle_area(ent._.mask_rle)
    return f"{area} px ({area / (height * width):.0%})"


def _short(text: str, limit: int = 32) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _width(text: str) -> int:
    """Columns a terminal needs: two for East Asian letters and emoji, none for marks."""
    return sum(0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)
