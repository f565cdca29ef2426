"""Posts in and out: JSON objects to docs, docs to JSON objects, in a stream that no bad post can stop."""

import json
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.util import filter_spans

from .errors import Errors, PostError, RivegaError
from .extensions import ID_KEY, TEXT_FIELDS, post_name, record_error
from .files import open_output
from .given_ents import entity_fields, entity_place, set_fields, unused_fields
from .image_sources import is_data_uri, locate_image
from .jsonl import MAX_DEPTH, dump_line, nested_deeper
from .post_files import Post
from .post_files import read_posts as read_posts  # where it was before there were several forms of files
from .text import brief, is_invisible, replace_surrogates_in, trim_invisible

# Set where `ents` came with the post: the tagger then leaves them alone.
GIVEN_ENTS_KEY = "rivega_given_ents"
# The post's reference to its picture as it was given, and the path that was made of it.
GIVEN_IMAGE_KEY = "rivega_given_image"
# Fields of the post that nothing here reads, as JSON: msgpack, which carries user data to worker processes, knows fewer values.
OWN_FIELDS_KEY = "rivega_own_fields"
_USED_FIELDS = frozenset((ID_KEY, "text", "image", *TEXT_FIELDS, "ents", "expansions", "errors"))
# What others call the picture of a post, letters and digits alone.
_PICTURE_KEYS = frozenset(
    first + last
    for first in ("image", "img", "picture", "pic", "photo")
    for last in ("", "s", "path", "paths", "file", "files", "filename", "name", "url", "urls", "uri", "link", "src")
)


def post_to_doc(nlp: Language, post: Post | PostError, *, images: Path | None = None) -> Doc:
    """The doc of a post. What is wrong with the post is noted on the doc, and the rest of it is taken.

    nlp (Language): Its tokenizer makes the tokens.
    post (Union[Post, PostError]): `text`; optional `id`, `image` (also as {"bytes": ..., "path": ...}), `knowledge`, `caption`, `description`, `ents` as [start_char,
        end_char, label] or as the objects that `doc_to_post` makes, `expansions` (a string or null for each of `ents`).
    images (Optional[Path]): Folder that relative image paths start from.
    RETURNS (Doc): Not yet processed.
    """
    if isinstance(post, PostError):
        doc = nlp.make_doc("")
        record_error(doc, "post", str(post))
        return doc
    post, notes = tidy_post(post)
    text = post.get("text")
    if not isinstance(text, str):
        doc = nlp.make_doc("")
        notes.append(Errors.E010.format(post=describe_post(post)))
        text = None
    else:
        try:
            doc = nlp.make_doc(text)
        except ValueError as error:  # longer than nlp.max_length
            doc = nlp.make_doc("")
            notes.append(Errors.E017.format(post=describe_post(post), component="tokenizer", reason=error))
            text = None
    if post.get(ID_KEY) is not None:
        doc.user_data[ID_KEY] = str(post[ID_KEY])
    for note in notes:
        record_error(doc, "post", note)
    _keep_own_fields(doc, post)
    image: Any = post.get("image")
    if isinstance(image, dict) and set(image) <= {"bytes", "path"}:
        # As the data sets of Hugging Face have pictures.
        image, named = image.get("bytes") or image.get("path"), image.get("path")
        if isinstance(image, bytes) and isinstance(named, str):
            doc.user_data[GIVEN_IMAGE_KEY] = [named, None]
    if isinstance(image, str) and image.strip():
        path = locate_image(image, images)
        if not is_data_uri(image):
            doc.user_data[GIVEN_IMAGE_KEY] = [image, path]
        image = path
    elif image is None or isinstance(image, str):
        for key in filter(_means_image, post):
            record_error(doc, "post", Errors.E036.format(post=describe_post(post), key=key))
    for field, value in (("image", image), *((field, post.get(field)) for field in TEXT_FIELDS)):
        if value is not None:
            try:
                doc._.set(field, value)
            except RivegaError as error:
                record_error(doc, "post", str(error))
    if text is not None and post.get("ents") is not None:
        _set_given_ents(doc, post)
    for unused in unused_fields(post, "ents"):
        record_error(doc, "post", Errors.E445.format(post=post_name(doc), field=unused))
    return doc


def tidy_post(post: Post) -> tuple[Post, list[str]]:
    """A post that can be processed and written: halves of characters replaced, what is nested without end left out.

    post (Dict[str, Any]): As it came, from a file or from a program; it is not changed.
    RETURNS (Tuple[Dict[str, Any], List[str]]): The post, itself if nothing is wrong with it, and notes on what was.
    """
    notes = []
    deep = [name for name, value in post.items() if isinstance(value, (dict, list, tuple)) and nested_deeper(value, MAX_DEPTH)]
    if deep:
        post = {name: value for name, value in post.items() if name not in deep}
    post, repaired = replace_surrogates_in(post)
    if deep:
        notes.append(Errors.E060.format(post=describe_post(post), fields=_field_names(deep), limit=MAX_DEPTH))
    if repaired:
        notes.append(Errors.E061.format(post=describe_post(post), fields=_field_names(repaired)))
    return post, notes


def describe_post(post: Post) -> str:
    """How notes on a post that is no doc yet name it: by its id, where it has one."""
    value = post.get(ID_KEY)
    return "without id" if value is None else brief(value if isinstance(value, str) else brief(value))


def annotate(
    nlp: Language,
    posts: Iterable[Post | PostError],
    *,
    images: Path | None = None,
    batch_size: int | None = None,
    n_process: int = 1,
) -> Iterator[Doc]:
    """Run a stream of posts through a pipeline.

    nlp (Language): The pipeline.
    posts (Iterable[Union[Post, PostError]]): What `read_posts` yields, or dicts.
    images (Optional[Path]): Folder that relative image paths start from.
    batch_size (Optional[int]), n_process (int): As in `nlp.pipe`.
    YIELDS (Doc): One doc a post, in order; a post that could not be read is an empty doc with the reason in
        `doc._.rivega_errors`.
    RAISES (RivegaError): E018 if the folder does not exist, E209 if a batch would hold no post.
    """
    check_batches(batch_size, n_process)
    check_images(images)
    root = None if images is None else Path(images)
    docs = (post_to_doc(nlp, post, images=root) for post in posts)
    yield from nlp.pipe(docs, batch_size=batch_size, n_process=n_process)


def check_batches(batch_size: int | None, n_process: int = 1) -> None:
    """RAISES (RivegaError): E209 for batches without posts, of which spaCy would make an empty stream, and for no process."""
    if batch_size is not None and batch_size < 1:
        raise RivegaError(Errors.E209.format(option="batch_size", least=1, value=batch_size))
    if n_process < 1 and n_process != -1:  # -1: one for each processor core
        raise RivegaError(Errors.E209.format(option="n_process", least=1, value=n_process))


def check_images(images: str | Path | None) -> None:
    """RAISES (RivegaError): E018 if the folder of pictures does not exist."""
    if images is not None and not Path(images).is_dir():
        raise RivegaError(Errors.E018.format(root=images))


def doc_to_post(doc: Doc) -> Post:
    """What a post has become, as a JSON object.

    doc (Doc): A processed post.
    RETURNS (Post): `id`, `text`, `image` (as the post gave it; null for pictures given as bytes), `caption`, `description`,
        `knowledge`, `ents` and `errors`; each entity with `start`, `end` (characters), `label`, `text`, `score`, `expansion`,
        `groundable`, `groundable_score`, `boxes` and `box` (XYXY pixels), `box_score`, `mask_rle` (COCO RLE) and `mask_score`. Other
        fields that the post came with follow as they were.
    """
    row = {
        "id": doc.user_data.get(ID_KEY),
        "text": doc.text,
        "image": _image_as_given(doc),
        **{field: doc._.get(field) for field in TEXT_FIELDS},
        "ents": [_ent_to_json(ent) for ent in doc.ents],
        "errors": doc._.rivega_errors,
    }
    return {**row, **json.loads(doc.user_data.get(OWN_FIELDS_KEY, "{}"))}


def write_posts(docs: Iterable[Doc], path: str | Path) -> Iterator[Doc]:
    """Write docs as JSON lines while they stream through.

    docs (Iterable[Doc]): Processed posts.
    path (Union[str, Path]): The file; gzipped where the name ends in .gz. It appears when the stream has come to its end. "-" for
        standard output, a line at a time.
    YIELDS (Doc): The same docs, each after its line is written.
    RAISES (OutputError): E052 if the file system will not have it.
    """
    with open_output(path) as out:
        for doc in docs:
            out.write(dump_line(doc_to_post(doc)))
            yield doc


def _field_names(names: Iterable[Any]) -> str:
    return ", ".join(f"`{str(name)[:40]}`" for name in names)


def json_fields(post: Post) -> Post:
    """A post without what JSON cannot write (a PIL image, say), which is no field of a file; of a picture its name stays."""
    image: Any = post.get("image")
    if isinstance(image, dict):
        post = {**post, "image": image.get("path")}
    return {name: value for name, value in post.items() if isinstance(name, str) and _line_of(value) is not None}


def _line_of(value: Any) -> str | None:
    try:
        return dump_line(value).rstrip("\n")
    except (TypeError, ValueError):
        return None


def _keep_own_fields(doc: Doc, post: Post) -> None:
    """Fields of the user's own come out as they went in; what JSON cannot write is left out."""
    used = _USED_FIELDS if post.get("ents") is not None else _USED_FIELDS - {"expansions"}
    lines = {name: _line_of(value) for name, value in post.items() if isinstance(name, str) and name not in used}
    fields = [f"{json.dumps(name, ensure_ascii=False)}: {line}" for name, line in lines.items() if line is not None]
    if fields:
        doc.user_data[OWN_FIELDS_KEY] = "{" + ", ".join(fields) + "}"


def _image_as_given(doc: Doc) -> str | None:
    image = doc._.image
    given, path = doc.user_data.get(GIVEN_IMAGE_KEY, (None, None))
    if given is not None and (not isinstance(image, str) or image == path):
        return given
    return image if isinstance(image, str) else None


def _means_image(key: Any) -> bool:
    """Whether a key that is not read looks like one for the picture: "images", "img", "image_path", "imgae"."""
    if not isinstance(key, str) or key == "image" or len(key) > 20:
        return False
    word = "".join(sign for sign in key.lower() if sign.isalnum())
    return word in _PICTURE_KEYS or (len(word) <= 6 and bool(get_close_matches(word, ["image"], cutoff=0.8)))


def _ent_to_json(ent: Span) -> dict[str, Any]:
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
    name, text = post_name(doc), doc.text
    given = post["ents"]
    if not isinstance(given, list):
        record_error(doc, "post", Errors.E012.format(post=name, value=brief(given), length=len(text)))
        return
    expansions = post.get("expansions")
    if expansions is None:
        expansions = [None] * len(given)
    elif (
        not isinstance(expansions, list)
        or len(expansions) != len(given)
        or not all(value is None or isinstance(value, str) for value in expansions)
    ):
        record_error(doc, "post", Errors.E015.format(post=name, count=len(given), value=brief(expansions)))
        expansions = [None] * len(given)
    spans: list[Span] = []
    for value, expansion in zip(given, expansions):
        place = entity_place(value, text)
        span = _given_span(doc, text, value if place is None else list(place[:3]), name)
        if span is not None:
            if place is not None and place.moved:
                record_error(doc, "post", Errors.E446.format(post=name, text=span.text, start=place.start, end=place.end))
            set_fields(span, entity_fields(value, partial(_note_field, span, value)))
            if expansion:
                span._.expansion = expansion
            spans.append(span)
    kept = filter_spans(spans)
    places = {(span.start, span.end, span.label_) for span in kept}
    for span in spans:
        if (span.start, span.end, span.label_) not in places:
            value = [span.start_char, span.end_char, span.label_]
            record_error(doc, "post", Errors.E014.format(post=name, value=value))
    doc.ents = kept
    doc.user_data[GIVEN_ENTS_KEY] = True


def _note_field(span: Span, value: dict[str, Any], key: str, wanted: str) -> None:
    message = Errors.E447.format(post=post_name(span.doc), entity=span.text, key=key, wanted=wanted, value=brief(value[key]))
    record_error(span.doc, "post", message)


def _given_span(doc: Doc, text: str, value: Any, name: str) -> Span | None:
    fits = (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(x, int) and not isinstance(x, bool) for x in value[:2])
        and isinstance(value[2], str)
        and value[2] != ""
        and 0 <= value[0] < value[1] <= len(text)
        and text[value[0] : value[1]].strip() != ""
    )
    if not fits:
        record_error(doc, "post", Errors.E012.format(post=name, value=brief(value), length=len(text)))
        return None
    start, end, label = value
    span = doc.char_span(start, end, label=label)
    if span is None:
        # Blanks at the rims are no tokens, so a span with them has no borders.
        while start < end and is_invisible(text[start]):
            start += 1
        while start < end and is_invisible(text[end - 1]):
            end -= 1
        span = doc.char_span(start, end, label=label)
    if span is not None:
        shown = trim_invisible([token.text for token in span])
        if shown is not None:
            return Span(doc, span.start + shown[0], span.start + shown[1], label=label)
        record_error(doc, "post", Errors.E062.format(post=name, value=brief(value)))
        return None
    near = doc.char_span(start, end, label=label, alignment_mode="expand")
    if near is None:
        record_error(doc, "post", Errors.E012.format(post=name, value=brief(value), length=len(text)))
    else:
        values = {"start": near.start_char, "end": near.end_char}
        record_error(doc, "post", Errors.E013.format(post=name, value=brief(value), **values))
    return None
