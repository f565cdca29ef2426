"""A file of posts to go through and correct. What was saved is on the disk, whole, before anybody is told so."""

import json
import os
import threading
from pathlib import Path
from typing import Any

from spacy.tokens import Doc
from spacy.vocab import Vocab

from ..post.annotated import annotated_to_doc
from ..post.cache import RecentCache
from ..post.errors import Errors, PostError, RivegaError
from ..post.extensions import all_masks
from ..post.files import check_output, open_output
from ..post.image_sources import locate_image
from ..post.jsonl import dump_line, read_lines
from ..post.post_files import Post, check_posts, picture_root, read_posts
from ..post.posts import check_images, describe_post, doc_to_post, json_fields, tidy_post
from ..post.text import brief
from .problems import Problem

# The place of a post in the queue, in what is saved of it.
NUMBER_KEY = "queue_number"
# Annotated posts that are kept, so that going back and forth is quick.
_KEPT = 64


class CorrectionQueue:
    """Posts of a file, and what was made of them.

    posts (Path): Posts in any form that `read_posts` reads, annotated or not.
    save (Path): JSON lines of the posts that were saved, in the order of the queue: what `rivega convert` reads. Where it is there already,
        the queue goes on from it; where entities of a line cannot be used (it was edited elsewhere), the post is open again, with what is wrong
        in its `errors`, and the line stays until it is saved.
    images (Optional[Path]): Folder that relative image paths start from; that of `posts` without it.
    RAISES (RivegaError): E815 if `save` is something else; what `read_posts` raises.
    """

    def __init__(self, posts: Path, save: Path, *, images: Path | None = None) -> None:
        check_posts(posts)
        check_images(images)
        check_output(save, inputs=[posts] if posts.is_file() else [])
        self.posts, self.path = posts, save
        self.root = images if images is not None else picture_root(posts)
        # As lines, which take a fraction of the memory that objects take.
        self._lines: list[str] = []
        self._faults: dict[int, str] = {}
        for number, post in enumerate(read_posts(posts), start=1):
            if isinstance(post, PostError):
                self._faults[number] = str(post)
                post = {}
            elif not isinstance(post.get("text"), str):
                # Saved without a text, it could not be told from another post when one goes on.
                self._faults[number] = Errors.E010.format(post=describe_post(post))
            self._lines.append(dump_line(json_fields(tidy_post(post)[0])))
        self._saved: dict[int, str] = {}
        # Of saved lines that others wrote: entities as they are understood here, and the numbers of those of which some cannot be.
        self._understood: dict[int, Post] = {}
        self._unfit: set[int] = set()
        self._revisions: dict[int, int] = {}
        self._annotated: RecentCache[Post] = RecentCache(_KEPT)
        self._lock = threading.RLock()
        self._vocab = Vocab()
        self._stamp = self._read_saved()

    @property
    def total(self) -> int:
        """Posts in the queue."""
        return len(self._lines)

    @property
    def unfit(self) -> list[int]:
        """Numbers of posts that were saved with entities that cannot be used; they are open again."""
        with self._lock:
            return sorted(self._unfit)

    def summary(self) -> dict[str, Any]:
        """Where one stands: `total`, `saved`, `next` (the first post that is not saved, None at the end), `name` and `file`."""
        with self._lock:
            return {
                "name": self.posts.name,
                "file": self.path.name,
                "total": self.total,
                "saved": len(self._saved) - len(self._unfit),
                "next": self.next_open(0),
            }

    def next_open(self, after: int) -> int | None:
        """The first post behind `after` that is not saved, beginning again at the start; None if all are."""
        for number in (*range(after + 1, self.total + 1), *range(1, min(after, self.total) + 1)):
            if (number not in self._saved or number in self._unfit) and number not in self._faults:
                return number
        return None

    def fault(self, number: int) -> str | None:
        """What is wrong with a line that is no post."""
        return self._faults.get(number)

    def post(self, number: int) -> Post:
        """A post as the file has it. RAISES (Problem): 404 if there is no such post."""
        if not 1 <= number <= self.total:
            raise Problem(404, Errors.E817.format(number=number, total=self.total))
        return json.loads(self._lines[number - 1])

    def to_annotate(self, number: int) -> Post | None:
        """A post that the pipeline has to see before it can be corrected, with its picture where it lies; None for one that has entities."""
        post = self.post(number)
        if (
            number in self._saved
            or self._annotated.get(number) is not None
            or post.get("ents") is not None
            or number in self._faults
        ):
            return None
        picture = self.picture(number)
        return {**post, "image": picture} if picture is not None else post

    def keep_annotated(self, number: int, row: Post) -> None:
        """Keep what the pipeline made of a post."""
        with self._lock:
            self._annotated.put(number, {**row, "image": self.post(number).get("image")})

    def item(self, number: int) -> dict[str, Any]:
        """A post to show: `number`, `post` (a line of annotated posts), `saved`, `revision`, `picture` (whether there is one) and `fault`."""
        with self._lock:
            return {
                "number": number,
                "post": self._row(number),
                "saved": number in self._saved and number not in self._unfit,
                "revision": self._revisions.get(number, 0),
                "picture": self.picture(number) is not None,
                "fault": self.fault(number),
            }

    def picture(self, number: int) -> str | None:
        """Where the picture of a post is."""
        image = self.post(number).get("image")
        return locate_image(image, self.root) if isinstance(image, str) and image.strip() else None

    def save(self, number: int, ents: Any, revision: Any) -> dict[str, Any]:
        """Write what a person made of a post. It is on the disk when this returns.

        number (int): Of the post.
        ents (Any): Its entities, as in annotated posts.
        revision (Any): Of the item that was changed.
        RETURNS (Dict[str, Any]): The new item.
        RAISES (Problem): 404, 409 if another page or program was quicker, 422 if an entity cannot be used (nothing is saved).
        RAISES (OutputError): E052 if the file system will not have it; the queue is as it was.
        """
        with self._lock:
            base = self._row(number)
            if number in self._faults:
                raise Problem(422, self._faults[number])
            if isinstance(revision, bool) or not isinstance(revision, (int, float)):
                raise Problem(
                    422, Errors.E806.format(post=number, field="revision", value=brief(revision), wanted="that of the item")
                )
            if revision != self._revisions.get(number, 0):
                raise Problem(409, Errors.E818.format(number=number))
            if not isinstance(ents, list):
                raise Problem(
                    422, Errors.E806.format(post=number, field="ents", value="no list", wanted="the entities of the post")
                )
            row = {**base, "ents": self._checked(base, ents), "errors": [], NUMBER_KEY: number}
            before = self._saved.get(number)
            self._saved[number] = dump_line(row)
            try:
                self._write()
            except BaseException:
                if before is None:
                    del self._saved[number]
                else:
                    self._saved[number] = before
                raise
            self._understood.pop(number, None)
            self._unfit.discard(number)
            self._revisions[number] = self._revisions.get(number, 0) + 1
            return self.item(number)

    def _row(self, number: int) -> Post:
        post = self.post(number)
        if number in self._saved:
            return {**json.loads(self._saved[number]), **self._understood.get(number, {})}
        annotated = self._annotated.get(number)
        if annotated is not None:
            return annotated
        doc = annotated_to_doc({**post, "image": None, "ents": _with_expansions(post)}, self._vocab)
        row = doc_to_post(doc)
        own = {key: value for key, value in post.items() if key not in row and key != "expansions"}
        return {**row, "image": post.get("image"), "ents": _rows(doc), **own}

    def _checked(self, base: Post, ents: list[Any]) -> list[dict[str, Any]]:
        doc = _with_ents(base, ents, self._vocab)
        notes = [entry["message"] for entry in doc._.rivega_errors]
        if notes:
            raise Problem(422, notes[0], tuple(notes[1:]))
        return _rows(doc)

    def _read_saved(self) -> tuple[int, ...] | None:
        if not self.path.exists():
            return None
        stamp = _stamp(self.path)
        vocab = Vocab()
        for line, row in read_lines(self.path):
            number = row.get(NUMBER_KEY) if isinstance(row, dict) else None
            if not isinstance(row, dict) or type(number) is not int or not 1 <= number <= self.total:
                reason = row if isinstance(row, str) else f"line {line} has no `{NUMBER_KEY}` of the queue"
                raise RivegaError(Errors.E815.format(path=self.path, queue=self.posts, reason=reason))
            if row.get("text") != self.post(number).get("text"):
                reason = f"line {line} has another text than post {number} of the queue"
                raise RivegaError(Errors.E815.format(path=self.path, queue=self.posts, reason=reason))
            if number in self._saved:
                reason = f"line {line} is post {number} of the queue, and an earlier line is that already"
                raise RivegaError(Errors.E815.format(path=self.path, queue=self.posts, reason=reason))
            self._saved[number] = dump_line(row)
            self._revisions[number] = 1
            doc = _with_ents(row, row.get("ents"), vocab)
            if doc._.rivega_errors:
                self._unfit.add(number)
                self._understood[number] = {"ents": _rows(doc), "errors": doc._.rivega_errors}
            elif row.get("ents") != (ents := _rows(doc)):
                self._understood[number] = {"ents": ents}
        return stamp

    def _write(self) -> None:
        if (_stamp(self.path) if self.path.exists() else None) != self._stamp:
            raise Problem(409, Errors.E816.format(path=self.path.name))
        with open_output(self.path, binary=True) as out:
            for number in sorted(self._saved):
                out.write(self._saved[number].encode("utf8"))
            out.flush()
            # A file system may give the file its name before it has its bytes.
            os.fsync(out.fileno())
        self._stamp = _stamp(self.path)


def _with_expansions(post: Post) -> Any:
    """The entities of a post, the expansions that README's form has beside them put to each."""
    ents, expansions = post.get("ents"), post.get("expansions")
    if not isinstance(ents, list) or not isinstance(expansions, list) or len(ents) != len(expansions):
        return ents
    rows = [dict(zip(("start", "end", "label"), ent)) if isinstance(ent, list) and len(ent) == 3 else ent for ent in ents]
    return [{**row, "expansion": text} if isinstance(row, dict) and text else row for row, text in zip(rows, expansions)]


def _with_ents(post: Post, ents: Any, vocab: Vocab) -> Doc:
    """A post with these entities alone; what is wrong with them is noted on it."""
    return annotated_to_doc({"id": post.get("id"), "text": post.get("text"), "ents": ents}, vocab)


def _rows(doc: Doc) -> list[dict[str, Any]]:
    """Entities as annotated posts have them, and beside them all masks of those that have several."""
    rows = doc_to_post(doc)["ents"]
    for row, ent in zip(rows, doc.ents):
        masks = all_masks(ent)
        if len(masks) > 1:
            row["masks"] = masks
    return rows


def _stamp(path: Path) -> tuple[int, ...]:
    found = os.stat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns
