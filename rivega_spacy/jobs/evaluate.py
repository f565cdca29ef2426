"""A pipeline run over gold posts, scored on everything they have gold data for."""

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..corpus.docbin import read_docbin
from ..corpus.sources import source_names, take_source
from ..post.errors import Errors, RivegaError
from ..post.extensions import post_name
from ..post.posts import write_posts
from ..scoring.calibration import calibrate
from ..scoring.matching import MatchOptions
from ..scoring.mentions import doc_annotations
from ..scoring.novelty import score_by_novelty
from ..scoring.propagation import VARIANTS, run_pipeline
from ..scoring.read import read_training_names
from ..scoring.significance import bootstrap
from ..scoring.sweep import THRESHOLDS, sweep_iou
from ..scoring.tasks import score


def evaluate(
    nlp: Any,
    corpus: Path,
    options: MatchOptions,
    *,
    images: Path | None = None,
    limit: int = 0,
    source: str | None = None,
    knowledge: str = "present",
    own_tokens: bool = False,
    predictions: Path | None = None,
    intervals: int = 0,
    sweep: bool = False,
    calibration: bool = False,
    propagation: bool = False,
    fed: Sequence[str] = (),
    trained_on: Path | None = None,
) -> dict[str, Any]:
    """Score a pipeline.

    nlp (Language): The pipeline.
    corpus (Path): .spacy file or folder of them.
    options (MatchOptions): When a prediction is right.
    images (Optional[Path]): Folder that relative image paths start from.
    limit (int): Posts at most; 0 for all.
    source (Optional[str]): Language model whose answers are used.
    knowledge (str): "present" keeps z, "absent" takes it away, "caption" puts the caption in its place.
    own_tokens (bool): The pipeline tokenizes; else it gets the tokens of the corpus.
    predictions (Optional[Path]): Where the processed posts are written as JSON lines.
    intervals (int): Resamples of the posts for 95 % intervals; 0 for none.
    sweep (bool): F1 over IoU thresholds too.
    calibration (bool): Judge the groundability scores too.
    propagation (bool): Also with gold entities, groundability and boxes fed in.
    fed (Sequence[str]): Of these only some; empty for all.
    trained_on (Optional[Path]): Training posts: entities that they have and those that they have not are scored apart too.
    RETURNS (Dict[str, Any]): `Scores.to_dict()`, with `speed`, `errors` and what was asked for beside.
    RAISES (RivegaError): E510 for an unknown row of `fed`, E539 if a post has no answers of `source`.
    """
    unknown = [row for row in fed if row not in VARIANTS]
    if unknown:
        raise RivegaError(Errors.E510.format(option="fed", value=unknown[0], known=", ".join(VARIANTS)))

    def references() -> Iterator[Any]:
        docs = read_docbin(corpus, nlp.vocab, images=images, limit=limit)
        return docs if source is None else (_answers_of(doc, source) for doc in docs)

    gold = doc_annotations(references(), name=str(corpus))
    failed: list[Any] = []

    def process(variant: str, path: Path | None) -> Any:
        docs: Iterable[Any] = run_pipeline(nlp, references(), gold=VARIANTS[variant], knowledge=knowledge, own_tokens=own_tokens)
        docs = tqdm(docs, total=len(gold.posts), unit=" posts", desc=variant, disable=None)
        if path is not None:
            docs = write_posts(docs, path)
        return doc_annotations(_noting(docs, failed if variant == "pipeline" else []), name=variant)

    started = time.perf_counter()
    predicted = process("pipeline", predictions)
    seconds = time.perf_counter() - started
    scores = score(predicted, gold, options)
    result = scores.to_dict()
    result["speed"] = {"seconds": seconds, "posts_per_second": len(gold.posts) / seconds}
    result["errors"] = {"posts": len(failed), "examples": failed[:5]}
    if failed:
        scores.notes.append(f"{len(failed)} posts carry errors, for example: {failed[0]['message']}")
    if intervals:
        for name, task in scores.tasks.items():
            result[name]["intervals"] = {key: list(value) for key, value in bootstrap(task, samples=intervals).items()}
    if trained_on is not None:
        parts = score_by_novelty(predicted, gold, read_training_names(trained_on), options)
        result["novelty"] = {name: part.summary() for name, part in parts.items()}
    if sweep:
        result["sweep"] = {"thresholds": list(THRESHOLDS), **sweep_iou(scores)}
    if calibration:
        found = calibrate(scores.groups)
        result["calibration"] = None if found is None else found.to_dict()
    if propagation:
        table = {"pipeline": _summary(result)}
        for variant in VARIANTS:
            if variant != "pipeline" and (not fed or variant in fed):
                table[variant] = _summary(score(process(variant, None), gold, options).to_dict())
        result["propagation"] = table
    return result


def _answers_of(doc: Any, name: str) -> Any:
    if name not in source_names(doc):
        raise RivegaError(Errors.E539.format(post=post_name(doc), name=name, known=", ".join(source_names(doc)) or "none"))
    return take_source(doc, name)


def format_propagation(table: dict[str, dict[str, float]]) -> list[str]:
    """The error propagation as a Markdown table, in percent."""
    if not table:
        return []
    columns = [column for column in next(iter(table.values())) if not column.endswith((" P", " R", " all"))]
    lines = ["", "| fed in | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for name, row in table.items():
        values = ("–" if row.get(column) is None else f"{100 * row[column]:.2f}" for column in columns)
        lines.append(f"| {name} | " + " | ".join(values) + " |")
    return lines


def _summary(result: dict[str, Any]) -> dict[str, float | None]:
    row: dict[str, float | None] = {}
    for task in ("mner", "eeg", "gmner", "ees", "smner"):
        row[task.upper()] = result[task]["f"] if task in result else None
        row[f"{task.upper()} P"] = result[task]["p"] if task in result else None
        row[f"{task.upper()} R"] = result[task]["r"] if task in result else None
    for name, step, key in (
        ("VE", "entailment", "accuracy"),
        ("VG", "grounding", "prec"),
        ("mIoU", "segmentation", "miou"),
        ("mIoU all", "segmentation", "miou_all"),
    ):
        row[name] = result[step][key] if step in result else None
    return row


def _noting(docs: Iterable[Any], failed: list[Any]) -> Iterator[Any]:
    for doc in docs:
        failed += doc._.rivega_errors[:1]
        yield doc
