"""Posts in and out: JSON objects to docs, docs to JSON objects, in a stream that no bad post can stop."""
import gzip
import json
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Optional, Union

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.util import filter_spans

from .errors import Errors, PostError, RivegaError
from .extensions import ID_KEY, TEXT_FIELDS, post_name, record_error
from .jsonl import read_lines

# Set where `ents` came with the post: the tagger then leaves them alone.
GIVEN_ENTS_KEY = "rivega_given_ents"

Post = Dict[str, Any]


def read_posts(path: Union[str, Path]) -> Iterator[Union[Post, PostError]]:
    """Posts of a JSONL file, one at a time.

    path (Union[str, Path]): UTF-8 JSON lines, gzipped where the name ends in .gz; empty lines are skipped.
    YIELDS (Union[Post, PostError]): A post, or in its place E011, with the line's number as the post's name.
    RAISES (RivegaError): E020 where there is no such file.
    """
    for number, post in read_lines(path):
        if isinstance(post, dict):
            yield post
        else:
            yield PostError(Errors.E011.format(post=f"on line {number}", reason=post))


def post_to_doc(nlp: Language, post: Union[Post, PostError], *, images: Optional[Path] = None) -> Doc:
    """The doc of a post. What is wrong with the post is noted on the doc, and the rest of it is taken.

    nlp (Language): Its tokenizer makes the tokens.
    post (Union[Post, PostError]): `text`; optional `id`, `image`, `knowledge`, `caption`, `description`, `ents` as [start_char,
        end_char, label], `expansions` (a string or null for each of `ents`).
    images (Optional[Path]): Folder that relative image paths start from.
    RETURNS (Doc): Not yet processed.
    """
    if isinstance(post, PostError):
        doc = nlp.make_doc("")
        record_error(doc, "post", str(post))
        return doc
    name = repr(str(post[ID_KEY])) if post.get(ID_KEY) is not None else "without id"
    text = post.get("text")
    if not isinstance(text, str):
        doc = nlp.make_doc("")
        record_error(doc, "post", Errors.E010.format(post=name))
        text = None
    else:
        try:
            doc = nlp.make_doc(text)
        except ValueError as error:  # longer than nlp.max_length
            doc = nlp.make_doc("")
            record_error(doc, "post", Errors.E017.format(post=name, component="tokenizer", reason=error))
            text = None
    if post.get(ID_KEY) is not None:
        doc.user_data[ID_KEY] = str(post[ID_KEY])
    image = post.get("image")
    if isinstance(image, str) and images is not None:
        image = str(images / image)
    for field, value in (("image", image), *((field, post.get(field)) for field in TEXT_FIELDS)):
        if value is not None:
            try:
                doc._.set(field, value)
            except RivegaError as error:
                record_error(doc, "post", str(error))
    if text is not None and post.get("ents") is not None:
        _set_given_ents(doc, post)
    return doc


def annotate(
    nlp: Language,
    posts: Iterable[Union[Post, PostError]],
    *,
    images: Optional[Path] = None,
    batch_size: Optional[int] = None,
    n_process: int = 1,
) -> Iterator[Doc]:
    """Run a stream of posts through a pipeline.

    nlp (Language): The pipeline.
    posts (Iterable[Union[Post, PostError]]): What `read_posts` yields, or dicts.
    images (Optional[Path]): Folder that relative image paths start from.
    batch_size (Optional[int]), n_process (int): As in `nlp.pipe`.
    YIELDS (Doc): One doc a post, in order; a post that could not be read is an empty doc with the reason in
        `doc._.rivega_errors`.
    """
    if images is not None and not Path(images).is_dir():
        raise RivegaError(Errors.E018.format(root=images))
    root = None if images is None else Path(images)
    docs = (post_to_doc(nlp, post, images=root) for post in posts)
    yield from nlp.pipe(docs, batch_size=batch_size, n_process=n_process)


def doc_to_post(doc: Doc) -> Post:
    """What a post has become, as a JSON object.

    doc (Doc): A processed post.
    RETURNS (Post): `id`, `text`, `image` (the path; null for pictures given as bytes), `caption`, `knowledge`, `ents` and
        `errors`; each entity with `start`, `end` (characters), `label`, `text`, `score`, `expansion`, `groundable`,
        `groundable_score`, `boxes` and `box` (XYXY pixels), `box_score`, `mask_rle` (COCO RLE) and `mask_score`.
    """
    image = doc._.image
    return {
        "id": doc.user_data.get(ID_KEY),
        "text": doc.text,
        "image": image if isinstance(image, str) else None,
        "caption": doc._.caption,
        "knowledge": doc._.knowledge,
        "ents": [_ent_to_json(ent) for ent in doc.ents],
        "errors": doc._.rivega_errors,
    }


def write_posts(docs: Iterable[Doc], path: Union[str, Path]) -> Iterator[Doc]:
    """Write docs as JSON lines while they stream through.

    docs (Iterable[Doc]): Processed posts.
    path (Union[str, Path]): The file; gzipped where the name ends in .gz.
    YIELDS (Doc): The same docs, each after its line is written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf8") as out:
        for doc in docs:
            out.write(json.dumps(doc_to_post(doc), ensure_ascii=False) + "\n")
            yield doc


def _ent_to_json(ent: Span) -> Dict[str, Any]:
    return {
        "start": ent.start_char,
        "end": ent.end_char,
        "label": ent.label_,
        "text": ent.text,
        "score": ent._.ner_score,
        "expansion": ent._.expansion,
        "groundable": ent._.groundable,
        "groundable_score": ent._.groundable_score,
        "boxes": ent._.boxes,
        "box": ent._.box,
        "box_score": ent._.box_score,
        "mask_rle": ent._.mask_rle,
        "mask_score": ent._.mask_score,
    }


def _set_given_ents(doc: Doc, post: Post) -> None:
    name = post_name(doc)
    given = post["ents"]
    if not isinstance(given, list):
        record_error(doc, "post", Errors.E012.format(post=name, value=given, length=len(doc.text)))
        return
    expansions = post.get("expansions")
    if expansions is None:
        expansions = [None] * len(given)
    elif not isinstance(expansions, list) or len(expansions) != len(given) or not all(
        value is None or isinstance(value, str) for value in expansions
    ):
        record_error(doc, "post", Errors.E015.format(post=name, count=len(given), value=expansions))
        expansions = [None] * len(given)
    spans: List[Span] = []
    for value, expansion in zip(given, expansions):
        span = _given_span(doc, value, name)
        if span is not None:
            if expansion:
                span._.expansion = expansion
            spans.append(span)
    kept = filter_spans(spans)
    for span in spans:
        if span not in kept:
            value = [span.start_char, span.end_char, span.label_]
            record_error(doc, "post", Errors.E014.format(post=name, value=value))
    doc.ents = kept
    doc.user_data[GIVEN_ENTS_KEY] = True


def _given_span(doc: Doc, value: Any, name: str) -> Optional[Span]:
    fits = (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(x, int) and not isinstance(x, bool) for x in value[:2])
        and isinstance(value[2], str)
        and value[2] != ""
        and 0 <= value[0] < value[1] <= len(doc.text)
        and doc.text[value[0] : value[1]].strip() != ""
    )
    if not fits:
        record_error(doc, "post", Errors.E012.format(post=name, value=value, length=len(doc.text)))
        return None
    start, end, label = value
    span = doc.char_span(start, end, label=label)
    if span is None:
        near = doc.char_span(start, end, label=label, alignment_mode="expand")
        if near is None:
            record_error(doc, "post", Errors.E012.format(post=name, value=value, length=len(doc.text)))
        else:
            values = {"start": near.start_char, "end": near.end_char}
            record_error(doc, "post", Errors.E013.format(post=name, value=value, **values))
    return span
