"""Texts, regions, knowledge and captions joined into compact posts."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ...ner.schemes import TaggedSpan, read_tags
from ...post.errors import Errors, RivegaError
from ...post.given_ents import entity_place, unused_fields
from ...post.image_sources import is_data_uri
from ...post.post_files import Post
from ..picture_files import PictureFolder
from ..posts_jsonl import check_row, read_json_lines, token_spaces
from .annotated import own_regions, read_annotated
from .coco import read_coco
from .conll import read_conll
from .coordinates import picture_size, read_box
from .dirt import Dirt
from .docbin_posts import read_docbin_posts
from .entity_table import read_entity_table
from .frames import fit_picture, look_at
from .json_files import read_json
from .label_studio import is_label_studio, read_label_studio
from .labelme import read_labelme
from .names import compose, match_pictures
from .prodigy import read_prodigy_regions, read_prodigy_text
from .published import add_knowledge, read_captions, read_descriptions
from .regions import AnnotatedPicture, Pictures, Region, choose_picture
from .riveg import add_expansions, is_riveg_table, read_riveg_posts
from .segmentations import read_rle
from .tags import TagReader
from .voc import read_voc
from .web_annotation import is_web_annotation, read_web_annotations

PathLike = str | Path
# Control characters (U+0092 is a stray cp1252 apostrophe), zero-width space, replacement character.
_ODD = re.compile("[\x00-\x1f\x7f-\x9f\u200b\ufffd]")
FORMATS = ("auto", "jsonl", "conll", "prodigy", "posts", "riveg", "label-studio", "web-annotation", "table", "docbin")
_ENDINGS = {".csv": "table", ".tsv": "table", ".parquet": "table", ".spacy": "docbin", ".jsonld": "web-annotation"}


@dataclass(frozen=True)
class Sources:
    """The files that a data set consists of.

    text (Path): Tokens and tags: CoNLL, compact JSON lines or a Prodigy export; or posts with `text` and `ents`; or RiVEG's VE or VG table; or
        what came back from a tool: a Label Studio export, W3C web annotations, a table of entities, a .spacy file.
    format (str): Which of them; "auto" looks at the file.
    boxes (Optional[Path]): Regions: a folder of VOC XML or labelme JSON, a COCO JSON file or a Prodigy export.
    masks (Optional[Path]): Regions that only masks are taken from, where boxes come from elsewhere (Twitter-SMNER beside
        Twitter-GMNER).
    knowledge (Optional[Path]): As RiVEG and PGIM publish it, in the order of the posts; several a post are kept side by side.
    expansions (List[Tuple[Optional[str], Path]]): Recorded expansions (riveg.py), each file with the name of the model that wrote it, or None.
    captions (Optional[Path]), descriptions (Optional[Path]): BLIP-2 and mPLUG-Owl files.
    images (Optional[Path]): Folder of the pictures, which then tell their size and which way up they are.
    tag_column (Optional[int]): Of CoNLL text: the column of the tags, from 1 or from the end as -1; None looks for it.
    lang (str): Language class that makes the tokens of posts that are only text.
    repair (bool): Match region names that differ from an entity in case, blanks or a cut-off end only.
    """

    text: Path
    format: str = "auto"
    boxes: Path | None = None
    masks: Path | None = None
    knowledge: Path | None = None
    expansions: list[tuple[str | None, Path]] = field(default_factory=list)
    captions: Path | None = None
    descriptions: Path | None = None
    images: Path | None = None
    repair: bool = False
    tag_column: int | None = None
    lang: str = "rivega"


def read_data_set(sources: Sources, dirt: Dirt) -> Iterator[Post]:
    """Compact posts of a data set.

    sources (Sources): Its files.
    dirt (Dirt): Takes what does not fit, or raises in strict mode.
    YIELDS (Dict[str, Any]): `id`, `tokens`, `tags`, and as far as there are sources `knowledge`, `caption`, `description`,
        `image`, `image_width`, `image_height`, `boxes` [{name, xyxy, mask_rle}], `masks` [{name, mask_rle}], `unclear` [name]. Names are
        those of entities; regions that match none are left out and counted. Unclear are entities of which only regions were drawn
        that cannot be used.
    RAISES (RivegaError): E020, E130-E134 for files that are not there or not what they should be.
    """
    boxes = None if sources.boxes is None else read_regions(sources.boxes, dirt)
    masks = None if sources.masks is None else read_regions(sources.masks, dirt)
    captions = None if sources.captions is None else read_captions(sources.captions, dirt)
    descriptions = None if sources.descriptions is None else read_descriptions(sources.descriptions, dirt)
    posts: Iterable[Post] = read_texts(sources.text, sources.format, dirt, tag_column=sources.tag_column, lang=sources.lang)
    if sources.knowledge is not None:
        # The order is all that ties knowledge to posts, so the texts (some megabytes) have to be at hand together.
        known = list(posts)
        add_knowledge(known, sources.knowledge, dirt)
        posts = iter(known)
    posts = _once(posts, dirt)
    for source, path in sources.expansions:
        known = list(posts)
        add_expansions(known, path, [_named(post) for post in known], source, dirt)
        posts = iter(known)
    folder = None if sources.images is None else PictureFolder(sources.images)
    names: list[dict[str, str]] = [{}, {}]
    if boxes is not None or masks is not None:
        # Which picture is meant by a name that a tool has changed shows only beside the names of all posts.
        posts = list(posts)
        keys = [(post["id"], _reference(post)) for post in posts]
        names = [{} if pictures is None else match_pictures(keys, pictures, dirt) for pictures in (boxes, masks)]
    for post in posts:
        _note_text(post, dirt)
        ents = own_regions(post, boxes=boxes is not None, masks=masks is not None)
        if ents is not None:
            post["ents"] = ents
        for key, given, unmatched in (("boxes", boxes, "unmatched_box"), ("masks", masks, "unmatched_mask")):
            if given is None and post.get(key) is not None:
                _join(post, _own_regions(post, key, dirt), key, unmatched, sources, dirt, folder)
        if boxes is not None:
            _join(post, boxes.get(names[0].get(post["id"], "")), "boxes", "unmatched_box", sources, dirt, folder)
        if masks is not None:
            _join(post, masks.get(names[1].get(post["id"], "")), "masks", "unmatched_mask", sources, dirt, folder)
            _note_unmasked(post, dirt)
        for key, texts in (("caption", captions), ("description", descriptions)):
            if texts is not None:
                post[key] = texts.get(post["id"])
                if post[key] is None:
                    dirt.note("no_caption", f"{post['id']} ({key})")
        yield post
    for file, pictures, used in ((sources.boxes, boxes, names[0]), (sources.masks, masks, names[1])):
        drawn = {
            name for name, picture in (pictures or {}).items() if any(known.regions for known in (picture, *picture.namesakes))
        }
        for name in sorted(drawn - set(used.values())):
            dirt.note("foreign_region", name)
        if drawn and not drawn & set(used.values()):
            dirt.note("no_region", f"{file}, which has {', '.join(sorted(drawn)[:3])}")


def _named(post: Post) -> list[tuple[str, str]]:
    """Text and type of a post's entities."""
    return [(" ".join(post["tokens"][start:end]), label) for start, end, label in read_tags(post["tags"])]


def _reference(post: Post) -> str | None:
    """The name that a post gives to its picture, if it is not the picture itself."""
    image = post.get("image")
    return image if isinstance(image, str) and not is_data_uri(image) else None


def _once(posts: Iterable[Post], dirt: Dirt) -> Iterator[Post]:
    """Of posts with one id the first."""
    seen: set[str] = set()
    for post in posts:
        if post["id"] in seen:
            dirt.note("duplicate_post", post["id"])
        else:
            seen.add(post["id"])
            yield post


def read_texts(path: PathLike, form: str, dirt: Dirt, *, tag_column: int | None = None, lang: str = "rivega") -> Iterator[Post]:
    """Posts with tokens and tags.

    path (PathLike): The file.
    form (str): One of `FORMATS`.
    dirt (Dirt): Takes what does not fit.
    tag_column (Optional[int]), lang (str): See `Sources`.
    YIELDS (Dict[str, Any]): Posts.
    RAISES (RivegaError): E133 for an unknown form, E440-E443 for columns.
    """
    readers: dict[str, Callable[[PathLike, Dirt], Iterator[Post]]] = {
        "conll": partial(read_conll, tag_column=tag_column),
        "prodigy": read_prodigy_text,
        "jsonl": _read_compact,
        "posts": partial(read_annotated, lang=lang),
        "riveg": read_riveg_posts,
        "label-studio": partial(read_label_studio, lang=lang),
        "web-annotation": partial(read_web_annotations, lang=lang),
        "table": partial(read_entity_table, lang=lang),
        "docbin": partial(read_docbin_posts, lang=lang),
    }
    form = _guess(Path(path)) if form == "auto" else form
    if form not in readers:
        raise RivegaError(Errors.E133.format(form=form, known=", ".join(FORMATS)))
    if tag_column is not None and form != "conll":
        raise RivegaError(Errors.E443.format(path=path, form=form))
    yield from readers[form](path, dirt)


def read_regions(path: PathLike, dirt: Dirt) -> Pictures:
    """Regions of any of the known kinds, told apart by what is there.

    path (PathLike): A folder of .xml (VOC) or .json (labelme); a .json file (COCO); a .jsonl file (Prodigy).
    dirt (Dirt): Takes what does not fit.
    RETURNS (Dict[str, AnnotatedPicture]): By post id.
    RAISES (RivegaError): E020 if there is nothing, E134 if it is none of them.
    """
    path = Path(path)
    if path.is_dir():
        return read_voc(path, dirt) if next(path.glob("*.xml"), None) is not None else read_labelme(path, dirt)
    if not path.is_file():
        raise RivegaError(Errors.E020.format(path=path))
    if path.suffix == ".json":
        return read_coco(path, dirt)
    if ".jsonl" in path.name:
        return read_prodigy_regions(path, dirt)
    raise RivegaError(Errors.E134.format(path=path))


def _read_compact(path: PathLike, dirt: Dirt) -> Iterator[Post]:
    reader = TagReader(dirt)
    for number, row in read_json_lines(path):
        name = str(number) if row.get("id") is None else str(row["id"])
        tokens, tags = check_row(row, path, number)
        for unused in unused_fields(row, "tags"):
            if unused != "ents" or not _same_entities(row, tags):
                dirt.note("unused_entities", f"{name} `{unused}`")
                row = {key: value for key, value in row.items() if key != unused}
        yield {**row, "id": name, "tags": reader.read(name, tokens, tags)}
    reader.close()


def _guess(path: Path) -> str:
    if not path.is_file():
        raise RivegaError(Errors.E020.format(path=path))
    form = _ENDINGS.get(Path(path.name.lower().removesuffix(".gz")).suffix)
    if form != "docbin" and is_riveg_table(path):
        return "riveg"
    if form is not None:
        return form
    if path.name.lower().endswith(".json"):
        try:
            value = read_json(path)
        except ValueError:  # JSON lines
            value = None
        if is_label_studio(value) or is_web_annotation(value):
            return "label-studio" if is_label_studio(value) else "web-annotation"
        return "posts" if isinstance(value, (list, dict)) else "jsonl"
    if ".jsonl" not in path.name:
        return "conll"
    for _, row in read_json_lines(path):
        if "ents" in row and isinstance(row.get("text"), str) and "spaces" not in row:
            return "posts"
        if "tags" in row or ("tokens" in row and "text" not in row):
            return "jsonl"
        if "spans" in row or "_task_hash" in row or "answer" in row:
            return "prodigy"
    return "posts"


def _same_entities(row: Post, tags: list[str]) -> bool:
    """Whether `ents` of a compact post are those of its tags: `rivega enrich` and `rivega convert` write them beside."""
    words, starts, text = row["tokens"], [], ""
    for word, space in zip(words, token_spaces(row, len(words))):
        starts.append(len(text))
        text += word + " " * space
    tagged = [(starts[start], starts[end - 1] + len(words[end - 1]), label) for start, end, label in read_tags(tags)]
    places = [entity_place(value, text) for value in row["ents"]] if isinstance(row["ents"], list) else []
    return tagged == [place[:3] for place in places if place is not None] and None not in places


def _note_text(post: Post, dirt: Dirt) -> None:
    """Tell what of a post's text trips programs up, though it is read as it is."""
    for token in post["tokens"]:
        if _ODD.search(token):
            dirt.note("odd_character", f"{post['id']} {token!r}")
    types: dict[str, str] = {}
    for start, end, label in read_tags(post["tags"]):
        text = " ".join(post["tokens"][start:end])
        if text in types:
            dirt.note("repeated_text", f"{post['id']} {text!r}")
            if types[text] != label:
                dirt.note("two_types", f"{post['id']} {text!r} {types[text]}, {label}")
        types.setdefault(text, label)


def _own_regions(post: Post, key: str, dirt: Dirt) -> AnnotatedPicture:
    """The boxes or masks that a compact post holds itself."""
    width, height, usable = picture_size(post.get("image_width"), post.get("image_height"))
    if not usable:
        dirt.note("bad_size", f"{post['id']} ({post.get('image_width')!r:.20} x {post.get('image_height')!r:.20})")
    picture = AnnotatedPicture(width, height)
    for row in post[key] if isinstance(post[key], list) else [post[key]]:
        region = _own_region(row, post["id"], dirt)
        if region is None:
            dirt.note("bad_region", f"{post['id']} {row!r:.80}")
            picture.lost += [row["name"]] if isinstance(row, dict) and isinstance(row.get("name"), str) else []
        else:
            picture.regions.append(region)
    return picture


def _own_region(row: Any, name: str, dirt: Dirt) -> Region | None:
    if not isinstance(row, dict) or not isinstance(row.get("name"), str):
        return None
    try:
        box = None if row.get("xyxy") is None else read_box(row["xyxy"])
    except ValueError:
        return None
    mask = None
    try:
        mask = None if not row.get("mask_rle") else read_rle(row["mask_rle"])
    except ValueError:
        if box is not None:
            dirt.note("bad_mask", f"{name} {row['name']!r}")
    return Region(row["name"], box, mask, own_box=box is not None) if box is not None or mask is not None else None


def _upright(post: Post, picture: AnnotatedPicture, folder: PictureFolder | None, dirt: Dirt) -> AnnotatedPicture:
    """A post's picture with its regions as they lie on what a person sees; without any where several pictures could be the post's."""
    found = None if folder is None else folder.find(post)
    chosen = choose_picture(picture, post.get("image") if isinstance(post.get("image"), str) else found)
    if chosen is None:
        lost = []
        for namesake in (picture, *picture.namesakes):
            for region in namesake.regions:
                dirt.note("ambiguous", f"{post['id']} {region.name!r} in {namesake.image or namesake.file}")
            lost += [*namesake.lost, *(region.name for region in namesake.regions)]
        return AnnotatedPicture(lost=lost)
    places = [folder.folder / found if folder is not None and found is not None else None, post.get("image"), chosen.file]
    sizes = (look_at(place) for place in places if chosen.regions and isinstance(place, (str, Path)))
    return fit_picture(chosen, next((size for size in sizes if size is not None), None), post["id"], dirt)


def _join(
    post: Post,
    picture: AnnotatedPicture | None,
    key: str,
    unmatched: str,
    sources: Sources,
    dirt: Dirt,
    folder: PictureFolder | None,
) -> None:
    """Put the regions of a post's picture into the post, under the names of its entities."""
    spans = read_tags(post["tags"])
    texts = [" ".join(post["tokens"][start:end]) for start, end, _ in spans]
    spellings = _spellings(post, spans, texts)
    # A type names an entity only where the post has a single one of it.
    types = [label for _, _, label in spans]
    by_type = {label: text for text, (_, _, label) in zip(texts, spans) if types.count(label) == 1}
    rows: list[dict[str, Any]] = []
    if picture is not None:
        picture = _upright(post, picture, folder, dirt)
        if picture.width is not None or post.get("image_width") is None:
            post["image_width"], post["image_height"] = picture.width, picture.height
        if picture.image and not post.get("image"):
            post["image"] = picture.image.replace("\\", "/")
    strange: set[str] = set()
    for region in picture.regions if picture is not None else ():
        name: str | None = region.name if region.name in texts else spellings.get(compose(region.name), by_type.get(region.name))
        if name is None and sources.repair:
            name = repaired_name(region.name, texts)
            if name is not None:
                dirt.note("repaired_name", f"{post['id']} {region.name!r} -> {name!r}")
        if name is None:
            dirt.note(f"{unmatched}_again" if region.name in strange else unmatched, f"{post['id']} {region.name!r}")
            strange.add(region.name)
            continue
        if key == "boxes":
            given = {"xyxy": region.xyxy} if region.xyxy is not None else {}
            rows.append({"name": name, **given, **({"mask_rle": region.mask} if region.mask else {})})
        elif region.mask:
            rows.append({"name": name, "mask_rle": region.mask})
    post[key] = rows
    # What was drawn but could not be used says nothing about whether the picture shows it.
    drawn = {row["name"] for row in rows}
    known = [name for name in post["unclear"] if isinstance(name, str)] if isinstance(post.get("unclear"), list) else []
    lost = [name if name in texts else by_type.get(name) for name in (*known, *(picture.lost if picture is not None else ()))]
    unclear = list(dict.fromkeys(name for name in lost if name is not None and name not in drawn))
    if unclear or "unclear" in post:
        post["unclear"] = unclear


def _spellings(post: Post, spans: list[TaggedSpan], texts: list[str]) -> dict[str, str]:
    """Other ways in which the same entity is written, to its text: accents apart or not, and blanks as in the post itself."""
    found = {compose(text): text for text in texts}
    if "spaces" in post:
        spaces = token_spaces(post, len(post["tokens"]))
        for text, (start, end, _) in zip(texts, spans):
            written = "".join(token + " " * space for token, space in zip(post["tokens"][start:end], spaces[start:end]))
            found.setdefault(compose(written.strip()), text)
    return found


def repaired_name(name: str, texts: list[str]) -> str | None:
    """The entity that a region's name means, where only one comes near enough.

    name (str): As the annotator wrote it ("Pacquia", "bob geldof", "Node . Js\\n").
    texts (List[str]): The post's entities.
    RETURNS (Optional[str]): The entity that has the same letters and digits but for case, or that begins with the name or is the
        beginning of it; None if there is none or several.
    """
    bare = _letters(name)
    same = {text for text in texts if bare and _letters(text) == bare}
    if not same and len(bare) >= 3:
        same = {
            text
            for text in texts
            if _letters(text).startswith(bare) or (bare.startswith(_letters(text)) and len(_letters(text)) >= 3)
        }
    return same.pop() if len(same) == 1 else None


def _letters(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def _note_unmasked(post: Post, dirt: Dirt) -> None:
    masked = {row["name"] for row in post["masks"]} | {row["name"] for row in post.get("boxes") or () if row.get("mask_rle")}
    for name in {row["name"] for row in post.get("boxes") or ()} - masked:
        dirt.note("unmasked", f"{post['id']} {name!r}")
