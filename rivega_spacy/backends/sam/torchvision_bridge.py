"""Import segment-anything where torchvision is missing or broken, without anybody else noticing.

segment-anything imports three names of torchvision: a resize of PIL pictures, the area of boxes and a non-maximum suppression.
On a machine without GPU torchvision is often missing, or is the CUDA build that fails beside a CPU torch. A stand-in in
`sys.modules` would be taken for torchvision by transformers and by the user's own code. So segment-anything's modules are run
with an import function of their own that knows those names: nothing called torchvision enters `sys.modules`, a real one can be
imported at any time, and threads that import something meanwhile see nothing.
"""

import builtins
import importlib
import importlib.machinery
import sys
import threading
from collections.abc import Collection, Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

from ...post.errors import Errors, RivegaError
from ..boxes import box_area, box_iou

PACKAGE = "segment_anything"
_LOCK = threading.RLock()


def import_segment_anything() -> ModuleType:
    """segment-anything, with the real torchvision where that works.

    RETURNS (ModuleType): The package `segment_anything`.
    RAISES (RivegaError): E320 if it is not installed.
    """
    with _LOCK:
        if PACKAGE in sys.modules:
            return sys.modules[PACKAGE]
        if importlib.machinery.PathFinder.find_spec(PACKAGE) is None:
            raise RivegaError(Errors.E320)
        if torchvision_works():
            return importlib.import_module(PACKAGE)
        finder = _BridgedFinder()
        sys.meta_path.insert(0, finder)
        try:
            return importlib.import_module(PACKAGE)
        except ImportError:
            # Half of a package would answer the next import with an error of another kind.
            _forget(PACKAGE, keep=())
            raise
        finally:
            sys.meta_path.remove(finder)


def torchvision_works() -> bool:
    """Whether the real torchvision can be imported; a failed try leaves nothing behind in `sys.modules`."""
    before = {name for name in sys.modules if _belongs(name, "torchvision")}
    try:
        importlib.import_module("torchvision.ops.boxes")
        importlib.import_module("torchvision.transforms.functional")
    except (ImportError, RuntimeError, OSError, AttributeError):
        # Missing; operators not registered; a CUDA library not found; torch and torchvision of different versions.
        _forget("torchvision", keep=before)
        return False
    return True


def _belongs(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def _forget(package: str, *, keep: Collection[str]) -> None:
    for name in [name for name in sys.modules if _belongs(name, package) and name not in keep]:
        del sys.modules[name]


class _BridgedFinder(MetaPathFinder):
    """Finds segment-anything's modules and nothing else."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not _belongs(name, PACKAGE):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _BridgedLoader(spec.loader.name, spec.loader.path)
        return spec


class _BridgedLoader(importlib.machinery.SourceFileLoader):
    """Runs a module with an import function of its own."""

    def exec_module(self, module: ModuleType) -> None:
        # Python looks up `__import__` in the builtins of the module that runs the import statement.
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _bridged_import}
        super().exec_module(module)


def _bridged_import(
    name: str,
    globals: dict[str, Any] | None = None,
    locals: dict[str, Any] | None = None,
    fromlist: tuple[str, ...] = (),
    level: int = 0,
) -> Any:
    if level == 0 and _belongs(name, "torchvision"):
        found = _STAND_INS.get(name)
        if found is None or not fromlist or any(not hasattr(found, item) for item in fromlist):
            raise ImportError(Errors.E321.format(name=name, items=", ".join(fromlist or ())))
        return found
    return builtins.__import__(name, globals, locals, fromlist, level)


def resize(image: Image.Image, size: Sequence[int]) -> Image.Image:
    """A PIL picture at another size (height, width), bilinear with antialiasing as torchvision does for PIL pictures."""
    height, width = size
    return image.resize((int(width), int(height)), Image.Resampling.BILINEAR)


def to_pil_image(array: np.ndarray) -> Image.Image:
    """A picture HxWx3 uint8 as PIL picture."""
    return Image.fromarray(array)


def batched_nms(boxes: torch.Tensor, scores: torch.Tensor, groups: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Non-maximum suppression within groups.

    boxes (Tensor): n x 4 XYXY.
    scores (Tensor): n.
    groups (Tensor): n, boxes of different groups do not suppress each other.
    iou_threshold (float): Boxes that overlap a better one by more than this go.
    RETURNS (Tensor): Places of the boxes kept, best first.
    """
    order = torch.argsort(scores, descending=True, stable=True)
    gone = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    kept = []
    for place in order.tolist():
        if gone[place]:
            continue
        kept.append(place)
        gone |= (box_iou(boxes[place], boxes)[0] > iou_threshold) & (groups == groups[place])
    return torch.tensor(kept, dtype=torch.long, device=boxes.device)


_STAND_INS: dict[str, SimpleNamespace] = {
    "torchvision.ops.boxes": SimpleNamespace(batched_nms=batched_nms, box_area=box_area),
    "torchvision.transforms.functional": SimpleNamespace(resize=resize, to_pil_image=to_pil_image),
}
