"""Any GMNER system becomes an SMNER system: masks for the boxes it predicted, from a box-prompted segmenter."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..pipes.loading import load_pipeline
from ..pipes.queries import Segmenter
from ..post.boxes import box_area, clip_boxes
from ..post.errors import Errors, ImageError, RivegaError
from ..post.images import read_image
from ..post.jsonl import write_lines
from ..post.rle import encode_mask
from .mentions import Annotations, Mention


def add_masks(predicted: Annotations, segmenter: Segmenter, pictures: Callable[[str], str | None]) -> Annotations:
    """The same predictions with a mask for every box that a prediction is judged by.

    predicted (Annotations): With boxes.
    segmenter (Segmenter): From pictures with boxes to masks (`load_segmenter`).
    pictures (Callable[[str], Optional[str]]): Path of a post's picture; None if there is none.
    RETURNS (Annotations): Entities whose picture cannot be read or whose box is empty have no mask; `notes` counts them.
    """
    result = Annotations(groundability=predicted.groundability, boxes=predicted.boxes, masks=True, name=predicted.name)
    result.images, result.texts, result.notes = dict(predicted.images), dict(predicted.texts), list(predicted.notes)
    result.refused = list(predicted.refused)
    failed = 0
    for post, mentions in predicted.posts.items():
        result.add_post(post)
        boxed = [place for place, mention in enumerate(mentions) if mention.box is not None and box_area(mention.box) > 0]
        masks: dict[int, Mention] = {}
        if boxed:
            image = _read(pictures(post))
            if image is None:
                failed += len(boxed)
            else:
                boxes = clip_boxes(np.array([mentions[place].box for place in boxed]), *image.shape[:2])
                (found,) = segmenter([(image, boxes)])
                for place, (mask, _) in zip(boxed, found):
                    masks[place] = replace(mentions[place], masks=(encode_mask(mask),))
        for place, mention in enumerate(mentions):
            result.add(masks.get(place, replace(mention, masks=())))
    if failed:
        result.notes.append(f"{failed} predicted boxes have no picture that can be read, so no mask")
    return result


def load_segmenter(source: str | Path) -> Segmenter:
    """A segmenter by name.

    source (Union[str, Path]): A SAM checkpoint (.pth, its name holding vit_h, vit_l or vit_b), a folder of a transformers SAM, or
        a pipeline that has a component which assigns masks.
    RETURNS (Segmenter): See `add_masks`.
    RAISES (RivegaError): E517 if the pipeline has no such component.
    """
    path = Path(source)
    if path.suffix == ".pth":
        from ..backends.sam.segmenter import make_sam

        kind = next((name for name in ("vit_l", "vit_b") if name in path.name), "vit_h")
        return make_sam(str(path), kind)
    if (path / "preprocessor_config.json").is_file():
        from ..backends.sam.hf_segmenter import make_hf_sam

        return make_hf_sam(str(path))
    nlp = load_pipeline(str(source))
    for name in nlp.pipe_names:
        if "span._.mask_rle" in nlp.get_pipe_meta(name).assigns:
            pipe: Any = nlp.get_pipe(name)
            return pipe.model.predict
    raise RivegaError(Errors.E517.format(assigned="span._.mask_rle", option="--segment-with"))


def write_mentions(annotations: Annotations, path: Path) -> None:
    """Entities as JSON lines, one a line, in a form that `read_annotations` reads.

    annotations (Annotations): The entities.
    path (Path): The file.
    """
    write_lines(path, map(_row, annotations.mentions))


def _row(mention: Mention) -> dict[str, Any]:
    row: dict[str, Any] = {"id": mention.post, "text": mention.text, "type": mention.type, "groundable": mention.groundable}
    return {**row, **_offsets(mention), "boxes": mention.boxes, "masks": mention.masks}


def _offsets(mention: Mention) -> dict[str, int | None]:
    row: dict[str, int | None] = {}
    for keys, offsets in ((("start", "end"), mention.tokens), (("start_char", "end_char"), mention.chars)):
        if offsets is not None:
            row.update(zip(keys, offsets))
    return row


def _read(path: str | None) -> np.ndarray | None:
    if path is None:
        return None
    try:
        return read_image(path)
    except ImageError:
        return None


def find_picture(folder: Path, known: dict[str, str] | None = None) -> Callable[[str], str | None]:
    """Where the pictures of posts are.

    folder (Path): With ID.jpg, .jpeg or .png, or what the references in `known` are relative to.
    known (Optional[Dict[str, str]]): References by post id, for example from the gold data.
    RETURNS (Callable): From a post's id to the path, or None.
    """

    def find(post: str) -> str | None:
        names: Iterable[str] = [f"{post}{end}" for end in (".jpg", ".jpeg", ".png")]
        if known is not None and post in known:
            names = [known[post], *names]
        return next((str(folder / name) for name in names if (folder / name).is_file()), None)

    return find
