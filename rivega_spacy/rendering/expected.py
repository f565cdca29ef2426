"""What a person expects of posts, and how it compares with what a pipeline found: right or wrong, entity by entity."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spacy.tokens import Doc, Span

from ..post.boxes import box_iou, check_box
from ..post.errors import Errors, RivegaError
from ..post.jsonl import read_lines


@dataclass(frozen=True)
class ExpectedEntity:
    """start, end (int): characters. labels: types that are accepted. shown: in the picture, or None if there is none.
    boxes: XYXY pixels; any one of them is right."""

    start: int
    end: int
    text: str
    labels: list[str]
    shown: bool | None
    boxes: list[list[float]]


@dataclass(frozen=True)
class Verdict:
    """right (bool): all of it is as expected. reason (str): what is not; "" where all is. The parts: `found` in the text
    with those borders, `typed`, `judged` (shown or not), `placed` (box, where it is shown; else None)."""

    right: bool
    reason: str
    found: bool
    typed: bool = False
    judged: bool = False
    placed: bool | None = None


@dataclass
class PostCheck:
    """The comparison for one post.

    verdicts (Dict[Tuple[int, int], Verdict]): By start and end of the entity found, in characters.
    missed (List[str]): Expected entities that were not found.
    gold_boxes (List[List[float]]): The expected boxes.
    right (int), total (int): Expected entities that are right in every part, and how many are expected.
    """

    verdicts: dict[tuple[int, int], Verdict] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    gold_boxes: list[list[float]] = field(default_factory=list)
    right: int = 0
    total: int = 0


def read_expected(path: str | Path) -> dict[str, list[ExpectedEntity]]:
    """Read what is expected, by post id.

    path (Union[str, Path]): JSON lines with `id` and `ents`, each with start, end, text, labels, shown, boxes.
    RAISES (RivegaError): E020 if there is no such file, E502 for a line of another form.
    """
    expected: dict[str, list[ExpectedEntity]] = {}
    for number, post in read_lines(path):
        try:
            if isinstance(post, str):
                raise ValueError(post)
            if str(post["id"]) in expected:
                raise ValueError("its id has come before")
            expected[str(post["id"])] = [_entity(ent) for ent in post["ents"]]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise RivegaError(Errors.E502.format(path=path, line=number, reason=repr(error))) from error
    return expected


def check_post(doc: Doc, expected: list[ExpectedEntity], *, iou: float = 0.5) -> PostCheck:
    """Compare what was found in a post with what is expected.

    doc (Doc): A processed post.
    expected (List[ExpectedEntity]): Its entities.
    iou (float): From which intersection over union with an expected box the largest box found is right.
    RETURNS (PostCheck): The comparison; an entity that was found and is not expected is wrong, but counts in no total.
    """
    check = PostCheck(total=len(expected))
    found = {(ent.start_char, ent.end_char): ent for ent in doc.ents}
    for want in expected:
        check.gold_boxes.extend(want.boxes)
        ent = found.pop((want.start, want.end), None)
        if ent is None:
            check.missed.append(want.text)
            continue
        verdict = _judge(ent, want, iou)
        check.verdicts[want.start, want.end] = verdict
        check.right += verdict.right
    for place in found:
        check.verdicts[place] = Verdict(False, "not one of the expected entities", found=False)
    return check


def summarize(checks: list[PostCheck]) -> str:
    """One line with the counts over all posts."""
    total = sum(check.total for check in checks)
    verdicts = [verdict for check in checks for verdict in check.verdicts.values()]
    found = [verdict for verdict in verdicts if verdict.found]
    placed = [verdict.placed for verdict in found if verdict.placed is not None]
    right = sum(check.right for check in checks)
    return (
        f"{right} of {total} entities right in every part: {len(found)} of {total} found, {sum(v.typed for v in found)} of them with "
        f"the right type, {sum(v.judged for v in found)} rightly judged shown or not, {sum(placed)} of {len(placed)} boxes of shown "
        f"entities at IoU 0.5; {len(verdicts) - len(found)} found that are not expected."
    )


def _entity(value: dict[str, Any]) -> ExpectedEntity:
    shown = value["shown"]
    if shown is not None and not isinstance(shown, bool):
        raise ValueError(f"`shown` is {shown!r}")
    boxes = [check_box(box) for box in value.get("boxes", [])]
    labels = [str(label) for label in value["labels"]]
    return ExpectedEntity(int(value["start"]), int(value["end"]), str(value["text"]), labels, shown, boxes)


def _judge(ent: Span, want: ExpectedEntity, iou: float) -> Verdict:
    typed = ent.label_ in want.labels
    # Without a box nothing was found in the picture, whatever the entailment said.
    said = None if ent._.groundable is None and not ent._.boxes else bool(ent._.boxes or ent._.groundable)
    judged = said == want.shown
    placed: bool | None = None
    if want.shown and want.boxes:
        placed = ent._.box is not None and float(box_iou([ent._.box], want.boxes).max()) >= iou
    reasons = []
    if not typed:
        reasons.append(f"expected type {' or '.join(want.labels)}")
    if not judged:
        reasons.append(
            {True: "the picture shows it", False: "the picture does not show it", None: "there is no picture"}[want.shown]
        )
    elif placed is False:
        reasons.append("the box is elsewhere" if ent._.box is not None else "it has no box")
    return Verdict(not reasons, "; ".join(reasons), True, typed, judged, placed)
