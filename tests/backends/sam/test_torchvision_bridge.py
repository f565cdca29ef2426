"""segment-anything beside a missing, a broken and a working torchvision, each in a fresh interpreter."""

import importlib.util
import os
import subprocess
import sys
import textwrap

import pytest
import torch

from rivega_spacy.backends.sam import torchvision_bridge as bridge

needs_sam = pytest.mark.skipif(
    importlib.util.find_spec("segment_anything") is None, reason="segment-anything is not installed (extra 'sam')"
)
HAS_TORCHVISION = importlib.util.find_spec("torchvision") is not None


def python(code, *, path=None):
    """Run code in an interpreter of its own, with `path` ahead of everything installed."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    if path is not None:
        env["PYTHONPATH"] = os.pathsep.join([str(path), env.get("PYTHONPATH", "")])
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, env=env)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


CHECK = """
    import sys
    from rivega_spacy.backends.sam.torchvision_bridge import import_segment_anything
    {before}
    package = import_segment_anything()
    assert import_segment_anything() is package is sys.modules["segment_anything"]
    assert package.SamPredictor and package.SamAutomaticMaskGenerator
    leftover = sorted(n for n in sys.modules if n.split(".")[0] == "torchvision")
    assert not leftover, leftover
    assert not any("Bridged" in type(f).__name__ for f in sys.meta_path)
    import numpy as np
    from segment_anything.utils.transforms import ResizeLongestSide
    assert ResizeLongestSide(32).apply_image(np.zeros((10, 20, 3), dtype="uint8")).shape == (16, 32, 3)
    {after}
    print("done")
"""

SAME_ERROR = """
    try:
        import torchvision
    except {error} as found:
        assert {message!r} in str(found), found
    else:
        raise SystemExit("torchvision should not import")
    try:
        from torchvision.ops.boxes import batched_nms
    except {error} as found:
        pass
    assert "torchvision" not in sys.modules
"""


def check(before="", after=""):
    indented = [textwrap.indent(textwrap.dedent(part).strip(), "    ") for part in (before, after)]
    return CHECK.format(before=indented[0].strip(), after=indented[1].strip())


@pytest.mark.slow
@needs_sam
@pytest.mark.skipif(HAS_TORCHVISION, reason="torchvision is installed here")
def test_without_torchvision_nothing_changes_for_others():
    after = (
        SAME_ERROR.format(error="ModuleNotFoundError", message="No module named 'torchvision'")
        + """
    from transformers.utils import is_torchvision_available
    assert not is_torchvision_available()
    from transformers import SamModel
    """
    )
    assert python(check(after=after)) == "done"


@pytest.mark.slow
@needs_sam
def test_with_a_broken_torchvision(tmp_path):
    # What PyPI's CUDA build does beside a CPU torch: submodules load, then an operator is missing.
    package = tmp_path / "torchvision"
    package.mkdir()
    failure = "raise RuntimeError('operator torchvision::nms does not exist')"
    (package / "__init__.py").write_text(f"from torchvision import extension\n{failure}\n")
    (package / "extension.py").write_text("")
    after = SAME_ERROR.format(error="RuntimeError", message="operator torchvision::nms does not exist")
    assert python(check(after=after), path=tmp_path) == "done"


@pytest.mark.slow
@needs_sam
def test_a_working_torchvision_is_used(tmp_path):
    for folder in ("torchvision", "torchvision/ops", "torchvision/transforms"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_text("")
    (tmp_path / "torchvision/ops/boxes.py").write_text("def batched_nms(): return 'real'\ndef box_area(): return 'real'\n")
    functional = "def resize(): return 'real'\ndef to_pil_image(): return 'real'\n"
    (tmp_path / "torchvision/transforms/functional.py").write_text(functional)
    code = """
    from rivega_spacy.backends.sam.torchvision_bridge import import_segment_anything
    import_segment_anything()
    from segment_anything.utils import transforms
    from segment_anything import automatic_mask_generator as generator
    print(transforms.resize(), generator.batched_nms())
    """
    assert python(code, path=tmp_path) == "real real"


@pytest.mark.slow
@needs_sam
@pytest.mark.skipif(HAS_TORCHVISION, reason="torchvision is installed here")
def test_other_threads_never_see_a_stand_in():
    before = """
    import importlib.util, threading
    import transformers.utils
    seen, stop = [], threading.Event()
    def look():
        while not stop.is_set():
            seen.append("torchvision" in sys.modules or importlib.util.find_spec("torchvision") is not None)
            try:
                import torchvision.ops.boxes
                seen.append(True)
            except ModuleNotFoundError:
                pass
    watchers = [threading.Thread(target=look) for _ in range(2)]
    for watcher in watchers: watcher.start()
    importers = [threading.Thread(target=import_segment_anything) for _ in range(4)]
    for importer in importers: importer.start()
    for importer in importers: importer.join()
    stop.set()
    for watcher in watchers: watcher.join()
    assert seen and not any(seen)
    """
    assert python(check(before=before)) == "done"


def test_what_is_not_provided_is_refused():
    with pytest.raises(ImportError, match="read_image"):
        bridge._bridged_import("torchvision.io", fromlist=("read_image",))
    assert bridge._bridged_import("json", fromlist=("loads",)).loads("1") == 1


def test_stand_in_suppression_keeps_the_best_of_each_group():
    boxes = torch.tensor([[0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30], [0, 0, 10, 10]], dtype=torch.float32)
    scores = torch.tensor([0.8, 0.9, 0.1, 0.5])
    groups = torch.tensor([0, 0, 0, 1])
    assert bridge.batched_nms(boxes, scores, groups, 0.5).tolist() == [1, 3, 2]
    assert bridge.batched_nms(boxes, scores, groups, 0.9).tolist() == [1, 0, 3, 2]
    assert bridge.box_area(boxes).tolist() == [100, 81, 100, 100]
