"""`rivega serve [PIPELINE]`: the page in the browser, and the HTTP API."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from .options import GpuId, Images

EXAMPLES = (
    "rivega serve",
    "rivega serve --queue posts.jsonl --save corrected.jsonl",
    "rivega serve training/rivega_twitter --port 9000 --gpu-id 0",
)
LIMITS = "Limits"


def run(
    pipeline: Annotated[str, typer.Argument(help="Installed pipeline or folder.")] = "rivega_twitter",
    host: Annotated[
        str, typer.Option("--host", help="Address to listen at; the default is reached from this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port to listen at; 0 takes any that is free.")] = 8765,
    allow_host: Annotated[
        list[str], typer.Option("--allow-host", metavar="NAME", help="Name that the server may be called by, beside its address.")
    ] = [],
    queue: Annotated[
        Path | None, typer.Option("--queue", help="Posts to go through and correct in the page, annotated or not.")
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save", help="Where corrected posts are written, JSON lines.", show_default="NAME.corrected.jsonl beside the queue"
        ),
    ] = None,
    images: Images = None,
    label: Annotated[
        list[str],
        typer.Option("--label", metavar="TYPE", help="Type of entities to choose in the page, beside the pipeline's own."),
    ] = [],
    gpu_id: GpuId = -1,
    max_bytes: Annotated[int, typer.Option("--max-bytes", help="Of a request's body.", rich_help_panel=LIMITS)] = 32 * 1024 * 1024,
    max_pixels: Annotated[int, typer.Option("--max-pixels", help="Of a picture.", rich_help_panel=LIMITS)] = 40_000_000,
    max_text: Annotated[int, typer.Option("--max-text", help="Characters of a text.", rich_help_panel=LIMITS)] = 20_000,
    max_posts: Annotated[int, typer.Option("--max-posts", help="In one request.", rich_help_panel=LIMITS)] = 64,
    max_waiting: Annotated[
        int, typer.Option("--max-waiting", help="Posts that wait for the pipeline.", rich_help_panel=LIMITS)
    ] = 256,
    max_per_client: Annotated[
        int, typer.Option("--max-per-client", help="Requests of one address under way.", rich_help_panel=LIMITS)
    ] = 64,
    seconds: Annotated[float, typer.Option("--seconds", help="Until a request is answered.", rich_help_panel=LIMITS)] = 60.0,
    body_seconds: Annotated[float, typer.Option("--body-seconds", help="For a request to arrive.", rich_help_panel=LIMITS)] = 20.0,
    max_batch: Annotated[
        int,
        typer.Option("--max-batch", help="Posts that go through the pipeline together; 1 for each alone.", rich_help_panel=LIMITS),
    ] = 16,
    max_wait: Annotated[
        float, typer.Option("--max-wait", help="Milliseconds that a post waits for others.", rich_help_panel=LIMITS)
    ] = 5.0,
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
        say = sys.stdout.write
        if corrections is not None:
            known = corrections.summary()
            say(f"{known['total']} posts to correct, {known['saved']} of them saved -> {corrections.path}\n")
        if not is_loopback(sock):
            sys.stderr.write("rivega serve: whoever reaches this address can use the server; it asks for no password.\n")
        say(f"{Path(pipeline).name} at {address_of(sock)} (Ctrl+C stops it)\n")
        sys.stdout.flush()
        run_server(app, sock, limits)
    return 0
