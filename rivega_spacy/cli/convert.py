"""`rivega convert`: annotated posts, as published or from annotation tools, to the .spacy files that `spacy train` reads."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .saying import say

EXAMPLES = (
    "rivega convert train.jsonl.gz train.spacy --images images",
    "rivega convert txt/train.txt train.spacy --format conll --boxes xml --images images",
    "rivega convert reviewed.jsonl train.spacy --format prodigy",
    "rivega convert label-studio-export.json train.spacy --images images",
)
ALONGSIDE = "Files beside the posts"


def run(
    input: Annotated[
        Path,
        typer.Argument(
            help="Posts with tokens and tags, or with text and ents (as `rivega annotate` writes them), or what a tool made of them: Label "
            "Studio's JSON, W3C annotations, a table of entities, .spacy. .gz is read as it is."
        ),
    ],
    output: Annotated[Path, typer.Argument(help="The .spacy file to write; compact posts if it ends in .jsonl or .jsonl.gz.")],
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", help="Folder of pictures, named as in the posts or {id}.jpg (.png, .webp or any other format that is read)."
        ),
    ] = None,
    relative: Annotated[
        bool, typer.Option("--relative", help="Write picture paths relative to that folder; readers then need --images.")
    ] = False,
    image_names: Annotated[
        str | None,
        typer.Option(
            "--image-names", help="Picture references below a root given later, for example {id}.jpg; no file is looked for."
        ),
    ] = None,
    knowledge: Annotated[
        Path | None,
        typer.Option(
            "--knowledge",
            help="JSON lines with id and knowledge, or the published text in the order of the posts.",
            rich_help_panel=ALONGSIDE,
        ),
    ] = None,
    lang: Annotated[str, typer.Option("--lang", help="Language class of the pipeline.")] = "rivega",
    format: Annotated[
        Literal["auto", "jsonl", "conll", "prodigy", "posts", "riveg", "label-studio", "web-annotation", "table", "docbin"],
        typer.Option("--format", help="Format of the posts."),
    ] = "auto",
    tag_column: Annotated[
        int | None,
        typer.Option(
            "--tag-column",
            metavar="N",
            help="Column of the tags in CoNLL text that has several, from 1, or from the end as -1.",
        ),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option("--boxes", help="Folder of VOC XML or labelme JSON, COCO .json, Prodigy .jsonl.", rich_help_panel=ALONGSIDE),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            "--masks",
            help="The same, if masks come from another source than boxes (Twitter-SMNER).",
            rich_help_panel=ALONGSIDE,
        ),
    ] = None,
    expansions: Annotated[
        list[str],
        typer.Option(
            "--expansions",
            metavar="[MODEL=]FILE",
            help="Recorded expansions: RiVEG's VE or VG table (.tsv), its ### text, or JSON lines with id, text, type and expansion; may be repeated.",
            rich_help_panel=ALONGSIDE,
        ),
    ] = [],
    captions: Annotated[
        Path | None,
        typer.Option(
            "--captions",
            help="BLIP-2 captions: ID.jpg :caption a line; a file or a folder of .txt.",
            rich_help_panel=ALONGSIDE,
        ),
    ] = None,
    descriptions: Annotated[
        Path | None,
        typer.Option("--descriptions", help="mPLUG-Owl descriptions: imgid:ID###text; the same.", rich_help_panel=ALONGSIDE),
    ] = None,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Fix region names that differ from an entity in case, blanks or a cut-off end."),
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail at the first entry that does not fit.")] = False,
    shard: Annotated[
        int, typer.Option("--shard", metavar="N", help="Write files of N posts, OUTPUT-000.spacy and so on; 0 for one file.")
    ] = 0,
) -> int:
    """RETURNS (int): Exit status; 1 if boxes did not fit any entity."""
    from ..corpus.converting import convert_sources
    from ..corpus.formats.assemble import Sources

    apart = knowledge is not None and ".jsonl" in knowledge.name
    sources = Sources(
        text=input,
        format=format,
        boxes=boxes,
        masks=masks,
        knowledge=None if apart else knowledge,
        expansions=[named_file(text) for text in expansions],
        captions=captions,
        descriptions=descriptions,
        repair=repair,
        tag_column=tag_column,
        lang=lang,
    )
    lines, refused = convert_sources(
        sources,
        output,
        images=images,
        relative=relative,
        image_names=image_names,
        knowledge=knowledge if apart else None,
        lang=lang,
        strict=strict,
        shard=shard,
    )
    say("\n".join(lines) + "\n")
    return 1 if refused else 0


def named_file(text: str) -> tuple[str | None, Path]:
    """`MODEL=FILE`, or a file alone.

    RETURNS (Tuple[Optional[str], Path]): The model, None if none is named, and the file.
    """
    name, sign, path = text.partition("=")
    return (name, Path(path)) if sign and not Path(text).exists() else (None, Path(text))
