"""`rivega candidates DETECTOR POSTS.spacy OUT.jsonl`: the boxes that a detector proposes, and how many gold boxes are among them."""

from pathlib import Path
from typing import Annotated

import typer

from .options import GoldCorpus, GpuId, Images, Limit
from .saying import say

EXAMPLES = (
    "rivega candidates facebook/detr-resnet-50 corpus/test.spacy candidates.jsonl",
    "rivega candidates weights/rtdetr_r50vd corpus/test.spacy candidates.jsonl --images images --gpu-id 0 --scores table1.json",
)
MORE_HELP = "The file is what `rivega score --candidates` and `rivega stats --candidates` read."


def run(
    detector: Annotated[
        str, typer.Argument(metavar="DETECTOR", help="Object detector in transformers' format: a folder or a hub name.")
    ],
    corpus: GoldCorpus,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="JSON lines to write: id, boxes (best first), scores.")],
    top: Annotated[int, typer.Option("--top", help="Maximum number of boxes per picture.", min=1)] = 100,
    scores: Annotated[Path | None, typer.Option("--scores", help="Write TopN-Prec for N = 10, 15, 20 as JSON.")] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Pictures per batch.", min=1)] = 8,
    images: Images = None,
    limit: Limit = 0,
    gpu_id: GpuId = -1,
) -> int:
    """Detect. RETURNS (int): 0."""

    from ..corpus.docbin import docbin_files, read_docbin
    from ..jobs.candidates import Detector, find_candidates
    from ..post.errors import Errors, RivegaError
    from ..post.files import check_output, write_json
    from ..post.jsonl import write_lines
    from ..post.language import reading_vocab
    from ..scoring.candidates import read_candidates, top_n_precision
    from ..scoring.mentions import doc_annotations

    files = docbin_files(corpus)  # says at once if there is nothing to read
    check_output(out, inputs=files)
    if scores is not None:
        check_output(scores, inputs=[*files, out])
    docs = list(read_docbin(corpus, reading_vocab(), images=images, limit=limit))
    found = write_lines(
        out,
        find_candidates(docs, Detector(detector, device="cpu" if gpu_id < 0 else f"cuda:{gpu_id}", top=top), batch_size=batch_size),
    )
    if not found:
        raise RivegaError(Errors.E865.format(count=len(docs), path=corpus))
    gold = doc_annotations(docs, name=str(corpus))
    line = f"{found} of {len(docs)} posts -> {out}"
    if gold.boxes:
        precision = top_n_precision(read_candidates(out), gold)
        line += "; " + ", ".join(f"Top{n}-Prec@0.5 {100 * value:.2f}" for n, value in precision.items())
        if scores is not None:
            write_json(scores, {"posts": len(docs), "candidates": {str(n): value for n, value in precision.items()}})
    say(line + "\n")
    return 0
