"""The work of `rivega annotate`: posts through a pipeline, a chunk at a time."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, DocBin

from ...pipes.loading import load_pipeline
from ...post import images as pictures
from ...post.errors import Errors, PostError, RivegaError
from ...post.extensions import record_error
from ...post.jsonl import dump_line
from ...post.pipeline_files import check_pipeline_files
from ...post.posts import describe_post, doc_to_post, post_to_doc
from .shards import DOCBIN, JSONL
from .tally import Tally
from .work import Given, Outcome


@dataclass(frozen=True)
class AnnotateWork:
    """Posts through a pipeline.

    model (str): Installed pipeline or folder, which every worker loads by itself.
    images (Optional[str]): Folder that relative image paths start from.
    batch_size (Optional[int]): Posts a batch; None takes a chunk as one.
    gpu_id (int): GPU; -1 for the CPU.
    form (str): See `shards.FORMS`.
    """

    model: str
    images: str | None = None
    batch_size: int | None = None
    gpu_id: int = -1
    form: str = JSONL

    @property
    def device(self) -> int:
        return self.gpu_id

    def identity(self) -> dict[str, Any]:
        """Name, version and digest of the pipeline, and the settings. RAISES (RivegaError): E500 if there is no such pipeline."""
        return {
            "task": "annotate",
            "pipeline": pipeline_identity(self.model),
            "options": {"images": self.images, "batch_size": self.batch_size, "gpu": self.gpu_id >= 0},
        }

    def load(self) -> Callable[[Sequence[Given]], Outcome]:
        return Annotator(load_pipeline(self.model, gpu_id=self.gpu_id), self)

    def lost(self, post: Given, reason: str) -> Outcome:
        import spacy

        doc = post_to_doc(spacy.blank("rivega"), post, images=_folder(self.images))
        name = "which could not be read" if isinstance(post, PostError) else describe_post(post)
        record_error(doc, "job", Errors.E841.format(post=name, reason=reason))
        return outcome_of([doc], self.form)


class Annotator:
    """A loaded pipeline that makes results of posts. What it says of a chunk depends on that chunk alone, not on earlier ones.

    nlp (Language): The pipeline.
    work (AnnotateWork): The settings.
    """

    def __init__(self, nlp: Language, work: AnnotateWork) -> None:
        self.nlp = nlp
        self.work = work

    def __call__(self, posts: Sequence[Given]) -> Outcome:
        # Else the vocabulary would keep every word of every post.
        with self.nlp.memory_zone():
            return outcome_of(list(self._docs(posts)), self.work.form)

    def _docs(self, posts: Sequence[Given]) -> Iterator[Doc]:
        forget_pictures()
        made = (post_to_doc(self.nlp, post, images=_folder(self.work.images)) for post in posts)
        yield from self.nlp.pipe(made, batch_size=self.work.batch_size or len(posts) or 1)

    def rows(self, posts: Sequence[Given]) -> list[dict[str, Any]]:
        """The annotated posts as JSON objects (`doc_to_post`)."""
        with self.nlp.memory_zone():
            return [doc_to_post(doc) for doc in self._docs(posts)]


def outcome_of(docs: Sequence[Doc], form: str) -> Outcome:
    """Results and counts of processed posts.

    docs (Sequence[Doc]): The posts.
    form (str): "docbin" keeps the docs themselves; the others are made of JSON lines.
    RETURNS (Outcome): One payload.
    """
    tally = tally_of(docs)
    if form != DOCBIN:
        return Outcome(["".join(dump_line(doc_to_post(doc)) for doc in docs).encode("utf8")], tally)
    store = DocBin(store_user_data=True)
    for doc in docs:
        if Doc.has_extension("trf_data"):
            # Vectors of every piece, a thousand times the post, which nothing reads later.
            user_data: dict[Any, Any] = doc.user_data
            user_data.pop(("._.", "trf_data", None, None), None)
        store.add(doc)
    return Outcome([store.to_bytes()], tally)


def tally_of(docs: Sequence[Doc]) -> Tally:
    """Counts of processed posts."""
    tally = Tally(posts=len(docs))
    for doc in docs:
        tally.entities += len(doc.ents)
        tally.grounded += sum(bool(ent._.boxes) for ent in doc.ents)
        tally.note(doc._.rivega_errors)
    return tally


def forget_pictures() -> None:
    """Empty the caches of decoded and encoded pictures, from which a number may come in its last digit otherwise than computed anew."""
    from ...backends.small.answers import clear_store

    pictures.clear_cache()
    clear_store()


def pipeline_identity(model: str) -> dict[str, Any]:
    """What a pipeline is: its name, version, and a hash over all its files, weights and config.

    model (str): Installed pipeline or folder.
    RAISES (RivegaError): E500 if there is no such pipeline, E976 if it holds what is no file.
    """
    import spacy

    import rivega_spacy

    folder = Path(model)
    if not folder.is_dir():
        if not spacy.util.is_package(model):
            raise RivegaError(Errors.E500.format(model=model, reason="neither installed nor a folder"))
        folder = spacy.util.get_package_path(model)
    check_pipeline_files(folder)
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        digest.update(f"{file.relative_to(folder).as_posix()}\n".encode("utf8", "surrogateescape"))
        digest.update(f"{file.stat().st_size}\n".encode())
        with open(file, "rb") as data:
            while block := data.read(1 << 20):
                digest.update(block)
    meta: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):  # what is no pipeline says so when it is loaded
        meta = json.loads((folder / "meta.json").read_text(encoding="utf8"))
    name = "_".join(str(meta[key]) for key in ("lang", "name") if key in meta)
    return {
        "name": name or str(model),
        "version": str(meta.get("version")),
        "files": digest.hexdigest(),
        "rivega_spacy": rivega_spacy.__version__,
    }


def _folder(images: str | None) -> Path | None:
    return None if images is None else Path(images)


__all__ = ["AnnotateWork", "Annotator", "forget_pictures", "outcome_of", "pipeline_identity", "tally_of"]
