"""The tables of benchmarks/photo_posts.py."""

from spacy.language import Language
from spacy.tokens import Doc

from rivega_spacy.scoring.calibration import calibrate
from rivega_spacy.scoring.matching import MatchOptions
from rivega_spacy.scoring.mentions import doc_annotations
from rivega_spacy.scoring.propagation import propagate
from rivega_spacy.scoring.significance import bootstrap
from rivega_spacy.scoring.sweep import sweep_iou, sweep_table
from rivega_spacy.scoring.tasks import Scores, score

TASKS = ("mner", "eeg", "gmner", "ees", "smner")
STEPS = (("VE", "entailment", "accuracy"), ("VG", "grounding", "prec"), ("mIoU", "segmentation", "miou"))


def report_set(nlp: Language, docs: list[Doc]) -> list[str]:
    """Run the pipeline over a set, with gold fed in stage by stage, and say what comes out.

    nlp (Language): The pipeline.
    docs (List[Doc]): Gold posts.
    RETURNS (List[str]): Markdown.
    """
    gold = doc_annotations(docs)
    options = MatchOptions()
    runs: dict[str, Scores] = {name: score(found, gold, options) for name, found in propagate(nlp, docs).items()}
    own = runs["pipeline"]
    # What the eyes do stands first: with its own entities, the pipeline loses most to names that its tagger does not find.
    lines = [
        "F1 when gold is fed in; VE accuracy, VG Prec@0.5 and mask mIoU of what was then found.",
        "",
        *propagation_table(runs),
        "",
    ]
    lines += ["| task, own entities | P | R | F1 | F1, 95 % |", "|---|---|---|---|---|"]
    for name in TASKS:
        if name in own.tasks:
            total, (low, high) = own.tasks[name].total, bootstrap(own.tasks[name])["f"]
            numbers = " | ".join(f"{100 * value:.2f}" for value in (total.p, total.r, total.f))
            lines.append(f"| {name.upper()} | {numbers} | {100 * low:.2f}–{100 * high:.2f} |")
    for step in ("entailment", "grounding"):
        if getattr(own, step):
            values = ", ".join(
                f"{key} {100 * v:.2f}" if isinstance(v, float) else f"{key} {v}" for key, v in getattr(own, step).items()
            )
            lines += ["", f"{step} (own entities): {values}"]
    lines += ["", "MNER by type:", "", *type_table(own)]
    lines += [
        "",
        "By kind, entities given (VE accuracy over all; Prec@0.5 where gold grounds it and groundability is given too):",
        "",
    ]
    lines += kind_table(docs, runs["gold entities"], runs["gold entities + groundability"])
    lines += ["", "F1 over the IoU threshold:", "", sweep_table(sweep_iou(own))]
    found = calibrate(runs["gold entities"].groups)
    if found is not None:
        best = max(found.curve, key=lambda row: row["accuracy"])
        lines += [
            "",
            f"groundable_score with gold entities: Brier {found.brier:.4f}, ECE {100 * found.ece:.2f}, average precision "
            f"{100 * found.average_precision:.2f}; accuracy would be highest ({100 * best['accuracy']:.2f}) at threshold "
            f"{best['threshold']} (read off this set, so not to be used as a choice).",
        ]
    return lines


def propagation_table(runs: dict[str, Scores]) -> list[str]:
    """One row a run."""
    heads = [name.upper() for name in TASKS if name in runs["pipeline"].tasks] + [name for name, _, _ in STEPS]
    lines = ["| fed in | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    for name, run in sorted(runs.items(), key=lambda pair: pair[0] == "pipeline"):
        cells = [f"{100 * run.tasks[task].total.f:.2f}" for task in TASKS if task in runs["pipeline"].tasks]
        for _, step, key in STEPS:
            values = getattr(run, step)
            cells.append("–" if not values else f"{100 * values[key]:.2f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def type_table(scores: Scores) -> list[str]:
    """MNER of each type."""
    lines = ["| type | P | R | F1 | gold |", "|---|---|---|---|---|"]
    for label, counts in scores.tasks["mner"].types.items():
        lines.append(f"| {label} | {100 * counts.p:.2f} | {100 * counts.r:.2f} | {100 * counts.f:.2f} | {counts.gold} |")
    return lines


def kind_table(docs: list[Doc], entities: Scores, groundability: Scores) -> list[str]:
    """VE and VG of each kind of thing."""
    kinds: dict[tuple[str, int], str] = {}
    for doc in docs:
        for start, _, kind in doc.user_data["kinds"]:
            kinds[(doc.user_data["id"], start)] = kind
    judged: dict[tuple[str, bool], list[int]] = {}
    for group in entities.groups:
        for _, ours, theirs in group.alignment():
            row = judged.setdefault((kinds[(group.post, theirs.chars[0])], bool(theirs.groundable)), [0, 0])
            row[0] += ours.groundable == theirs.groundable
            row[1] += 1
    boxed: dict[str, list[int]] = {}
    for group in groundability.groups:
        for number, _, theirs in group.alignment():
            if theirs.boxes:
                row = boxed.setdefault(kinds[(group.post, theirs.chars[0])], [0, 0])
                row[0] += entities.options.reaches(group.pairs[number].box_iou or 0.0)
                row[1] += 1
    lines = ["| kind | in the picture | entities | VE accuracy | Prec@0.5 |", "|---|---|---|---|---|"]
    for (kind, shown), (right, count) in sorted(judged.items(), key=lambda item: (not item[0][1], -item[1][1])):
        prec = f"{100 * boxed[kind][0] / boxed[kind][1]:.1f}" if shown and kind in boxed else "–"
        lines.append(f"| {kind} | {'yes' if shown else 'no'} | {count} | {100 * right / count:.1f} | {prec} |")
    return lines
