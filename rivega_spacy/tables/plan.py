"""The list of experiments (configs/variants.yml): what can be chosen, and the rows of each table as choices."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import srsly

from ..post.errors import Errors, RivegaError
from ..post.textfiles import read_text

# What a row chooses. The first five are components of the pipeline in its order, the others change how they are trained and asked: whose
# knowledge the tagger reads, whose expansions entailment and grounder learn from, which form these have.
AXES = ("tagger", "expander", "entailment", "grounder", "segmenter", "knowledge", "augmented", "expression")
# Axis -> the components it stands for.
COMPONENTS: dict[str, list[str]] = {
    "tagger": ["transformer", "rivega_ner"],
    "expander": ["rivega_expander"],
    "entailment": ["rivega_entailment"],
    "grounder": ["rivega_grounder"],
    "segmenter": ["rivega_segmenter"],
}
TASKS = ("GMNER", "MNER", "EEG", "EES", "SMNER")
MEASURES = {"P": "p", "R": "r", "F1": "f"}


@dataclass(frozen=True)
class Figure:
    """Where the figure of a column stands in a row's metrics.

    path (List[Any]): Keys and places in lists; "{name}" stands for the row's name.
    scale (float): 100 for shares, which are shown in percent; 1 for counts.
    """

    path: list[Any]
    scale: float = 100.0


# Column of a table -> where its figure stands in what `rivega evaluate` writes. "MNER" is its F1; "MNER P" and "MNER R" beside it.
FIGURES: dict[str, Figure] = {
    **{task: Figure([task.lower(), "f"]) for task in TASKS},
    **{f"{task} {name}": Figure([task.lower(), key]) for task in TASKS for name, key in MEASURES.items()},
    "VE accuracy": Figure(["entailment", "accuracy"]),
    "VG Prec@0.5": Figure(["grounding", "prec"]),
    "mIoU": Figure(["segmentation", "miou"]),
    # With `evaluate: [--propagation]`: each step judged with the steps before it right.
    "VE accuracy, gold entities": Figure(["propagation", "gold entities", "VE"]),
    "VG Prec@0.5, gold entities": Figure(["propagation", "gold entities + groundability", "VG"]),
    "mIoU, gold expressions": Figure(["propagation", "gold entities + groundability", "mIoU all"]),
    "EEG, gold entities": Figure(["propagation", "gold entities", "EEG"]),
    "EES, gold entities": Figure(["propagation", "gold entities", "EES"]),
    # With `seeds` and `against`.
    "p over posts": Figure(["against", "mner", "p_value"], 1.0),
    "p over seeds": Figure(["against", "mner", "p_seeds"], 1.0),
    "deviation": Figure(["deviation", "mner"]),
}
_ROW_KEYS = {"name", "published", "note", "evaluate", "run", "needs", "same", "against", *AXES}
_GROUP_KEYS = {
    "title",
    "note",
    "columns",
    "figures",
    "evaluate",
    "with",
    "rows",
    "members",
    "data",
    "seeds",
    "against",
    "run",
    "needs",
}
_CHOICE_KEYS: dict[str, set] = {
    **{
        axis: {"train", "pipeline", "component", "set", "weights", "environment", "package", "recorded", "looks"}
        for axis in COMPONENTS
    },
    "knowledge": {"sources", "measured_with", "absent", "caption", "weights"},
    "augmented": {"sources", "measured_with"},
    "expression": {"form"},
}


@dataclass(frozen=True)
class Weights:
    """A file or folder that others hand out.

    path (str): Its name below the folder of weights.
    hub (Optional[str]): Its name on the model hub, where it has one.
    origin (str): Where a person gets it.
    """

    name: str
    path: str
    origin: str
    hub: str | None = None


@dataclass(frozen=True)
class Variant:
    """One row of a table.

    id (str): Group and choices, the name of its files.
    choices (Dict[str, str]): Axis -> choice; an axis that is not in it is left out of the pipeline.
    published (Dict[str, float]): Column -> figure of the paper, in percent.
    figures (Dict[str, Figure]): The columns of its table.
    run (List[List[str]]): Commands in place of choices, with {data}, {test}, {output}, {metrics}, {images}, {gpu} and {weights.NAME} in them.
    needs (List[str]): Weights that those commands take.
    same (Optional[str]): Id of the row whose metrics these are: the same experiment in another table.
    data (str): Folder within the data folder where its posts are; "" for that itself.
    seeds (Tuple[int, ...]): Seeds of which the mean counts; empty for one run with the configs' own.
    seed (Optional[int]): The one of them that this run is for.
    shared (bool): The commands are those of the table, and all its rows are in what they write.
    against (Optional[str]): Id of the row that its runs are compared with.
    problem (Optional[str]): Why it cannot be made; the other rows can.
    """

    id: str
    group: str
    name: str
    choices: dict[str, str]
    published: dict[str, float] = field(default_factory=dict)
    evaluate: list[str] = field(default_factory=list)
    note: str = ""
    figures: dict[str, Figure] = field(default_factory=dict)
    run: list[list[str]] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)
    same: str | None = None
    data: str = ""
    seeds: tuple[int, ...] = ()
    seed: int | None = None
    against: str | None = None
    shared: bool = False
    problem: str | None = None

    @property
    def metrics(self) -> str:
        """The name of the file of its figures."""
        return self.same or (self.group if self.shared else self.id)

    @property
    def elsewhere(self) -> bool:
        """Whether only the published figures of someone else's system stand here: there is nothing to run."""
        return bool(self.published) and not (self.choices or self.run or self.same or self.problem)


@dataclass(frozen=True)
class VariantGroup:
    """One table. `members` are the groups that it joins, where it has no rows of its own."""

    name: str
    title: str
    columns: list[str]
    variants: list[Variant]
    note: str = ""
    members: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """The whole list.

    path (Path): Its file; base configs stand beside it.
    axes (Dict[str, Dict[str, Dict]]): Axis -> choice -> what it means.
    weights (Dict[str, Weights]), packages (Dict[str, str]): What others hand out, and how a package is installed.
    sources (Dict[str, Dict]): Language models: name -> `model` section of `rivega enrich`, and `examples`.
    enrich (str), assemble (str): Base configs of enrichment and of an assembled pipeline.
    """

    path: Path
    weights: dict[str, Weights]
    packages: dict[str, str]
    sources: dict[str, dict[str, Any]]
    enrich: str
    assemble: str
    axes: dict[str, dict[str, dict[str, Any]]]
    groups: dict[str, VariantGroup]

    def base(self, name: str) -> Path:
        """The path of a base config."""
        return self.path.parent / name

    def choice(self, variant: Variant, axis: str) -> dict[str, Any] | None:
        """What a variant's choice on an axis means; None if it makes none."""
        return self.axes[axis][variant.choices[axis]] if axis in variant.choices else None

    def tables(self, name: str | None = None) -> list[VariantGroup]:
        """The tables of a group; None for all.

        RAISES (RivegaError): E531 if there is no such group.
        """
        if name is None:
            return [group for group in self.groups.values() if not group.members]
        if name not in self.groups:
            raise RivegaError(Errors.E531.format(name=name, path=self.path, known=", ".join(self.groups)))
        group = self.groups[name]
        return [found for member in group.members for found in self.tables(member)] if group.members else [group]

    def row(self, name: str) -> Variant:
        """A row by its id, which exists."""
        return next(variant for variant in self.variants() if variant.id == name)

    def variants(self, name: str | None = None) -> list[Variant]:
        """The rows of a group; None for all."""
        return [variant for group in self.tables(name) for variant in group.variants]


def read_plan(path: str | Path) -> Plan:
    """Read the list. A row that cannot be understood becomes a variant with a `problem`; the list as a whole must be one.

    path (Union[str, Path]): See configs/variants.yml.
    RAISES (RivegaError): E020 if it does not exist, E530 if it is no list of experiments.
    """
    path = Path(path)
    if not path.is_file():
        raise RivegaError(Errors.E020.format(path=path))
    try:
        content = srsly.yaml_loads(read_text(path))
    except Exception as error:  # the YAML reader's errors share no base class but this
        raise RivegaError(Errors.E530.format(path=path, reason=str(error).split("\n")[0])) from error
    try:
        return _plan(path, content)
    except RivegaError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RivegaError(Errors.E530.format(path=path, reason=f"{type(error).__name__}: {error}")) from error


def _plan(path: Path, content: Any) -> Plan:
    def refuse(reason: str) -> RivegaError:
        return RivegaError(Errors.E530.format(path=path, reason=reason))

    if not isinstance(content, dict) or not isinstance(content.get("groups"), dict) or not isinstance(content.get("axes"), dict):
        raise refuse("it has no `axes` and `groups`")
    weights = {
        name: Weights(name, str(entry["path"]), str(entry["from"]), entry.get("hub"))
        for name, entry in content.get("weights", {}).items()
    }
    axes: dict[str, dict[str, dict[str, Any]]] = {axis: {} for axis in AXES}
    for axis, choices in content["axes"].items():
        if axis not in axes:
            raise refuse(f"there is no axis {axis!r}, only {', '.join(AXES)}")
        for name, choice in choices.items():
            choice = choice or {}
            unknown = set(choice) - _CHOICE_KEYS[axis]
            if unknown:
                raise refuse(f"{axis} {name}: unknown {', '.join(sorted(unknown))}")
            missing = [found for found in dict(choice.get("weights", {})).values() if found not in weights]
            if missing:
                raise refuse(f"{axis} {name}: `weights` does not list {', '.join(missing)}")
            axes[axis][str(name)] = choice
    groups: dict[str, VariantGroup] = {}
    for name, entry in content["groups"].items():
        members = [str(member) for member in entry.get("members", [])]
        unknown_members = [member for member in members if member not in groups]
        if unknown_members:
            raise refuse(f"group {name}: {', '.join(unknown_members)} is not a group above it")
        columns = list(entry.get("columns", []))
        unknown_keys = set(entry) - _GROUP_KEYS
        if unknown_keys:
            raise refuse(f"group {name}: unknown {', '.join(sorted(unknown_keys))}")
        own = {
            str(key): Figure(list(value["path"]), float(value.get("scale", 100))) for key, value in entry.get("figures", {}).items()
        }
        columns += [column for column in own if column not in columns]
        unknown_columns = [column for column in columns if column not in {**FIGURES, **own}]
        if unknown_columns:
            raise refuse(f"group {name}: there is no column {', '.join(unknown_columns)}, only {', '.join(FIGURES)}")
        figures = {column: {**FIGURES, **own}[column] for column in columns}
        variants = [_variant(str(name), entry, row or {}, axes, figures) for row in entry.get("rows", [])]
        strange = [need for variant in variants for need in variant.needs if need not in weights]
        if strange:
            raise refuse(f"group {name}: `weights` does not list {', '.join(strange)}")
        known = {variant.id for group in groups.values() for variant in group.variants} | {variant.id for variant in variants}
        lost = [
            other for variant in variants for other in (variant.same, variant.against) if other is not None and other not in known
        ]
        if lost:
            raise refuse(f"group {name}: there is no row {', '.join(lost)} above it")
        repeated = {variant.id for variant in variants if sum(other.id == variant.id for other in variants) > 1}
        if repeated:
            raise refuse(f"group {name}: {', '.join(sorted(repeated))} stands in it twice; give one of them a `name`")
        groups[str(name)] = VariantGroup(
            str(name), str(entry.get("title", name)), columns, variants, str(entry.get("note", "")), members
        )
    return Plan(
        path=path,
        weights=weights,
        packages=dict(content.get("packages", {})),
        sources=dict(content.get("sources", {})),
        enrich=str(content.get("enrich", "enrich_openai.cfg")),
        assemble=str(content.get("assemble", "rivega_twitter.cfg")),
        axes=axes,
        groups=groups,
    )


def _variant(
    group: str, entry: dict[str, Any], row: dict[str, Any], axes: dict[str, dict[str, Any]], figures: dict[str, Figure]
) -> Variant:
    own = {axis: str(row[axis]) for axis in AXES if row.get(axis) is not None}
    given = {axis: str(value) for axis, value in {**entry.get("with", {}), **own}.items()}
    name = str(row.get("name") or "-".join(own.values()) or "plain")
    # A published system of someone else's has a name and figures, and chooses nothing; so has a row with commands of its own.
    run = [[str(word) for word in command] for command in row.get("run", entry.get("run", []))]
    if run or row.get("same") or (not own and "published" in row):
        given = {}
    against = row.get("against", entry.get("against"))
    against = None if against is None else f"{group}.{against}"
    problems = []
    for axis, value in given.items():
        if value not in axes.get(axis, {}) and not _left_out(axis, value):
            problems.append(
                Errors.E532.format(
                    variant=f"{group}.{name}", axis=axis, choice=value, known=", ".join(axes.get(axis, {})) or "none"
                )
            )
    unknown = set(row) - _ROW_KEYS
    if unknown:
        problems.append(Errors.E533.format(variant=f"{group}.{name}", reason=f"unknown {', '.join(sorted(unknown))}"))
    return Variant(
        id=f"{group}.{name}",
        group=group,
        name=name,
        choices={axis: given[axis] for axis in AXES if axis in given and not _left_out(axis, given[axis])},
        published=_published(row.get("published", {})),
        evaluate=[str(word) for word in [*entry.get("evaluate", []), *row.get("evaluate", [])]],
        note=str(row.get("note", "")),
        figures=figures,
        run=run,
        shared=bool(run) and "run" not in row,
        needs=[str(need) for need in row.get("needs", entry.get("needs", []))],
        same=None if row.get("same") is None else str(row["same"]),
        data=str(entry.get("data", "")),
        seeds=tuple(int(seed) for seed in entry.get("seeds", ())),
        against=None if against == f"{group}.{name}" else against,
        problem=" ".join(problems) or None,
    )


def _left_out(axis: str, choice: str) -> bool:
    return axis in COMPONENTS and choice == "none"


def _published(given: dict[str, Any]) -> dict[str, float]:
    """Figures by column; three together are precision, recall and F1."""
    found: dict[str, float] = {}
    for column, value in given.items():
        if isinstance(value, list):
            names = [f"{column} {name}" for name in MEASURES]
            found.update({name: float(part) for name, part in zip(names, value) if part is not None})
            found.update({column: float(value[2])} if len(value) == 3 and value[2] is not None else {})
        elif value is not None:
            found[str(column)] = float(value)
    return found
