"""Each form of export as something to write: a file or a folder, whole or not at all."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from spacy.tokens import Doc

from ..corpus.docbin import write_docbin
from ..post.extensions import post_name
from ..post.files import open_output, open_output_folder, write_json, write_text
from ..post.jsonl import dump_line
from .coco import to_coco
from .label_studio import label_studio_config, to_label_studio
from .labelme import to_labelme
from .prodigy import to_prodigy_image, to_prodigy_text
from .tables import write_csv, write_parquet
from .web_annotation import CONTEXT, to_web_annotations


def export_posts(docs: Iterable[Doc], path: Path, form: str, *, image_prefix: str = "") -> None:
    """Write posts in another tool's form.

    docs (Iterable[Doc]): Posts with entities.
    path (Path): File, or folder where the form is one file a picture (`labelme`), two data sets (`prodigy`) or tasks with a config (`label-studio`).
    form (str): One of FORMS.
    image_prefix (str): For `label-studio`: put before each picture's path.
    """
    if form == "label-studio":
        _write_label_studio(docs, path, image_prefix)
    else:
        FORMS[form](docs, path)


def _write_coco(docs: Iterable[Doc], path: Path) -> None:
    write_json(path, to_coco(docs))


def _write_labelme(docs: Iterable[Doc], path: Path) -> None:
    with open_output_folder(path) as folder:
        for number, (name, content) in enumerate(to_labelme(docs), start=1):
            write_json(folder / f"{_file_name(name, number)}.json", content)


def _write_label_studio(docs: Iterable[Doc], path: Path, image_prefix: str = "") -> None:
    with open_output_folder(path) as folder:
        tasks = to_label_studio(docs, image_prefix=image_prefix)
        labels = {
            label: None
            for task in tasks
            for result in task["predictions"][0]["result"]
            if result["type"] == "labels"
            for label in result["value"]["labels"]
        }
        write_json(folder / "tasks.json", tasks)
        config = label_studio_config(labels) if labels else label_studio_config()
        write_text(folder / "config.xml", config)


def _write_prodigy(docs: Iterable[Doc], path: Path) -> None:
    with open_output_folder(path) as folder:
        # Both data sets in one pass over the posts.
        with open_output(folder / "text.jsonl") as texts, open_output(folder / "images.jsonl") as pictures:
            for number, doc in enumerate(docs, start=1):
                for out, tasks in (
                    (texts, to_prodigy_text([doc], start=number)),
                    (pictures, to_prodigy_image([doc], start=number)),
                ):
                    for task in tasks:
                        out.write(dump_line(task))


def _write_web_annotations(docs: Iterable[Doc], path: Path) -> None:
    with open_output(path) as out:
        head = {"@context": CONTEXT, "id": f"urn:rivega:page:{path.stem}", "type": "AnnotationPage", "items": []}
        start, end = dump_line(head).rstrip("\n").rsplit("[]", 1)
        out.write(start + "[")
        for separator, annotation in zip(itertools.chain([""], itertools.repeat(",")), to_web_annotations(docs), strict=False):
            out.write(separator + "\n" + dump_line(annotation).rstrip("\n"))
        out.write(f"\n]{end}\n")


def _write_csv(docs: Iterable[Doc], path: Path) -> None:
    with open_output(path) as out:
        write_csv(docs, out)


def _write_parquet(docs: Iterable[Doc], path: Path) -> None:
    with open_output_folder(path.parent) as folder:
        write_parquet(docs, folder / path.name)


def _write_docbin(docs: Iterable[Doc], path: Path) -> None:
    write_docbin(docs, path)


FORMS: dict[str, Callable[[Iterable[Doc], Path], None]] = {
    "coco": _write_coco,
    "labelme": _write_labelme,
    "label-studio": _write_label_studio,
    "prodigy": _write_prodigy,
    "web-annotation": _write_web_annotations,
    "csv": _write_csv,
    "parquet": _write_parquet,
    "docbin": _write_docbin,
}


def counted(docs: Iterable[Doc], counts: dict[str, int], reported: list[str]) -> Iterator[Doc]:
    """The same docs; `counts` adds up posts, entities and posts with errors, `reported` takes what the first three of these say."""
    for doc in docs:
        yield doc
        counts["posts"] = counts.get("posts", 0) + 1
        counts["entities"] = counts.get("entities", 0) + len(doc.ents)
        counts["errors"] = counts.get("errors", 0) + bool(doc._.rivega_errors)
        if doc._.rivega_errors and len(reported) < 3:
            reported.append(f"{post_name(doc)}: {doc._.rivega_errors[0]['message']}")


def _file_name(name: str, number: int) -> str:
    """An id as a file's name; ids that cannot be one get the post's number."""
    safe = name if name and name not in (".", "..") and not set(name) & set('/\\:*?"<>|\0\n\r') and len(name.encode()) < 200 else ""
    return safe or f"post-{number}"
