"""`rivega annotate posts.jsonl out.jsonl`: entities, boxes and masks for a file of posts."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Columns, Form, GpuId, Model, PostsImages, print_summary, read_columns

EXAMPLES = (
    "rivega annotate posts.jsonl annotated.jsonl",
    "rivega annotate posts.jsonl.gz annotated.jsonl.gz --images pictures --n-process 4",
    "rivega annotate tweets.csv annotated.jsonl --column text=tweet --column image=photo",
    "rivega annotate photos/ annotated.jsonl --model training/rivega_twitter --gpu-id 0",
    "rivega annotate - annotated.jsonl --images pictures",
)


def run(
    posts: Annotated[
        Path,
        typer.Argument(
            help="JSONL, JSON, CSV or Parquet with text, image; optional id, knowledge, caption, description, ents, expansions. A folder "
            "of pictures with a.txt or a.json beside a.jpg. - is stdin."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Where to write JSON lines (.gz compresses); - is stdout.")],
    model: Model = "rivega_twitter",
    images: PostsImages = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Posts a batch.", show_default="the pipeline's")] = None,
    n_process: Annotated[int, typer.Option("--n-process", help="Worker processes.")] = 1,
    gpu_id: GpuId = -1,
    form: Form = "auto",
    column: Columns = [],
) -> int:
    """Annotate the file.

    RETURNS (int): 0 where every post went through whole, 1 where some carry errors (they are in the output, on their lines).
    """
    from itertools import chain, islice

    from tqdm import tqdm

    from ..pipes.loading import load_pipeline
    from ..post.files import check_output
    from ..post.post_files import picture_root, read_posts
    from ..post.posts import annotate, check_batches, check_images, write_posts

    # What is wrong with the call is told before the pipeline is loaded.
    check_batches(batch_size, n_process)
    check_output(out, inputs=[posts])
    images = images if images is not None else picture_root(posts)
    check_images(images)
    lines = read_posts(posts, form=form, columns=read_columns(column))
    first = list(islice(lines, 1))
    nlp = load_pipeline(model, gpu_id=gpu_id)
    docs = annotate(nlp, chain(first, lines), images=images, batch_size=batch_size, n_process=n_process)
    total = entities = grounded = failed = 0
    for doc in write_posts(tqdm(docs, unit=" posts", disable=None), out):
        total += 1
        entities += len(doc.ents)
        grounded += sum(bool(ent._.boxes) for ent in doc.ents)
        failed += bool(doc._.rivega_errors)
    print_summary(f"{total} posts, {entities} entities, {grounded} of them grounded, {failed} posts with errors", out)
    return 1 if failed else 0
