"""The app: the API's routes and the page's files."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import spacy
from fastapi import FastAPI, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from spacy.language import Language
from spacy.vocab import Vocab
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor

from .. import __version__
from ..post.annotated import annotated_to_doc
from ..post.errors import Errors, ImageError, RivegaError
from ..post.images import keeping, kept_bytes
from ..post.jsonl import dump_line
from ..post.post_files import Post
from ..post.posts import doc_to_post, post_to_doc
from ..post.text import brief, replace_surrogates
from ..rendering.shapes import PALETTE
from . import schemas
from .batcher import Batcher
from .correcting import CorrectionQueue
from .downloads import DOWNLOADS, KINDS, download
from .guard import Guard
from .limits import Limits
from .masks import masks_for, segmenter_of
from .metrics import MEDIA_TYPE, Metrics
from .pictures import for_browser
from .problems import Problem, failed, handle_problems
from .reading import Entry, check_lengths, picture_of, read_body, read_entries

STATIC = Path(__file__).parent / "static"
_TYPES = ("PER", "LOC", "ORG", "OTHER")
_ANSWERS = schemas.problems(400, 403, 404, 408, 413, 415, 421, 422, 429, 500, 503)


class Number(Convertor[int]):
    """The number of a post in an address: so that PUT /queue/file saves no post of that name, and no number takes long to read."""

    regex = "[0-9]{1,40}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("number", Number())


class Served:
    """What the routes share.

    nlp (Language): The pipeline. queue (Optional[CorrectionQueue]): Posts to correct. labels (Iterable[str]): Types that a person may give.
    """

    def __init__(self, nlp: Language, limits: Limits, queue: CorrectionQueue | None, labels: Iterable[str] = ()) -> None:
        self.nlp = nlp
        self.more_labels = list(labels)
        self.limits = limits
        self.queue = queue
        self.metrics = Metrics()
        self.metrics.gauge("rivega_picture_cache_bytes", lambda: float(kept_bytes()))
        self.batcher = Batcher(nlp, limits, self.metrics)
        self.draining = False
        # The pipeline's vocabulary belongs to the thread of the batcher, which frees what was added during a batch.
        self._blank = spacy.blank("rivega")
        self._blank_lock = threading.Lock()

    async def wait_for(self, futures: "Iterable[Future[Any]]") -> list[Any]:
        """What jobs of the batcher come to. RAISES (Problem): 503 if that takes too long; then they are not begun any more."""
        waiting = [asyncio.wrap_future(future) for future in futures]
        if not waiting:
            return []
        try:
            _, late = await asyncio.wait(waiting, timeout=self.limits.seconds)
        finally:
            # Where it took too long, or whoever asked has gone: what is not begun is left out, and nobody hears of what failed.
            for each in waiting:
                if not each.cancel() and not each.cancelled():
                    each.exception()
        if late:
            raise Problem(503, Errors.E811.format(seconds=self.limits.seconds))
        return [each.exception() or each.result() for each in waiting]

    async def call(self, function: Callable[[], Any]) -> Any:
        """Something that needs the pipeline's components, where and when they are free."""
        (result,) = await self.wait_for([self.batcher.call(function)])
        if isinstance(result, Problem):
            raise result
        if isinstance(result, RivegaError):
            raise Problem(422, str(result)) from result
        if isinstance(result, BaseException):
            raise failed(result) from result
        return result

    async def annotate(self, entries: list[Entry]) -> list[dict[str, Any]]:
        """Posts through the pipeline, as lines; what cannot be used of one is noted on it."""
        known = [entry for entry in entries if "text" in entry.post]
        results = iter(await self.wait_for(self.batcher.annotate([entry.post for entry in known])))
        rows = []
        others = [{**entry.post, "text": ""} for entry in entries if "text" not in entry.post]
        unseen = iter(await run_in_threadpool(self._without_pipeline, others) if others else [])
        for entry in entries:
            row = next(results if "text" in entry.post else unseen)
            if isinstance(row, BaseException):
                problem = failed(row)
                if len(entries) == 1:
                    raise problem from row
                (row,) = await run_in_threadpool(self._without_pipeline, [{**entry.post, "image": None}])
                entry.faults.append(problem)
            row["errors"] = [*row["errors"], *({"component": "post", "message": fault.detail} for fault in entry.faults)]
            rows.append(row)
        return rows

    def _without_pipeline(self, posts: list[Post]) -> list[Post]:
        """The lines of posts that no component saw."""
        with self._blank_lock, self._blank.memory_zone():
            return [doc_to_post(post_to_doc(self._blank, post)) for post in posts]

    def labels(self) -> list[str]:
        """Types of entities that the pipeline finds, and those that were named beside them."""
        found: dict[str, None] = {}
        for name in self.nlp.pipe_names:
            if "doc.ents" in self.nlp.get_pipe_meta(name).assigns:
                found |= dict.fromkeys(getattr(self.nlp.get_pipe(name), "labels", ()))
        return list(dict.fromkeys([*(found or _TYPES), *self.more_labels]))


def create_app(
    nlp: Language,
    *,
    limits: Limits | None = None,
    queue: CorrectionQueue | None = None,
    hosts: Iterable[str] = (),
    labels: Iterable[str] = (),
) -> FastAPI:
    """The app of `rivega serve`, for a server of one's own or for tests.

    nlp (Language): The pipeline; the app alone uses it.
    limits (Optional[Limits]): How much a request may ask for.
    queue (Optional[CorrectionQueue]): Posts to correct in the page.
    hosts (Iterable[str]): Names that the server may be called by, beside localhost and addresses in numbers.
    labels (Iterable[str]): Types that the page offers beside those that the pipeline finds.
    RETURNS (FastAPI): An ASGI app. Its lifespan starts and ends the thread that the pipeline runs in.
    """
    served = Served(nlp, limits if limits is not None else Limits(), queue, labels)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # A server goes on for months, and hardly ever sees a picture again that it saw an hour ago.
        with keeping(served.limits.cache_bytes):
            served.batcher.start()
            yield
            served.draining = True
            await run_in_threadpool(served.batcher.stop)

    app = FastAPI(
        title="rivega",
        version=__version__,
        description=_ABOUT,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=_ANSWERS,
    )
    app.state.served = served
    handle_problems(app)
    _add_api(app, served)
    _add_pages(app, served)
    if queue is not None:
        _add_queue(app, served, queue)
    app.add_middleware(Guard, limits=served.limits, hosts=hosts, metrics=served.metrics)
    return app


def _add_api(app: FastAPI, served: Served) -> None:
    has_queue = served.queue is not None

    @app.post(
        "/annotate",
        tags=["posts"],
        openapi_extra=schemas.annotate(served.limits),
        responses={200: {"model": schemas.AnnotatedPost | list[schemas.AnnotatedPost]}},
    )
    async def annotate(request: Request) -> Response:
        """Find the entities of a post, or of a list of posts, and what of them the picture shows.

        The answer is the JSON line that `rivega annotate` writes, or a list of them. What could not be done for a post stands in its `errors`.
        A single post that cannot be used is answered with a problem; in a list it says so itself, and the others are done.
        """
        with served.batcher.expecting():
            value = await read_body(request, served.limits)
            entries = await read_entries(value, served.limits)
            alone = not isinstance(value, list)
            if alone and entries[0].faults:
                first, *more = entries[0].faults
                raise Problem(first.status, first.detail, tuple(fault.detail for fault in more))
            rows = await served.annotate(entries)
        return _json(rows[0] if alone else rows)

    @app.post(
        "/masks",
        tags=["page"],
        openapi_extra=schemas.about_picture(schemas.MASKS, needs_picture=True, queue=has_queue),
        responses={200: {"model": schemas.MaskAnswer}, **schemas.problems(501)},
    )
    async def masks(request: Request) -> Response:
        """The mask of an entity with given boxes, by the pipeline's segmenter."""
        value = _fields(await read_body(request, served.limits))
        image = await _picture(value, served)
        if image is None:
            raise Problem(422, Errors.E806.format(post="without id", field="image", value="missing", wanted="the picture"))
        boxes = value.get("boxes")
        if not isinstance(boxes, list) or not 1 <= len(boxes) <= 100:
            raise Problem(422, Errors.E806.format(post="without id", field="boxes", value=brief(boxes), wanted="1 to 100 boxes"))
        for box in boxes:
            # `check_box` takes what Python makes a number of: true, and "1".
            if isinstance(box, list) and not all(type(side) in (int, float) for side in box):
                raise Problem(422, Errors.E006.format(value=brief(box)))
        return _json(await served.call(lambda: masks_for(served.nlp, image, boxes)))

    @app.post(
        "/export/{form}",
        tags=["page"],
        openapi_extra=schemas.about_picture(schemas.EXPORT, needs_picture=False, queue=has_queue),
        responses={200: schemas.files(KINDS)},
    )
    async def export(
        form: Annotated[str, PathParameter(json_schema_extra={"enum": list(DOWNLOADS)})], request: Request
    ) -> Response:
        """A post, corrected or not, in another tool's form, or as a PNG with its boxes and masks."""
        if form not in DOWNLOADS:
            raise Problem(404, Errors.E738.format(option="form", allowed=f"one of {', '.join(DOWNLOADS)}", value=form[:40]))
        value = _fields(await read_body(request, served.limits))
        image = await _picture(value, served)
        name = replace_surrogates(str(value.get("name") or "picture")).replace("\\", "/").rpartition("/")[2][:120] or "picture"
        post = value.get("post")
        if not isinstance(post, dict):
            raise Problem(
                422, Errors.E806.format(post="without id", field="post", value=brief(post), wanted="a line of annotated posts")
            )
        if not _is_of_queue(served, value.get("number"), post):
            for problem in check_lengths(post, "without id", served.limits):
                raise problem
        file = await run_in_threadpool(_exported, served, post, image, form, name)
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name)}"}
        return Response(file.data, headers=headers, media_type=file.kind)

    @app.post(
        "/preview",
        tags=["page"],
        openapi_extra=schemas.about_picture({}, needs_picture=True, queue=has_queue),
        responses={200: schemas.PICTURE},
    )
    async def preview(request: Request) -> Response:
        """A picture as browsers show it: for TIFF and other formats that they do not know."""
        image = await _picture(_fields(await read_body(request, served.limits)), served)
        return await _shown(image, served)

    @app.get("/health", tags=["server"], responses={200: {"content": {"application/json": {}}}})
    async def health() -> Response:
        """Whether the server takes requests."""
        return _json(
            {"status": "stopping" if served.draining else "ok", "version": __version__, "pipeline": _pipeline_name(served.nlp)}
        )

    @app.get("/metrics", tags=["server"], responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Counts and times, as Prometheus reads them."""
        return Response(served.metrics.text(), media_type=MEDIA_TYPE)


def _add_pages(app: FastAPI, served: Served) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(STATIC / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return FileResponse(STATIC / "api.html")

    @app.get("/session", include_in_schema=False)
    async def session() -> Response:
        limits = served.limits
        return _json(
            {
                "pipeline": _pipeline_name(served.nlp),
                "labels": served.labels(),
                "segmenter": segmenter_of(served.nlp) is not None,
                "palette": PALETTE,
                "downloads": DOWNLOADS,
                "limits": {"bytes": limits.body_bytes, "text": limits.text, "pixels": limits.pixels},
                "queue": None if served.queue is None else await run_in_threadpool(served.queue.summary),
            }
        )

    app.mount("/static", StaticFiles(directory=STATIC), name="static")


def _add_queue(app: FastAPI, served: Served, queue: CorrectionQueue) -> None:
    @app.get("/queue", tags=["queue"], responses={200: {"content": {"application/json": {}}}})
    async def summary() -> Response:
        """How many posts there are, how many are saved, and which comes next."""
        return _json(await run_in_threadpool(queue.summary))

    @app.get("/queue/file", tags=["queue"], responses={200: {"content": {"application/x-ndjson": {}}}})
    async def saved_file() -> Response:
        """The posts that were saved, as JSON lines."""
        if not queue.path.is_file():
            raise Problem(404, Errors.E020.format(path=queue.path.name))
        return FileResponse(queue.path, media_type="application/x-ndjson", filename=queue.path.name)

    @app.get("/queue/{number:number}", tags=["queue"], responses={200: {"content": {"application/json": {}}}})
    async def item(number: int) -> Response:
        """A post of the queue; the pipeline annotates it where the file has no entities for it."""
        post = await run_in_threadpool(queue.to_annotate, number)
        if post is not None:
            with served.batcher.expecting():
                (row,) = await served.annotate([Entry(post)])
            await run_in_threadpool(queue.keep_annotated, number, row)
        return _json(await run_in_threadpool(queue.item, number))

    @app.get("/queue/{number:number}/picture", tags=["queue"], responses={200: schemas.PICTURE})
    async def picture(number: int) -> Response:
        """The picture of a post of the queue, as browsers show it."""
        return await _shown(await run_in_threadpool(queue.picture, number), served)

    @app.put(
        "/queue/{number:number}",
        tags=["queue"],
        openapi_extra=schemas.SAVE,
        responses={200: {"content": {"application/json": {}}}, **schemas.problems(409, 507)},
    )
    async def save(number: int, request: Request) -> Response:
        """Save a post with the entities that a person gave it. It is on the disk when the answer comes."""
        value = _fields(await read_body(request, served.limits))
        return _json(await run_in_threadpool(queue.save, number, value.get("ents"), value.get("revision", 0)))


async def _shown(image: str | bytes | None, served: Served) -> Response:
    if image is None:
        raise Problem(404, Errors.E806.format(post="without id", field="image", value="missing", wanted="the picture"))
    try:
        data, kind = await run_in_threadpool(for_browser, image, pixels=served.limits.pixels)
    except ImageError as error:
        raise Problem(422, str(error)) from error
    return Response(data, media_type=kind)


async def _picture(value: dict[str, Any], served: Served) -> str | bytes | None:
    """The picture that a request is about: its own, or that of a post of the queue."""
    if served.queue is not None and value.get("number") is not None:
        number = value["number"]
        return await run_in_threadpool(served.queue.picture, number if type(number) is int else 0)
    image = value.get("image")
    return await run_in_threadpool(picture_of, image, "without id", served.limits) if image else None


def _is_of_queue(served: Served, number: Any, post: dict[str, Any]) -> bool:
    """Whether a text is one of the server's own, which may be as long as it is."""
    if served.queue is None or type(number) is not int:
        return False
    return served.queue.post(number).get("text") == post.get("text")


def _exported(served: Served, post: dict[str, Any], image: str | bytes | None, form: str, name: str) -> Any:
    doc = annotated_to_doc({**post, "image": None}, Vocab())
    if doc._.rivega_errors and not post.get("errors"):
        raise Problem(422, doc._.rivega_errors[0]["message"])
    if image is not None:
        doc._.image = image
    try:
        return download(doc, form, picture_name=name)
    except RivegaError as error:
        raise Problem(422, str(error)) from error


def _fields(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Problem(422, Errors.E806.format(post="of the request", field="body", value=brief(value), wanted="an object"))
    return value


def _pipeline_name(nlp: Language) -> str:
    return f"{nlp.meta.get('lang', '')}_{nlp.meta.get('name', 'pipeline')} {nlp.meta.get('version', '')}".strip()


def _json(value: Any) -> Response:
    return Response(dump_line(value), media_type="application/json")


_ABOUT = "Named entities in posts with a picture, and the pixels that show them. Pictures are sent, never fetched."
