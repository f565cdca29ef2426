"""Annotated posts as JSON lines: tokens, tags, knowledge, captions and boxes, into spaCy Docs.

One post a line, plain or gzip: `id`, `tokens`, `tags` (BIO), optional `knowledge`, `caption_blip2` or `caption`,
`description_owl` or `description`, `image`, `missing_labels` (entity types that this corpus does not annotate), `expansions` (one for each entity, in
order), and `boxes` [{name, xyxy, mask_rle}] and
`masks` [{name, mask_rle}], where `name` is the text of an entity, `unclear` [name] (entities of which it is not known whether the
picture shows them). Published files are not clean: an I- with nothing before it begins
an entity, a token may be a single no-break space, posts may have no tokens and boxes no entity; all of it is read, and what does
not fit is counted.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from ..ner.schemes import UNSAID, read_tags
from ..ner.targets import check_missing_labels, set_missing_labels
from ..post.errors import Errors, ImageError, PostError, RivegaError
from ..post.extensions import MASKS_KEY, record_error, span_key
from ..post.given_ents import set_fields
from ..post.image_sources import is_data_uri
from ..post.jsonl import read_lines
from ..post.rle import rle_area, rle_to_box
from .picture_files import PictureFolder
from .sources import keep_sources


@dataclass
class ReadReport:
    """What was read, and what did not fit.

    posts (int), entities (int), groundable (int), boxes (int), masks (int): Counts of what is in the Docs; `groundable` are entities
        with at least one box.
    orphan_tags (int): I- tags that had nothing to continue.
    unmatched_boxes (List[Tuple[str, str]]): Post and name of boxes that name no entity of their post.
    without_text (int): Posts without tokens.
    without_entities (int), without_boxes (int), without_knowledge (int): Posts.
    without_picture (int): Posts whose picture is not in the folder of pictures, where one was given, or whose `image` is none.
    """

    posts: int = 0
    entities: int = 0
    groundable: int = 0
    boxes: int = 0
    masks: int = 0
    orphan_tags: int = 0
    without_text: int = 0
    without_entities: int = 0
    without_boxes: int = 0
    without_knowledge: int = 0
    without_picture: int = 0
    unmatched_boxes: list[tuple[str, str]] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The report as text."""
        lines = self.summary()
        if self.orphan_tags:
            lines.append(f"{self.orphan_tags} I- tags with nothing before them, read as beginnings")
        if self.unmatched_boxes:
            shown = ", ".join(f"{name!r} in {post}" for post, name in self.unmatched_boxes[:5])
            lines.append(f"{len(self.unmatched_boxes)} boxes name no entity of their post: {shown}")
        return lines

    def summary(self) -> list[str]:
        """What was read, without what did not fit."""
        return [
            f"{self.posts} posts ({self.without_text} without text, {self.without_entities} without entities, "
            f"{self.without_boxes} without boxes, {self.without_knowledge} without knowledge)",
            f"{self.entities} entities, {self.groundable} of them groundable, {self.boxes} boxes"
            + (f", {self.masks} masks" if self.masks else ""),
            *(
                [f"{self.without_picture} posts have no picture in the folder of pictures, or an `image` that is none"]
                if self.without_picture
                else []
            ),
        ]


def read_json_lines(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a JSON-lines file.

    path (Union[str, Path]): The file, gzipped or not.
    YIELDS (Tuple[int, dict]): Line number, from 1, and row. Empty lines are skipped.
    RAISES (PostError): E110 if a line is no JSON object.
    """
    for number, row in read_lines(path):
        if isinstance(row, str):
            raise PostError(Errors.E110.format(path=path, line=number, reason=row))
        yield number, row


def read_knowledge(path: str | Path, *, twice: Callable[[str], None] | None = None) -> dict[str, str]:
    """Knowledge that is kept apart from its posts.

    path (Union[str, Path]): JSON lines with `id` and `knowledge`.
    twice (Optional[Callable[[str], None]]): Told of an id that comes again.
    RETURNS (Dict[str, str]): z by post id; of two the first.
    RAISES (PostError): E110 if a line is no JSON object, E114 if one lacks a field.
    """
    found = {}
    for number, row in read_json_lines(path):
        if row.get("id") is not None and "knowledge" in row and row["knowledge"] is None:
            continue  # asked, but without an answer: the last post of each split of Twitter-2015
        if row.get("id") is None or not isinstance(row.get("knowledge"), str):
            raise PostError(Errors.E114.format(path=path, line=number))
        if str(row["id"]) not in found:
            found[str(row["id"])] = row["knowledge"]
        elif twice is not None:
            twice(str(row["id"]))
    return found


def read_compact(
    path: str | Path,
    vocab: Vocab,
    *,
    images: str | Path | None = None,
    knowledge: dict[str, str] | None = None,
    report: ReadReport | None = None,
) -> Iterator[Doc]:
    """Annotated posts as Docs with gold entities, boxes, knowledge and captions.

    path (Union[str, Path]): JSON lines, plain or gzip.
    vocab (Vocab): Of the pipeline.
    images (Optional[Union[str, Path]]): Folder of pictures called `{id}.jpg`, or with the ending of another format that is read; a post whose picture is there refers to it.
    knowledge (Optional[Dict[str, str]]): z by post id, for files that do not hold it themselves.
    report (Optional[ReadReport]): Counts are added to it.
    YIELDS (Doc): In the order of the file. `span._.groundable` is None if the file has no boxes at all for its posts
        (no `boxes` field). Boxes are kept as published: 1-based, upper bound inclusive.
    RAISES (PostError): E110 or E111 with file and line.
    """
    yield from make_docs(read_json_lines(path), vocab, source=str(path), images=images, knowledge=knowledge, report=report)


def make_docs(
    rows: Iterable[tuple[int, dict[str, Any]]],
    vocab: Vocab,
    *,
    source: str,
    images: str | Path | None = None,
    knowledge: dict[str, str] | None = None,
    report: ReadReport | None = None,
    relative: bool = False,
) -> Iterator[Doc]:
    """Compact posts, wherever they were read, as Docs; see `read_compact`.

    rows (Iterable[Tuple[int, Dict]]): Number (for messages) and post.
    source (str): The file, for messages.
    images, knowledge, report: As in `read_compact`. Where a post names its `image`, that is looked for in the folder before
        `{id}.jpg`; without a folder the name is kept as it is, to be found below a root given later.
    relative (bool): Refer to pictures from the folder on, so that the folder may move; whoever reads the posts names it again.
    YIELDS (Doc): In order.
    """
    report = ReadReport() if report is None else report
    pictures = None if images is None else PictureFolder(images)
    for number, row in rows:
        try:
            doc = _make_doc(row, vocab, source, number, report)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, IndexError) as error:
            if isinstance(error, RivegaError):
                raise
            name, reason = repr(str(row.get("id", ""))), f"{type(error).__name__}: {error}"
            raise PostError(Errors.E111.format(post=name, path=source, line=number, reason=reason)) from error
        if knowledge is not None:
            doc._.knowledge = knowledge.get(str(row.get("id")), doc._.knowledge)
        report.without_knowledge += not doc._.knowledge
        image = row.get("image")
        if pictures is not None and not (isinstance(image, str) and is_data_uri(image)):
            found = pictures.find(row)
            if found is not None:
                doc._.image = found if relative else str(pictures.folder / found)
            report.without_picture += found is None
        elif image:
            try:
                doc._.image = image
            except ImageError as error:
                record_error(doc, "post", str(error))
                report.without_picture += 1
        yield doc


def check_row(row: dict[str, Any], path: str | Path, number: int) -> tuple[list[str], list[str]]:
    """Tokens and tags of a compact post.

    row (Dict[str, Any]): The post; one without `tags` has no entities.
    path (Union[str, Path]), number (int): File and line, for the message.
    RETURNS (Tuple[List[str], List[str]]): Of equal length.
    RAISES (PostError): E111 if they are not what they should be.
    """
    tokens, tags = row.get("tokens"), row.get("tags")
    name = repr(str(row.get("id", "")))
    if not isinstance(tokens, list) or not all(isinstance(token, str) and token for token in tokens):
        raise PostError(Errors.E111.format(post=name, path=path, line=number, reason="`tokens` is not a list of non-empty strings"))
    if tags is None:
        tags = ["O"] * len(tokens)
    if not isinstance(tags, list) or len(tags) != len(tokens) or not all(isinstance(tag, str) for tag in tags):
        raise PostError(Errors.E111.format(post=name, path=path, line=number, reason=f"{len(tokens)} tokens, but not as many tags"))
    return tokens, tags


def _make_doc(row: dict[str, Any], vocab: Vocab, path: str, number: int, report: ReadReport) -> Doc:
    tokens, tags = check_row(row, path, number)
    name = repr(str(row.get("id", "")))
    doc = Doc(vocab, words=tokens, spaces=token_spaces(row, len(tokens)))
    if row.get("id") is not None:
        doc.user_data["id"] = str(row["id"])
    doc._.knowledge = row.get("knowledge")
    doc._.caption = row.get("caption", row.get("caption_blip2"))
    doc._.description = row.get("description", row.get("description_owl"))
    keep_sources(doc, row)
    spans = [Span(doc, start, end, label=label) for start, end, label in read_tags(tags)]
    doc.set_ents(spans, missing=_unsaid(doc, tags), default="outside")
    try:
        missing = check_missing_labels(row.get("missing_labels"))
    except RivegaError as error:
        raise PostError(Errors.E111.format(post=name, path=path, line=number, reason=str(error))) from error
    set_missing_labels(doc, missing)
    if "spaces" in row and isinstance(row.get("ents"), list):
        _attach_own(doc, row["ents"], report)
    expansions = row.get("expansions")
    if isinstance(expansions, list) and len(expansions) == len(spans):
        for span, expansion in zip(doc.ents, expansions):
            span._.expansion = expansion if isinstance(expansion, str) else None
    report.posts += 1
    report.entities += len(spans)
    report.without_text += not tokens
    report.without_entities += not spans
    report.orphan_tags += sum(tag.startswith("I-") and any(span.start == place for span in spans) for place, tag in enumerate(tags))
    if row.get("boxes") is not None or row.get("masks") is not None:
        _attach_regions(doc, row, name, report)
    return doc


def token_spaces(row: dict[str, Any], count: int) -> list[bool]:
    """Whether a blank follows each token: as the post says, else all but the last."""
    spaces = row.get("spaces")
    if isinstance(spaces, list) and len(spaces) == count:
        return [bool(space) for space in spaces]
    return [True] * (count - 1) + [False] if count else []


def _attach_own(doc: Doc, ents: list[dict[str, Any]], report: ReadReport) -> None:
    """Give every entity what the post itself says of it (see `formats/annotated.py`)."""
    places = {(ent.get("start"), ent.get("end")): ent for ent in ents if isinstance(ent, dict)}
    for span in doc.ents:
        ent = places.get((span.start_char, span.end_char), {})
        fields = {name: value for name, value in ent.items() if name in ("expansion", "groundable", "boxes", "mask_rle", "masks")}
        set_fields(span, fields)
        report.groundable += bool(fields.get("boxes"))
        report.boxes += len(fields.get("boxes", ()))
        report.masks += len(fields.get("masks", ())) or int("mask_rle" in fields)
    report.without_boxes += not any(ent.get("boxes") for ent in ents)


def _unsaid(doc: Doc, tags: list[str]) -> list[Span]:
    """Tokens of which the annotation says nothing."""
    return [Span(doc, place, place + 1) for place, tag in enumerate(tags) if tag == UNSAID]


def _attach_regions(doc: Doc, row: dict[str, Any], name: str, report: ReadReport) -> None:
    """Give every entity the boxes and masks that carry its text; the same text twice in a post has the same ones twice.

    Names are compared to the letter: the published counts come out only so (`rivega convert --repair` fixes names before).
    """
    boxes: dict[str, list[list[float]]] = {}
    masks: dict[str, list[dict[str, Any]]] = {}
    for region in [*(row.get("boxes") or ()), *(row.get("masks") or ())]:
        if region.get("xyxy") is not None:
            boxes.setdefault(region["name"], []).append([float(value) for value in region["xyxy"]])
        if region.get("mask_rle") is not None:
            masks.setdefault(region["name"], []).append(region["mask_rle"])
    for text, rles in masks.items():
        if text not in boxes:
            boxes[text] = [rle_to_box(rle) for rle in rles]
    unclear = row["unclear"] if isinstance(row.get("unclear"), list) else []
    texts = set()
    for span in doc.ents:
        text = " ".join(token.text for token in span)
        texts.add(text)
        span._.groundable = True if text in boxes else None if text in unclear else False
        if text in boxes:
            span._.boxes = boxes[text]
            report.groundable += 1
        if text in masks:
            # One mask has its place on the entity; all of them are kept beside it, for scores that accept any.
            span._.mask_rle = max(masks[text], key=rle_area)
            doc.user_data[span_key(span, MASKS_KEY)] = masks[text]
    report.masks += sum(len(found) for text, found in masks.items() if text in texts)
    report.boxes += sum(len(found) for text, found in boxes.items() if text in texts)
    report.without_boxes += not boxes
    report.unmatched_boxes += [(name, text) for text, found in boxes.items() if text not in texts for _ in found]
