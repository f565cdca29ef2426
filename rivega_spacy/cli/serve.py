"""`rivega serve [PIPELINE]`: the page in the browser, and the HTTP API."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from .options import GpuId, Images
from .saying import say, warn

EXAMPLES = (
    "rivega serve",
    "rivega serve --queue posts.jsonl --save corrected.jsonl",
    "rivega serve training/rivega_twitter --port 9000 --gpu-id 0",
)
LIMITS = "Limits"


def run(
    pipeline: Annotated[str, typer.Argument(help="Installed pipeline or folder.")] = "rivega_twitter",
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; the default can only be reached from this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port to listen on; 0 for any free one.")] = 8765,
    allow_host: Annotated[
        list[str],
        typer.Option("--allow-host", metavar="NAME", help="Host name under which the server may be reached, besides its address."),
    ] = [],
    queue: Annotated[
        Path | None, typer.Option("--queue", help="Posts to go through and correct in the page, annotated or not.")
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option("--save", help="File for corrected posts (JSON lines).", show_default="NAME.corrected.jsonl beside the queue"),
    ] = None,
    images: Images = None,
    label: Annotated[
        list[str],
        typer.Option("--label", metavar="TYPE", help="Entity type that can be chosen on the page, besides the pipeline's own."),
    ] = [],
    gpu_id: GpuId = -1,
    max_bytes: Annotated[int, typer.Option("--max-bytes", help="Maximum size of a request's body.", rich_help_panel=LIMITS)] = 32
    * 1024
    * 1024,
    max_pixels: Annotated[
        int, typer.Option("--max-pixels", help="Maximum number of pixels in a picture.", rich_help_panel=LIMITS)
    ] = 40_000_000,
    max_text: Annotated[
        int, typer.Option("--max-text", help="Maximum number of characters in a text.", rich_help_panel=LIMITS)
    ] = 20_000,
    max_posts: Annotated[
        int, typer.Option("--max-posts", help="Maximum number of posts in one request.", rich_help_panel=LIMITS)
    ] = 64,
    max_waiting: Annotated[
        int, typer.Option("--max-waiting", help="Maximum number of posts waiting for the pipeline.", rich_help_panel=LIMITS)
    ] = 256,
    max_per_client: Annotated[
        int,
        typer.Option("--max-per-client", help="Maximum number of simultaneous requests from one address.", rich_help_panel=LIMITS),
    ] = 64,
    seconds: Annotated[
        float, typer.Option("--seconds", help="Seconds until a request must be answered.", rich_help_panel=LIMITS)
    ] = 60.0,
    body_seconds: Annotated[
        float, typer.Option("--body-seconds", help="Seconds to wait for a request's body.", rich_help_panel=LIMITS)
    ] = 20.0,
    max_batch: Annotated[
        int,
        typer.Option("--max-batch", help="Posts processed together; 1 for one at a time.", rich_help_panel=LIMITS),
    ] = 16,
    max_wait: Annotated[
        float, typer.Option("--max-wait", help="Milliseconds a post waits for others to share its batch.", rich_help_panel=LIMITS)
    ] = 5.0,
    cache_bytes: Annotated[
        int, typer.Option("--cache-bytes", help="Maximum size of the cache of decoded pictures.", rich_help_panel=LIMITS)
    ] = 128 * 1024 * 1024,
) -> int:
    """Serve until Ctrl+C or SIGTERM.

    RETURNS (int): 0; requests under way were answered.
    """
    from ..post.errors import Errors, RivegaError, SetupError

    for option, value in (("--save", save), ("--images", images)):
        if queue is None and value is not None:
            raise RivegaError(Errors.E814.format(option=option))
    try:
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise SetupError(Errors.E622.format(form="`rivega serve`", package=error.name, extra="serve")) from error

    from ..pipes.loading import load_pipeline
    from ..serve.app import create_app
    from ..serve.correcting import CorrectionQueue
    from ..serve.limits import Limits
    from ..serve.server import address_of, is_loopback, listen, run_server

    limits = Limits(
        body_bytes=max_bytes,
        pixels=max_pixels,
        text=max_text,
        posts=max_posts,
        waiting=max_waiting,
        per_client=max_per_client,
        seconds=seconds,
        body_seconds=body_seconds,
        batch=max_batch,
        wait=max_wait / 1000,
        cache_bytes=cache_bytes,
    )
    # What is wrong with the call is reported before the pipeline is loaded.
    with listen(host, port) as sock:
        corrections = None
        if queue is not None:
            corrections = CorrectionQueue(
                queue, save or queue.with_name(f"{queue.name.partition('.')[0]}.corrected.jsonl"), images=images
            )
        app = create_app(
            load_pipeline(pipeline, gpu_id=gpu_id), limits=limits, queue=corrections, hosts=[*allow_host, host], labels=label
        )
        if corrections is not None:
            known = corrections.summary()
            say(f"{known['total']} posts to correct, {known['saved']} of them saved -> {corrections.path}\n")
            if corrections.unfit:
                warn(
                    f"rivega serve: {len(corrections.unfit)} posts that were saved, the first of them post {corrections.unfit[0]}, have entities that "
                    "cannot be used. They are to be corrected again; until then the file keeps their lines.\n"
                )
        if not is_loopback(sock):
            warn("rivega serve: whoever reaches this address can use the server; it asks for no password.\n")
        say(f"{Path(pipeline).name} at {address_of(sock)} (Ctrl+C stops it)\n")
        sys.stdout.flush()
        run_server(app, sock, limits)
    return 0
