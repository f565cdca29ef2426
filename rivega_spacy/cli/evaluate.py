"""`rivega evaluate MODEL CORPUS.spacy`: run a pipeline over gold posts and score everything they have gold data for."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .options import (
    AsJson,
    Bootstrap,
    Calibration,
    Changes,
    Comparison,
    GoldCorpus,
    GpuId,
    Images,
    Iou,
    Limit,
    ModelArgument,
    Rule,
    Sweep,
    TrainedOn,
    Types,
)
from .overrides import read_override
from .saying import say

EXAMPLES = (
    "rivega evaluate rivega_twitter corpus/test.spacy",
    "rivega evaluate training/rivega_twitter corpus/test.spacy --knowledge absent --output metrics/test.json",
    "rivega evaluate rivega_twitter corpus/dev.spacy --propagation --sweep --calibration --predictions dev.jsonl",
)


def run(
    model: ModelArgument,
    corpus: GoldCorpus,
    images: Images = None,
    knowledge: Annotated[
        Literal["present", "absent", "caption"],
        typer.Option("--knowledge", help="Keep or remove the posts' knowledge, or put the caption in its place."),
    ] = "present",
    source: Annotated[
        str | None, typer.Option("--source", metavar="NAME", help="Use the answers of this language model (`rivega enrich`).")
    ] = None,
    changes: Changes = [],
    own_tokens: Annotated[
        bool, typer.Option("--own-tokens", help="Let the pipeline tokenize instead of using the tokens of the corpus.")
    ] = False,
    propagation: Annotated[
        bool, typer.Option("--propagation", help="Also score with gold entities, groundability and boxes fed in.")
    ] = False,
    fed: Annotated[
        list[str],
        typer.Option("--fed", metavar="ROW", help="Only this row of --propagation, for example 'gold entities'; may be repeated."),
    ] = [],
    sweep: Sweep = False,
    calibration: Calibration = False,
    bootstrap: Bootstrap = 0,
    limit: Limit = 0,
    trained_on: TrainedOn = None,
    output: Annotated[Path | None, typer.Option("--output", help="Write the scores as JSON.")] = None,
    predictions: Annotated[Path | None, typer.Option("--predictions", help="Write the processed posts as JSON lines.")] = None,
    gpu_id: GpuId = -1,
    rule: Rule = "offset",
    types: Types = "folded",
    iou: Iou = 0.5,
    comparison: Comparison = ">=",
    as_json: AsJson = False,
) -> int:
    """Evaluate the pipeline.

    RETURNS (int): 0.
    """
    from ..corpus.docbin import docbin_files
    from ..jobs.evaluate import evaluate, format_propagation
    from ..pipes.loading import load_pipeline
    from ..post.files import check_output, write_json
    from ..scoring.matching import MatchOptions
    from ..scoring.printing import print_result

    files = docbin_files(corpus)  # says at once if there is nothing to read
    if output is not None:
        check_output(output, inputs=files)
    if predictions is not None:
        check_output(predictions, inputs=[*files, output])
    nlp = load_pipeline(model, gpu_id=gpu_id, config=dict(read_override(text) for text in changes))
    result = evaluate(
        nlp,
        corpus,
        MatchOptions(rule=rule, types=types, iou=iou, comparison=comparison),
        images=images,
        limit=limit,
        source=source,
        knowledge=knowledge,
        own_tokens=own_tokens,
        predictions=predictions,
        intervals=bootstrap,
        sweep=sweep,
        calibration=calibration,
        propagation=propagation,
        fed=fed,
        trained_on=trained_on,
    )
    print_result(result, as_json=as_json)
    for line in format_propagation(result.get("propagation", {})) if not as_json else ():
        say(line + "\n")
    if output is not None:
        write_json(output, result)
    return 0
