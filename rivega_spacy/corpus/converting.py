"""Annotated posts, as published or from annotation tools, to the .spacy files that `spacy train` reads."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ..post.errors import Errors, RivegaError
from ..post.files import check_output, open_output_folder
from ..post.jsonl import write_lines
from ..post.language import reading_vocab
from .docbin import write_docbin
from .formats.assemble import Sources, read_data_set
from .formats.dirt import Dirt
from .posts_jsonl import ReadReport, make_docs, read_knowledge


def convert(
    input_path: Path, output_path: Path, *, images: Path | None = None, knowledge: Path | None = None, lang: str = "rivega"
) -> tuple[list[str], int]:
    """Convert a file of compact posts.

    input_path (Path): Annotated posts as JSON lines.
    output_path (Path): The .spacy file.
    images (Optional[Path]): Folder of pictures called {id}.jpg.
    knowledge (Optional[Path]): JSON lines with id and knowledge.
    lang (str): Language class whose vocabulary is used.
    RETURNS (Tuple[List[str], int]): Lines that say what was read, and how many boxes named no entity.
    RAISES (RivegaError): As `convert_sources`.
    """
    return convert_sources(
        Sources(text=Path(input_path), format="jsonl"), output_path, images=images, knowledge=knowledge, lang=lang
    )


def convert_sources(
    sources: Sources,
    output_path: Path,
    *,
    images: Path | None = None,
    relative: bool = False,
    image_names: str | None = None,
    knowledge: Path | None = None,
    lang: str = "rivega",
    strict: bool = False,
    shard: int = 0,
) -> tuple[list[str], int]:
    """Convert a data set of any of the known forms.

    sources (Sources): Its files.
    output_path (Path): The .spacy file, or with `shard` the beginning of the files' names; one that ends in .jsonl or .jsonl.gz is
        written as compact posts, which `rivega enrich` and this command read.
    images (Optional[Path]): Folder of pictures.
    relative (bool): Refer to them from that folder on.
    image_names (Optional[str]): Reference to the picture of each post, with {id}; not looked for.
    knowledge (Optional[Path]): JSON lines with id and knowledge.
    lang (str): Language class whose vocabulary is used.
    strict (bool): Fail at the first thing that does not fit.
    shard (int): Posts a file; 0 writes one file.
    RETURNS (Tuple[List[str], int]): Lines that say what was read, and how many boxes and masks named no entity.
    RAISES (RivegaError): E018 if the folder of pictures does not exist, E020 if a file does not, E110, E111 if a line is
        no post, E130 in strict mode.
    """
    recorded = [path for _, path in sources.expansions]
    for path in (sources.text, sources.knowledge, knowledge, *recorded):
        if path is not None and not Path(path).is_file():
            raise RivegaError(Errors.E020.format(path=path))
    if images is not None and not Path(images).is_dir():
        raise RivegaError(Errors.E018.format(root=images))
    if shard < 0:
        raise RivegaError(Errors.E209.format(option="shard", least=0, value=shard))
    inputs = (
        sources.text,
        sources.boxes,
        sources.masks,
        sources.knowledge,
        sources.captions,
        sources.descriptions,
        knowledge,
        *recorded,
    )
    first = Path(output_path).with_suffix("")
    check_output(first.with_name(f"{first.name}-000.spacy") if shard else output_path, inputs=inputs)
    try:
        vocab = reading_vocab(lang)
    except ImportError as error:
        raise RivegaError(
            Errors.E510.format(option="lang", value=lang, known="rivega and the language codes of spaCy (en, de, xx, ...)")
        ) from error
    report, dirt = ReadReport(), Dirt(strict=strict)
    known = None if knowledge is None else read_knowledge(knowledge, twice=partial(dirt.note, "duplicate_text"))

    kept: list[dict[str, Any]] = []

    def rows() -> Iterator[tuple[int, dict[str, Any]]]:
        for number, post in enumerate(read_data_set(replace(sources, images=images), dirt), start=1):
            kept[:] = [post if image_names is None else {**post, "image": image_names.format(id=post["id"])}]
            yield number, kept[0]

    docs = make_docs(rows(), vocab, source=str(sources.text), images=images, knowledge=known, report=report, relative=relative)
    if ".jsonl" in Path(output_path).name:
        write_compact(docs, kept, Path(output_path))
    elif not shard:
        write_docbin(docs, output_path)
    else:
        stem = Path(output_path).with_suffix("")
        with open_output_folder(stem.parent) as folder:
            for number in itertools.count():
                part = list(itertools.islice(docs, shard))
                if not part and number:
                    break
                write_docbin(part, folder / f"{stem.name}-{number:03d}.spacy")
        # Shards of an earlier, longer conversion would be read along with these.
        for old in stem.parent.glob(f"{stem.name}-*.spacy"):
            if old.stem[len(stem.name) + 1 :].isdigit() and int(old.stem[len(stem.name) + 1 :]) >= max(1, number):
                old.unlink()
    refused = len(report.unmatched_boxes) + dirt.counts.get("unmatched_box", 0) + dirt.counts.get("unmatched_mask", 0)
    refused += dirt.counts.get("unused_entities", 0) + dirt.counts.get("no_region", 0)
    if images is not None and report.posts and report.without_picture == report.posts:
        dirt.note("no_picture", str(images))
        refused += 1
    return [f"{sources.text} -> {output_path}", *report.summary(), *dirt.lines()], refused


def write_compact(docs: Iterable[Any], current: list[dict[str, Any]], path: Path) -> None:
    """Write posts as compact JSON lines.

    docs (Iterable[Doc]): The posts; what was found about them (picture, knowledge of another file) is taken from here.
    current (List[Dict[str, Any]]): Holds the row that the latest of `docs` was made of.
    path (Path): The file; gzipped where its name ends in .gz.
    """
    rows = ({**current[0], "image": doc._.image, "knowledge": doc._.knowledge} for doc in docs)
    write_lines(path, ({key: value for key, value in row.items() if value is not None} for row in rows))
