"""What a pipeline is made of: its parts, what each writes, and how large they are on disk and in memory."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spacy.language import Language
from thinc.api import Model


@dataclass
class PartInfo:
    """name (str), factory (str): Of the component.
    architecture (Optional[str]): The registered function that makes its model; None if it has none.
    writes (List[str]): The attributes that it sets.
    parameters (Optional[int]): How many numbers it has learnt; None if its weights are loaded when they are first needed.
    memory_bytes (int), disk_bytes (int): Of its weights; what another part before it holds too is counted there.
    trainable (bool): Whether `spacy train` can train it.
    """

    name: str
    factory: str
    architecture: str | None
    writes: list[str]
    parameters: int | None
    memory_bytes: int
    disk_bytes: int
    trainable: bool


@dataclass
class PipelineInfo:
    """name, version, spacy_version, license (str), path (Optional[str]): As its meta.json says, and where it is.
    disk_bytes (int): Of all its files.
    parts (List[PartInfo]): In the order in which posts go through.
    """

    name: str
    version: str
    spacy_version: str
    license: str
    path: str | None
    disk_bytes: int
    parts: list[PartInfo]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def describe_pipeline(nlp: Language) -> PipelineInfo:
    """What a pipeline is made of.

    nlp (Language): Loaded, so that its weights can be counted.
    RETURNS (PipelineInfo): Sizes on disk are 0 for a pipeline that was never saved.
    """
    meta, folder = nlp.meta, nlp.path
    seen: set[int] = set()
    parts = []
    for name, component in nlp.components:
        about = nlp.get_pipe_meta(name)
        known = len(seen)
        sizes = list(_arrays(component, seen))
        waiting = any(shim._model is None for shim in _shims(component))
        parts.append(
            PartInfo(
                name=name,
                factory=about.factory,
                architecture=_architecture(nlp.config["components"].get(name, {})),
                writes=list(about.assigns),
                parameters=None if waiting and len(seen) == known else sum(count for count, _ in sizes),
                memory_bytes=sum(size for _, size in sizes),
                disk_bytes=_size(folder / name) if folder is not None else 0,
                trainable=bool(getattr(component, "is_trainable", False)),
            )
        )
    return PipelineInfo(
        name=f"{meta['lang']}_{meta['name']}",
        version=meta.get("version", ""),
        spacy_version=meta.get("spacy_version", ""),
        license=meta.get("license", ""),
        path=None if folder is None else str(folder),
        disk_bytes=_size(folder) if folder is not None else 0,
        parts=parts,
    )


def _shims(component: Any) -> list[Any]:
    model = getattr(component, "model", None)
    return [shim for node in model.walk() for shim in node.shims] if isinstance(model, Model) else []


def _arrays(component: Any, seen: set[int]) -> Iterator[tuple[int, int]]:
    """Numbers and bytes of each array of weights that no part before holds."""
    model = getattr(component, "model", None)
    if isinstance(model, Model):
        for node in model.walk():
            for name in node.param_names:
                array = node.get_param(name) if node.has_param(name) else None
                if array is not None and id(array) not in seen:
                    seen.add(id(array))
                    yield array.size, array.nbytes
    for shim in _shims(component):
        if shim._model is None:
            continue
        learnt = {id(weight) for weight in shim._model.parameters()}
        for weight in (*shim._model.parameters(), *shim._model.buffers()):
            place = weight.data_ptr()
            if place not in seen:
                seen.add(place)
                yield weight.numel() if id(weight) in learnt else 0, weight.numel() * weight.element_size()


def _architecture(config: dict[str, Any]) -> str | None:
    """The registered function that makes a component's model."""
    model = config.get("model")
    return next((str(value) for key, value in model.items() if key.startswith("@")), None) if isinstance(model, dict) else None


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else 0


__all__ = ["PartInfo", "PipelineInfo", "describe_pipeline"]
