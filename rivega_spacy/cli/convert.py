"""`rivega convert`: annotated posts from JSON lines to the .spacy files that `spacy train` reads."""
import argparse
import sys
from pathlib import Path
from typing import List, Optional

NAME = "convert"
HELP = "Turn annotated posts (JSON lines, plain or gzip) into a .spacy file."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-command's arguments."""
    parser.add_argument("input", type=Path, help="JSON lines with tokens and BIO tags; .gz is read as it is")
    parser.add_argument("output", type=Path, help="the .spacy file to write")
    parser.add_argument("--images", type=Path, help="folder of pictures called {id}.jpg")
    parser.add_argument("--knowledge", type=Path, help="JSON lines with id and knowledge, where the posts do not hold it")
    parser.add_argument("--lang", default="rivega", help="language class of the pipeline (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """RETURNS (int): Exit status; 1 where boxes did not fit any entity."""
    lines, refused = convert(args.input, args.output, images=args.images, knowledge=args.knowledge, lang=args.lang)
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if refused else 0


def convert(
    input_path: Path, output_path: Path, *, images: Optional[Path] = None, knowledge: Optional[Path] = None, lang: str = "rivega"
) -> "tuple[List[str], int]":
    """Convert a file.

    input_path (Path): Annotated posts as JSON lines.
    output_path (Path): The .spacy file.
    images (Optional[Path]): Folder of pictures called {id}.jpg.
    knowledge (Optional[Path]): JSON lines with id and knowledge.
    lang (str): Language class whose vocabulary is used.
    RETURNS (Tuple[List[str], int]): Lines that say what was read, and how many boxes named no entity.
    RAISES (RivegaError): E018 where the folder of pictures does not exist, E020 where the file does not, E110, E111 where a line is no post.
    """
    import spacy

    from ..corpus.docbin import write_docbin
    from ..corpus.posts_jsonl import ReadReport, read_knowledge, read_posts
    from ..errors import Errors, RivegaError

    for path in (input_path, knowledge):
        if path is not None and not Path(path).is_file():
            raise RivegaError(Errors.E020.format(path=path))
    if images is not None and not Path(images).is_dir():
        raise RivegaError(Errors.E018.format(root=images))
    report = ReadReport()
    vocab = spacy.blank(lang).vocab
    known = None if knowledge is None else read_knowledge(knowledge)
    write_docbin(read_posts(input_path, vocab, images=images, knowledge=known, report=report), output_path)
    return [f"{input_path} -> {output_path}", *report.lines()], len(report.unmatched_boxes)
