"""`rivega annotate posts.jsonl out.jsonl`: entities, boxes and masks for a file of posts."""

import argparse
import sys
from pathlib import Path

NAME = "annotate"
HELP = "Find the entities of posts and what of them the pictures show; JSON lines in, JSON lines out."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "posts", type=Path, help="JSONL: text, image; optional id, knowledge, caption, description, ents, expansions"
    )
    parser.add_argument("out", type=Path, help="where to write JSON lines (.gz compresses)")
    parser.add_argument("--model", default="rivega_twitter", help="installed pipeline or folder (default: %(default)s)")
    parser.add_argument(
        "--images", type=Path, default=None, help="folder that relative image paths start from (default: that of POSTS)"
    )
    parser.add_argument("--batch-size", type=int, default=None, help="posts a batch (default: the pipeline's)")
    parser.add_argument("--n-process", type=int, default=1, help="worker processes (default: %(default)s)")
    parser.add_argument("--gpu-id", type=int, default=-1, help="GPU to use; -1 for the CPU (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Annotate the file.

    RETURNS (int): 0 where every post went through whole, 1 where some carry errors (they are in the output, on their lines).
    """
    from itertools import chain, islice

    from tqdm import tqdm

    from ..pipes.loading import load_pipeline
    from ..post.files import check_output
    from ..post.posts import annotate, check_batches, check_images, read_posts, write_posts

    # What is wrong with the call is told before the pipeline is loaded.
    check_batches(args.batch_size, args.n_process)
    check_output(args.out, inputs=[args.posts])
    images = args.images if args.images is not None else args.posts.resolve().parent
    check_images(images)
    posts = read_posts(args.posts)
    first = list(islice(posts, 1))
    nlp = load_pipeline(args.model, gpu_id=args.gpu_id)
    docs = annotate(nlp, chain(first, posts), images=images, batch_size=args.batch_size, n_process=args.n_process)
    total = entities = grounded = failed = 0
    for doc in write_posts(tqdm(docs, unit=" posts", disable=None), args.out):
        total += 1
        entities += len(doc.ents)
        grounded += sum(bool(ent._.boxes) for ent in doc.ents)
        failed += bool(doc._.rivega_errors)
    sys.stdout.write(f"{total} posts, {entities} entities, {grounded} of them grounded, {failed} posts with errors -> {args.out}\n")
    return 1 if failed else 0
