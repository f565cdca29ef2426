"""Posts as one HTML page that needs nothing else: pictures are embedded, text is escaped, no script, nothing from the network."""

import base64
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from spacy.tokens import Doc

from ..post.errors import Errors
from ..post.extensions import ID_KEY, post_name, record_error
from ..post.images import doc_image
from .escaping import html_text
from .expected import PostCheck
from .labels import place_labels
from .overlay import fit_picture, mask_layer
from .shapes import ABSENT, PALETTE, SHOWN, UNJUDGED, Shape, anchor_box, doc_shapes, rgb

# No script and no address of any kind: what a post says can then do nothing, however it is written.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
# Of how many entities of one post the pointer can single one out.
_HOVER = 24
# The width in CSS pixels that labels are laid out for; they scale with the picture from there.
_NOMINAL = 560.0
# A post's pictures take no more than so many bytes, so that fifty of them make a page of less than 5 MB.
_POST_BYTES = 92_000
_LEAST_BYTES = 30_000
_LEAST_SIDE = 320
# Opacity of a mask's inside, and in how many steps it rises to that: eyes see no more of them, and files grow with each.
_OPACITY = 0.42
_STEPS = 4
# Masks are drawn with at least this longer side, in pixels.
_MASK_SIDE = 800
_STATES = {SHOWN: "in the picture", ABSENT: "not in the picture"}


def make_html_page(
    *, title: str = "Posts", max_side: int = 1280, quality: int = 80, context: bool = True
) -> Callable[[Iterable[Doc]], str]:
    """`rivega.HTMLPage.v1`: `render_posts` with its settings; they are explained there."""

    def render(docs: Iterable[Doc]) -> str:
        return render_posts(docs, title=title, max_side=max_side, quality=quality, context=context)

    return render


def render_posts(
    docs: Iterable[Doc],
    *,
    title: str = "Posts",
    max_side: int = 1280,
    quality: int = 86,
    context: bool = True,
    checks: Mapping[str, PostCheck] | None = None,
    links: Mapping[str, str] | None = None,
) -> str:
    """A page with every post: its text with the entities marked, beside its picture with their masks and boxes.

    docs (Iterable[Doc]): Processed posts.
    title (str): The page's heading.
    max_side (int): Longer side of the embedded pictures in pixels; larger ones are scaled down, with boxes and masks, and further where a
        post's pictures would have more than 92 kB.
    quality (int): Of the embedded WebP pictures, 1..95.
    context (bool): Show caption, description and knowledge, folded away.
    checks (Optional[Mapping[str, PostCheck]]): Comparison with what is expected, by post id (see `expected.py`).
    links (Optional[Mapping[str, str]]): Text -> relative address, for example of the next page.
    RETURNS (str): The HTML.
    """
    articles, count, entities, shown, right, judged = [], 0, 0, 0, 0, 0
    for doc in docs:
        check = (checks or {}).get(str(doc.user_data.get(ID_KEY)))
        try:
            shapes = doc_shapes(doc)
            article = "".join(_article(doc, shapes, check, max_side, quality, context, count + 1))
        except Exception as error:  # whatever is odd about one post, the page has the others
            record_error(doc, "rendering", Errors.E065.format(post=post_name(doc), reason=f"{type(error).__name__}: {error}"))
            shapes, article = [], _failed_article(doc, count + 1)
        articles.append(article)
        count, entities = count + 1, entities + len(shapes)
        shown += sum(shape.state == SHOWN for shape in shapes)
        right, judged = right + (check.right if check else 0), judged + (check.total if check else 0)
    summary = f"{_plural(count, 'post')}, {_plural(entities, 'entity')}, {shown} of them in a picture"
    if judged:
        summary += f"; {right} of {judged} as expected"
    nav = "".join(f'<a href="{html_text(address)}">{html_text(text)}</a>' for text, address in (links or {}).items())
    nav = f"<nav aria-label=pages>{nav}</nav>" if nav else ""
    css = Path(__file__).with_name("page.css").read_text(encoding="utf8") + _colour_rules()
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html_text(title)}</title>\n<style>\n{css}</style></head>\n<body><main class=sheet>"
        f"<h1>{html_text(title)}</h1><p class=lead>{summary}</p>{_controls(bool(checks))}{nav}\n"
        + "\n".join(articles)
        + f"\n{nav}</main></body></html>\n"
    )
    # Lone surrogates, which JSON can carry, have no UTF-8.
    return page.encode("utf8", "replace").decode("utf8")


def _controls(checked: bool) -> str:
    boxes = [("masks", "masks", True), ("boxes", "boxes", True), ("names", "names", True)]
    if checked:
        boxes.append(("gold", "expected boxes", False))
    inputs = "".join(
        f'<label><input type=checkbox id="see-{key}"{" checked" if on else ""}>{text}</label>' for key, text, on in boxes
    )
    return (
        f"<div class=bar role=group aria-label='what is drawn'>{inputs}<span class='key push'><mark class=shown style='--c:{PALETTE[0]}'>in the picture</mark></span>"
        "<span class=key><mark class=absent>not in the picture</mark></span>"
        "<span class=key><mark class=unjudged>not judged</mark></span></div>"
    )


def _colour_rules() -> str:
    rules = [f".n{number}{{--c:{PALETTE[(number - 1) % len(PALETTE)]}}}" for number in range(1, _HOVER + 1)]
    for number in range(1, _HOVER + 1):
        # Pointing at one entity or going to it with the keyboard, in the text, the list or the picture, fades the others of its post.
        chosen = f".post:has(.n{number}:is(:hover,:focus-within))"
        rules.append(
            f"{chosen} :is(.mask,.tag,rect):not(.n{number}){{opacity:.12}}"
            f"{chosen} mark.n{number}{{box-shadow:inset 0 0 0 2px var(--c)}}{chosen} li.n{number}{{background:var(--chip)}}"
        )
    return "\n".join(rules) + "\n"


def _article(
    doc: Doc, shapes: Sequence[Shape], check: PostCheck | None, max_side: int, quality: int, context: bool, place: int
) -> Iterator[str]:
    name = doc.user_data.get(ID_KEY)
    number = sum(shape.state == SHOWN for shape in shapes)
    if check:
        tone = "right" if check.right == check.total else "wrong"
        summary = f"<span class={tone}>{check.right} of {check.total} as expected</span>"
    elif not shapes:
        summary = "no entities"
    elif all(shape.state == UNJUDGED for shape in shapes):
        summary = _plural(len(shapes), "entity")
    else:
        summary = f"{number} of {_plural(len(shapes), 'entity')} in the picture"
    yield f"<article class=post aria-labelledby=p{place}><div class=cols><div class=words>"
    yield f"<div class=head>{_heading(name, place)}<span class=sum>{summary}</span></div>"
    yield _marked_text(doc, shapes, place)
    rows = [_row(shape, check, f"{place}-{number}") for number, shape in enumerate(shapes, start=1)]
    rows += [_missed_row(text) for text in (check.missed if check else [])]
    if rows:
        yield f"<ul class=ents>{''.join(rows)}</ul>"
    if context:
        yield _context(doc)
    yield _notes(doc)
    yield "</div>"
    yield from _photo(doc, shapes, check, max_side, quality)
    yield "</div></article>"


def _heading(name: object, place: int) -> str:
    return f"<h2 class=id id=p{place}>{html_text(str(name)) if name is not None else f'Post {place}'}</h2>"


def _failed_article(doc: Doc, place: int) -> str:
    """A post of which only the text can be shown, with the reason."""
    head = f"<div class=head>{_heading(doc.user_data.get(ID_KEY), place)}</div>"
    return (
        f"<article class=post><div class=words>{head}<p class=text dir=auto>{html_text(doc.text)}</p>{_notes(doc)}</div></article>"
    )


def _notes(doc: Doc) -> str:
    items = "".join(
        f"<li><b>{html_text(e.get('component', ''))}</b> {html_text(e.get('message', ''))}</li>" for e in doc._.rivega_errors
    )
    return f"<ul class=errors>{items}</ul>" if items else ""


def _marked_text(doc: Doc, shapes: Sequence[Shape], place: int) -> str:
    text = doc.text
    if not text.strip():
        return "<p class='text none'>no text</p>"
    parts, at = [], 0
    for number, shape in enumerate(shapes, start=1):
        ent = shape.ent
        parts.append(html_text(text[at : ent.start_char]))
        # Links, so that the keyboard reaches both sides: the mark leads to its row, and the row back to its mark.
        parts.append(
            f"<mark class='{_classes(shape)}'{_style(shape)} dir=auto id=m{place}-{number}><a href='#e{place}-{number}'>{html_text(ent.text)}"
            f"<small>{html_text(ent.label_)}</small></a></mark>"
        )
        at = ent.end_char
    parts.append(html_text(text[at:]))
    return f"<p class=text dir=auto>{''.join(parts)}</p>"


def _row(shape: Shape, check: PostCheck | None, key: str) -> str:
    ent = shape.ent
    score = ent._.groundable_score
    facts = []
    if score is not None:
        width = round(100 * min(1.0, max(0.0, float(score))))
        facts.append(f"<span class=meter><i style='width:{width}%'></i></span>")
    known = _STATES.get(shape.state, "not judged")
    facts.append(f"<span><b>{known}</b>{_number(score)}</span>")
    if shape.boxes:
        what = f"box{_number(ent._.box_score)}" if len(shape.boxes) == 1 else f"{len(shape.boxes)} boxes{_number(ent._.box_score)}"
        facts.append(f"<span>{what}</span>")
    elif shape.state == SHOWN and shape.mask is None:
        facts.append("<span>no box</span>")
    if shape.mask is not None:
        facts.append(f"<span>mask{_number(ent._.mask_score)}, {shape.mask.mean():.1%} of the picture</span>")
    if ent._.ner_score is not None:
        facts.append(f"<span>tagger{_number(ent._.ner_score)}</span>")
    means = f" <span class=means>{html_text(ent._.expansion)}</span>" if ent._.expansion else ""
    verdict = check.verdicts.get((ent.start_char, ent.end_char)) if check else None
    judge, why = "<span></span>", ""
    if verdict is not None:
        tone, sign, says = ("right", "✓", "as expected") if verdict.right else ("wrong", "✗", "not as expected")
        judge = f"<span class='judge {tone}' title='{says}'>{sign}</span>"
        why = f"<span class=why>{html_text(verdict.reason)}</span>" if verdict.reason else ""
    if shape.problem:
        why += f"<span class=why>{html_text(shape.problem)}</span>"
    return (
        f"<li class='{_classes(shape)}'{_style(shape)} id=e{key}><span class=dot>{shape.number or '–'}</span>"
        f"<span><a href='#m{key}'><bdi class=name>{html_text(ent.text)}</bdi></a><span class=type>{html_text(ent.label_)}</span>{means}</span>{judge}"
        f"<span class=facts>{''.join(facts)}</span>{why}</li>"
    )


def _missed_row(text: str) -> str:
    return (
        f"<li class=absent><span class=dot>–</span><span><bdi class=name>{html_text(text)}</bdi></span>"
        "<span class='judge wrong'>✗</span><span class=why>not found in the text</span></li>"
    )


def _context(doc: Doc) -> str:
    fields = [("caption", doc._.caption), ("description", doc._.description), ("knowledge", doc._.knowledge)]
    fields = [(name, value) for name, value in fields if value]
    return "".join(f"<details><summary>{name}</summary><p dir=auto>{html_text(value)}</p></details>" for name, value in fields)


def _photo(doc: Doc, shapes: Sequence[Shape], check: PostCheck | None, max_side: int, quality: int) -> Iterator[str]:
    image = doc_image(doc, "rendering")
    if image is None:
        yield f"<div class=nophoto>{'no picture' if doc._.image is None else 'the picture cannot be read'}</div>"
        return
    height, width = image.shape[:2]
    picture = fit_picture(image, 1, max_side)
    yield f"<figure class=photo><div class=frame style='--ratio:{width / height:.4f};aspect-ratio:{width}/{height}'>"
    layers = [(shape, _mask_layer(shape.mask, shape.colour, picture)) for shape in shapes if shape.mask is not None]
    room = max(_LEAST_BYTES, _POST_BYTES - sum(len(layer) for _, layer in layers))
    size = f'width="{picture.width}" height="{picture.height}"'
    yield f'<img loading=lazy decoding=async alt="{html_text(describe(doc, shapes))}" {size} src="{_photo_data(picture, quality, room)}">'
    for shape, layer in sorted(layers, key=lambda pair: -int(pair[0].mask.sum() if pair[0].mask is not None else 0)):
        yield f"<img loading=lazy decoding=async class='mask {_classes(shape)}' alt='' src=\"{layer}\">"
    yield f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" aria-hidden="true">'
    yield from _rects(shapes, check)
    yield "</svg>"
    yield from _tags(shapes, width, height)
    source = doc._.image
    caption = f"{Path(source).name}, " if isinstance(source, str) else ""
    yield f"</div><figcaption>{html_text(caption)}{width} × {height}</figcaption></figure>"


def _rects(shapes: Sequence[Shape], check: PostCheck | None) -> Iterator[str]:
    for box in check.gold_boxes if check else []:
        yield f"<rect class=gold {_place(box)}/>"
    drawn: list[np.ndarray] = []
    for shape in shapes:
        for box in shape.boxes:
            # Entities with the same box: each further frame goes inside the one before.
            side = min(box[2] - box[0], box[3] - box[1])
            same = sum(bool(np.abs(np.array(box) - other).max() < 0.02 * max(side, 1)) for other in drawn)
            drawn.append(np.array(box))
            step = min(same * 0.03, 0.4) * side
            inner = [box[0] + step, box[1] + step, box[2] - step, box[3] - step]
            yield f"<rect class='under {_classes(shape)}' {_place(inner)}/><rect class='over {_classes(shape)}'{_style(shape)} {_place(inner)}/>"


def _tags(shapes: Sequence[Shape], width: int, height: int) -> Iterator[str]:
    anchored = [(shape, anchor_box(shape)) for shape in shapes if shape.colour is not None]
    placed = [(shape, box) for shape, box in anchored if box is not None]
    scale = _NOMINAL / width
    sizes = [(min(_NOMINAL, 16.0 + 8.5 * len(f"{shape.number} {shape.ent.text}")), 23.0) for shape, _ in placed]
    anchors = [[side * scale for side in box] for _, box in placed]
    places = place_labels(anchors, sizes, _NOMINAL, height * scale)
    for (shape, _), (left, top), (wide, _) in zip(placed, places, sizes):
        # The width is a guess, the browser's font decides: at the right edge the label is held by its right side.
        side = "right:0" if left > 0 and left + wide >= _NOMINAL - 0.5 else f"left:{left / _NOMINAL:.2%}"
        where = f"{side};top:{top / (height * scale):.2%}"
        style = f"{where};--c:{shape.colour}"
        yield f"<span class='tag {_classes(shape)}' style='{style}'>{shape.number} <bdi>{html_text(shape.ent.text)}</bdi></span>"


def describe(doc: Doc, shapes: Sequence[Shape]) -> str:
    """What a picture shows, for those who do not see it: its caption, and which of the text's entities are in it and which not."""

    def named(state: str) -> str:
        return ", ".join(f"{shape.ent.text} ({shape.ent.label_})" for shape in shapes if shape.state == state)

    parts = [doc._.caption.strip().rstrip(".") if doc._.caption and doc._.caption.strip() else "Picture of the post"]
    parts += [f"{says} {names}" for says, names in (("It shows", named(SHOWN)), ("It does not show", named(ABSENT))) if names]
    return ". ".join(parts) + "."


def _photo_data(picture: Image.Image, quality: int, room: int) -> str:
    """The picture as a data: URI of about so many bytes at most, scaled down until it is."""
    while True:
        data = _data_uri(picture, quality=quality, method=2)
        if len(data) <= room or max(picture.size) <= _LEAST_SIDE:
            return data
        # Bytes go with the area; a little less, so that one more round is seldom needed.
        scale = max(0.4, min(0.92, (room / len(data)) ** 0.5))
        picture = picture.resize(
            (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), Image.Resampling.LANCZOS
        )


def _mask_layer(mask: np.ndarray, colour: str | None, picture: Image.Image) -> str:
    # Outlines of small pictures are drawn finer than their pixels: the page enlarges them.
    factor = _MASK_SIDE / max(picture.size)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    layer = mask_layer(mask, size, rgb(colour), _OPACITY)
    step = 255 * _OPACITY / _STEPS
    layer.putalpha(layer.getchannel("A").point([min(255, round(round(value / step) * step)) for value in range(256)]))
    return _data_uri(layer, lossless=True, quality=60, method=2)


def _data_uri(picture: Image.Image, **settings: int | bool) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", **settings)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _classes(shape: Shape) -> str:
    return f"{shape.state} n{shape.number}" if shape.number is not None else shape.state


def _style(shape: Shape) -> str:
    # Beyond the entities that have a rule of their own the colour is given in place.
    return f" style='--c:{shape.colour}'" if shape.number is not None and shape.number > _HOVER else ""


def _place(box: Sequence[float]) -> str:
    x1, y1, x2, y2 = box
    return f'x="{x1:.2f}" y="{y1:.2f}" width="{max(0.0, x2 - x1):.2f}" height="{max(0.0, y2 - y1):.2f}"'


def _number(value: float | None) -> str:
    return "" if value is None else f" {float(value):.2f}"


_PLURALS: dict[str, str] = {"post": "posts", "entity": "entities"}


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun if count == 1 else _PLURALS[noun]}"
