"""The tables: published figures beside measured ones, and for what was not run, why."""

import json
from pathlib import Path
from typing import Any

from ..post.errors import Errors, RivegaError
from ..post.files import write_json, write_text
from .place import RunPlace
from .plan import Plan, Variant, VariantGroup

NONE = "–"
UNKNOWN = "n/a"


def read_table(group: VariantGroup, place: RunPlace) -> dict[str, Any]:
    """One table as data.

    group (VariantGroup): With rows of its own.
    place (RunPlace): Where the metrics are.
    RETURNS (Dict[str, Any]): `name`, `title`, `note`, `columns`, `scales` and `rows`; a row has `variant`, `choices`, `status`, `reason`,
        `measured` and `published` (column -> percent, or None), and the `posts` that it was measured on.
    """
    rows = [read_row(variant, group.columns, place) for variant in group.variants]
    scales = {column: variant.figures[column].scale for variant in group.variants for column in group.columns}
    whole = {"name": group.name, "title": group.title, "note": group.note, "columns": group.columns}
    return {**whole, "scales": scales, "rows": rows}


def read_row(variant: Variant, columns: list[str], place: RunPlace) -> dict[str, Any]:
    """One row; see `read_table`. Metrics that cannot be read are its `reason`, and the other rows stand."""
    record = _read_json(place.record(variant.same or variant.id)) or {}
    status, reason = record.get("status", "not run"), record.get("reason", "")
    if variant.problem is not None:
        status, reason = "broken", variant.problem
    metrics: dict[str, Any] | None = None
    try:
        # Figures of an earlier run do not stand for a variant that failed since.
        metrics = read_metrics(place.metrics(variant.metrics)) if status == "run" or not record else None
    except RivegaError as error:
        status, reason = "failed", str(error)
    if metrics is not None:
        status = "run"
    elif variant.elsewhere:
        status, reason = "published", ""
    return {
        "variant": variant.id,
        "name": variant.name,
        "note": variant.note,
        "choices": variant.choices,
        "status": status,
        "reason": reason,
        "date": record.get("date"),
        "commands": record.get("commands", []),
        "posts": None if metrics is None else metrics.get("posts"),
        "measured": {column: None if metrics is None else figure(metrics, variant, column) for column in columns},
        "published": {column: variant.published.get(column) for column in columns},
    }


def read_metrics(path: Path) -> dict[str, Any] | None:
    """What `rivega evaluate` wrote; None if it wrote nothing.

    RAISES (RivegaError): E537 if the file cannot be read.
    """
    if not path.is_file():
        return None
    content = _read_json(path)
    if content is None:
        raise RivegaError(Errors.E537.format(path=path, reason="not a JSON object"))
    return content


def figure(metrics: dict[str, Any], variant: Variant, column: str) -> float | None:
    """One figure, shares in percent; None if the gold data had nothing for it."""
    wanted = variant.figures[column]
    value: Any = metrics
    for key in wanted.path:
        key = key.replace("{name}", variant.name) if isinstance(key, str) else key
        if isinstance(value, dict):
            value = value.get(key)
        else:
            value = value[key] if isinstance(value, list) and isinstance(key, int) and key < len(value) else None
    return None if not isinstance(value, (int, float)) or isinstance(value, bool) else wanted.scale * value


def markdown(table: dict[str, Any]) -> list[str]:
    """A table as lines of Markdown; each cell is measured / published, or measured alone if no row has a published figure."""
    lines = [f"## {table['title']}", ""]
    lines += [table["note"], ""] if table["note"] else []
    known = any(value is not None for row in table["rows"] for value in row["published"].values())
    posts = sorted({row["posts"] for row in table["rows"] if row["posts"]})
    if posts:
        lines += [f"Measured on {' or '.join(str(count) for count in posts)} posts.", ""]
    lines += ["| variant | " + " | ".join(table["columns"]) + " | |", "|---|" + "---|" * (len(table["columns"]) + 1)]
    for row in table["rows"]:
        cells = []
        for column in table["columns"]:
            values = (row["measured"][column], NONE), (row["published"][column], UNKNOWN)
            shown = [_number(value, otherwise, table["scales"][column]) for value, otherwise in values]
            cells.append(" / ".join(shown if known else shown[:1]))
        said = (
            row["date"] or "" if row["status"] == "run" else f"{row['status']}: {row['reason']}" if row["reason"] else row["status"]
        )
        said = f"{row['note']}; {said}" if row["note"] and said else row["note"] or said
        lines.append(f"| {row['name']} | " + " | ".join(cells) + f" | {_cell(said)} |")
    return [*lines, ""]


def write_tables(plan: Plan, place: RunPlace, *, group: str | None = None) -> list[Path]:
    """Write tables/NAME.md for each table, and tables/tables.md and tables/tables.json for all of them.

    plan (Plan): The list of experiments.
    place (RunPlace): Where the metrics are, and where the tables go.
    group (Optional[str]): One group, or None for all.
    RETURNS (List[Path]): The files; the last two are those of all tables.
    """
    tables = [read_table(found, place) for found in plan.tables(group)]
    folder = place.output / "tables"
    files, whole = (
        [],
        [
            "# Tables",
            "",
            f"In percent (counts and p-values as they are), measured / published; {NONE}: not measured, {UNKNOWN}: nothing was published.",
            "",
        ],
    )
    for table in tables:
        lines = markdown(table)
        files.append(folder / f"{table['name']}.md")
        write_text(files[-1], "\n".join(lines))
        whole += lines
    files += [folder / "tables.md", folder / "tables.json"]
    write_text(files[-2], "\n".join(whole))
    write_json(files[-1], tables)
    return files


def _number(value: float | None, otherwise: str, scale: float = 100.0) -> str:
    if value is None:
        return otherwise
    if scale == 1.0:
        return f"{value:.0f}" if value == int(value) else f"{value:.4g}"
    return f"{value:.2f}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
