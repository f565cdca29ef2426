"""The page of an evaluation from files: scores, pictures of the posts, and the propagation table of another file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spacy.tokens import Doc
from spacy.vocab import Vocab

from ..corpus.docbin import read_docbin
from ..post.annotated import annotated_to_doc
from ..post.errors import Errors, RivegaError
from ..post.extensions import ID_KEY, move_image
from ..post.files import check_input, check_output, write_text
from ..post.image_sources import locate_image
from ..post.language import reading_vocab
from ..post.post_files import picture_root, read_posts
from ..post.textfiles import read_text
from ..rendering.report import example_posts, render_report
from ..scoring.matching import MatchOptions
from ..scoring.read import read_annotations
from ..scoring.tasks import Scores, score


def write_report(
    predictions: Path,
    gold: Path,
    output: Path,
    options: MatchOptions,
    *,
    images: Path | None = None,
    propagation: Path | None = None,
    examples: int = 10,
    title: str = "Evaluation",
) -> tuple[Scores, bool]:
    """Write the page.

    predictions (Path): What a system found.
    gold (Path): What is right; a .spacy file shows pictures too.
    output (Path): The HTML file.
    options (MatchOptions): When a prediction is right.
    images (Optional[Path]): Folder that relative image paths start from.
    propagation (Optional[Path]): JSON of `rivega evaluate --propagation --output`.
    examples (int): Worst and best posts, each.
    title (str): Heading.
    RETURNS (Tuple[Scores, bool]): The scores, and whether lines of a file were left out.
    RAISES (RivegaError): As the readers of the files; E059 if `propagation` is something else.
    """
    check_output(output, inputs=[predictions, gold, propagation])
    found, right = read_annotations(predictions, skip=True), read_annotations(gold, skip=True)
    scores = score(found, right, options)
    wanted = {post for posts in example_posts(scores, examples).values() for post in posts}
    gold_docs = find_docs(gold, wanted, images)
    predicted = find_docs(predictions, wanted, images)
    for post, doc in predicted.items():
        # Predictions of other systems know their post's picture only through the gold data.
        if doc._.image is None and post in gold_docs and gold_docs[post]._.image is not None:
            doc._.image = gold_docs[post]._.image
    table = None if propagation is None else read_propagation(propagation)
    page = render_report(scores, predicted=predicted, gold=gold_docs, examples=examples, title=title, propagation=table)
    write_text(output, page)
    return scores, bool(found.refused or right.refused)


def read_propagation(path: Path) -> dict[str, Any] | None:
    """The propagation table of `rivega evaluate --propagation --output`; RivegaError E059 where the file is something else."""
    check_input(path)
    try:
        table = json.loads(read_text(path)).get("propagation")
        if table is not None:
            # The page shows F1 alone.
            table = {name: {key: row[key] for key in row if not key.endswith((" P", " R", " all"))} for name, row in table.items()}
        return table
    except (ValueError, RecursionError, AttributeError, TypeError, EOFError) as error:
        raise RivegaError(Errors.E059.format(path=path, reason=error)) from error


def find_docs(path: Path, wanted: set[str], images: Path | None) -> dict[str, Doc]:
    """The wanted posts of a file as docs, as far as its form has texts."""
    found: dict[str, Doc] = {}
    binary = path.is_dir() or path.suffix == ".spacy"
    if not binary and ".jsonl" not in path.name:
        return found
    docs = read_docbin(path, reading_vocab()) if binary else _read_posts(path, images)
    for number, doc in enumerate(docs):
        post = str(doc.user_data.get(ID_KEY, number))
        if post in wanted and len(doc):
            image = doc._.image
            if binary and images is not None and isinstance(image, str):
                move_image(doc, locate_image(image, images))
            found[post] = doc
    return found


def _read_posts(path: Path, images: Path | None) -> Iterator[Doc]:
    vocab, beside = Vocab(), picture_root(path)
    for post in read_posts(path):
        # A line of one entity, as other systems write them, has the entity's text and not its post's.
        if isinstance(post, dict) and "ents" in post:
            yield annotated_to_doc(post, vocab, images=images, beside=beside)
