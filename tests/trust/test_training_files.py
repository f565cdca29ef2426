"""What trainings keep beside pipelines, made by others: the state of a training, kept views, and the prompts of a pipeline."""

import copy
import gzip
import json
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import spacy
import srsly
import torch
from safetensors.numpy import save as save_arrays
from safetensors.torch import load_file, save_file
from thinc.api import Adam
from vision_tiny import photos  # noqa: F401

from rivega_spacy.backends.shim import TorchShim, torch_model
from rivega_spacy.post.digests import DIGESTS
from rivega_spacy.post.errors import RivegaError, SetupError
from rivega_spacy.training.checkpoints import STATE, Checkpoints, steps_done
from rivega_spacy.training.kept import KeptSettings, KeptTargets, KeptViews, pack

from .test_loading import _bombs, _lying_headers, _Runs


def made() -> tuple[Any, TorchShim]:
    """A pipeline of one small network, whose average is kept, with an auxiliary head."""
    torch.manual_seed(0)
    shim = TorchShim(torch.nn.Linear(5, 3), name="network", ema_decay=0.9)
    shim.add_helper(torch.nn.Linear(3, 2))
    model = torch_model("layer", shim, lambda model, X, is_train: (X, list))
    return SimpleNamespace(pipeline=[("tagger", SimpleNamespace(model=model))]), shim


def learn(shim: TorchShim, optimizer: Any) -> None:
    shim.helper(shim.module(torch.ones(2, 5))).sum().backward()
    shim.finish_update(optimizer)


@pytest.fixture(scope="module")
def state(tmp_path_factory) -> Path:
    """Saved after two steps."""
    folder = tmp_path_factory.mktemp("state")
    nlp, shim = made()
    optimizer = Adam(0.01)
    for _ in range(2):
        learn(shim, optimizer)
    Checkpoints(folder, 1)(nlp, {"step": 2})
    return folder


def resume(folder: Path) -> TorchShim:
    """Go on by a step, and evaluate with the average."""
    nlp, shim = made()
    Checkpoints(folder, 1).restore(nlp)
    learn(shim, Adam(0.01))
    with shim.use_params({}):
        pass
    return shim


def test_a_whole_state_is_gone_on_from(state):
    tensors = load_file(state / STATE)
    assert steps_done(str(state)) == 2 and resume(state).steps == 3
    kinds = {name.split("/")[1].split(".")[0] for name in tensors}
    assert kinds == {"net", "average", "helper", "optimizer", "steps"}


def variants(tensors: dict[str, torch.Tensor]):
    """Each tensor of a state as it may not be, with what was done to it."""
    for name, value in tensors.items():
        for kind, changed in {
            "smaller": value.reshape(-1)[:1].clone() if value.numel() > 1 else torch.zeros(0),
            "larger": torch.zeros(40, 40),
            "of other axes": value[None].clone(),
        }.items():
            yield f"{name} {kind}", {**tensors, name: changed}
        if "optimizer" in name or name.endswith("/steps"):
            yield f"{name} left out", {key: other for key, other in tensors.items() if key != name}
        for other in (
            name.split("/")[1],
            f"tagger:0/optimizer.99.{name[-9:]}",
            "tagger:0/optimizer.x",
            "tagger:0/optimizer.0.1.2",
            "eyes:0/net.weight",
        ):
            yield f"{name} beside {other}", {**tensors, other: value.clone()}
    for steps in (torch.tensor(3), torch.tensor(10**15), torch.tensor(-1), torch.tensor(float("nan")), torch.tensor(float("inf"))):
        yield f"{steps} steps", {**tensors, "tagger:0/steps": steps}


@pytest.mark.slow
def test_a_state_that_does_not_fit_is_refused_before_it_is_used(state, tmp_path):
    """Moments of another shape would be read and written beyond their memory by the optimiser's fused step."""
    count = 0
    for kind, tensors in variants(load_file(state / STATE)):
        save_file(tensors, tmp_path / STATE, metadata={"steps": "2"})
        try:
            resume(tmp_path)
        except RivegaError:
            count += 1
        else:
            raise AssertionError(kind)
    assert count > 60


@pytest.mark.parametrize(
    "metadata", [None, {}, {"steps": "many"}, {"steps": "9" * 5000}, {"steps": "1"}, {"steps": "-2"}], ids=range(6)
)
def test_steps_that_two_places_tell_differently(metadata, state, tmp_path):
    save_file(load_file(state / STATE), tmp_path / STATE, metadata=metadata)
    with pytest.raises(RivegaError, match=rf"E730.*{STATE}"):
        resume(tmp_path)


@pytest.mark.parametrize(
    "steps, said",
    [(torch.tensor(-2), "-2"), (torch.tensor([2]), "2"), (torch.tensor(2.0), "2"), (torch.tensor([[2]]), "2")],
    ids=range(4),
)
def test_steps_that_are_no_number_of_them(steps, said, state, tmp_path):
    """Though both places say the same."""
    save_file({**load_file(state / STATE), "tagger:0/steps": steps}, tmp_path / STATE, metadata={"steps": said})
    with pytest.raises(RivegaError, match="E021.*after how many steps"):
        resume(tmp_path)


@pytest.mark.parametrize("data", list(_lying_headers()), ids=range(9))
def test_a_state_whose_header_lies(data, tmp_path):
    (tmp_path / STATE).write_bytes(data)
    with pytest.raises(RivegaError, match=rf"E730.*{STATE}"):
        resume(tmp_path)


@pytest.fixture
def views(photos, tmp_path) -> KeptViews:  # noqa: F811
    """A round of kept views, which show nothing."""
    found = KeptViews(photos, tmp_path / "kept", KeptSettings(side=64, rounds=1, batch=2))
    count = len(found.photos) + found.blanks
    found.kept.mkdir()
    np.save(found.kept / "round-0.npy", np.zeros((count, found.values), "float16"))
    target = KeptTargets(np.zeros((1, 4)), np.zeros(1, "int64"), np.zeros(1, bool), np.zeros(len(found.kinds), "int8"))
    found._done(0).write_bytes(save_arrays(pack([target] * count)))
    return found


def fresh(views: KeptViews) -> KeptViews:
    """The same with nothing read yet."""
    found = copy.copy(views)
    found._rows, found._targets = {}, {}
    return found


def test_whole_views_are_read(views):
    assert len(fresh(views).batch(0, 0.0)) == 2


def refused(views: KeptViews, name: str) -> None:
    with pytest.raises(RivegaError, match=rf"E730.*{name}"):
        fresh(views).batch(0, 0.0)


def npy(shape: str, kind: str = "'<f2'", more: str = "") -> bytes:
    head = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}{more}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(64)


def test_rows_of_kept_views_are_numbers_as_many_as_are_there(views, tmp_path):
    reached = tmp_path / "reached"
    path = views.kept / "round-0.npy"
    count = len(views.photos) + views.blanks
    files = {
        "a pickle": pickle.dumps(_Runs(reached)),
        "more than there are": npy(f"({count}, {views.values})"),
        "more than a machine has": npy(f"({count}, {2**50})"),
        "negative": npy("(-1, 5)"),
        "objects": npy(f"({count}, {views.values})", "'|O'"),
        "a header that is called": npy("(1,)", more=", 'x': __import__('os').system('touch reached')"),
        "a header without end": b"\x93NUMPY\x02\x00" + (2**31).to_bytes(4, "little") + b"(" * 10_000,
        "nothing": b"",
        "cut short": path.read_bytes()[:-2],
    }
    for data in files.values():
        path.write_bytes(data)
        refused(views, r"round-0\.npy")
    with open(path, "wb") as out:
        np.save(out, np.array([_Runs(reached)], dtype=object), allow_pickle=True)
    refused(views, r"round-0\.npy")
    for array in (
        np.zeros((count, views.values), "float32"),
        np.zeros((count - 1, views.values), "float16"),
        np.zeros(count, "float16"),
    ):
        np.save(path, array)
        refused(views, r"round-0\.npy")
    path.unlink()
    refused(views, r"round-0\.npy")
    assert not reached.exists()


def test_targets_of_kept_views_belong_together(views):
    from safetensors.numpy import load_file as load_arrays

    path = views._done(0)
    whole = load_arrays(path)
    changes = [
        {"count": whole["count"] - 2},
        {"count": whole["count"] + 1},
        {"count": whole["count"].astype("float32")},
        {"count": whole["count"][:-1]},
        {"owner": whole["owner"] - 1},
        {"owner": whole["owner"] + 10**6},
        {"owner": whole["owner"].astype("float32")},
        {"boxes": whole["boxes"][:, :3]},
        {"boxes": whole["boxes"].reshape(-1)},
        {"hard": whole["hard"][:-1]},
        {"status": whole["status"][:-1]},
        {"status": whole["status"][0, 0]},
    ]
    for change in changes:
        path.write_bytes(save_arrays({name: np.ascontiguousarray(value) for name, value in {**whole, **change}.items()}))
        refused(views, r"round-0\.safetensors")
    for name in whole:
        path.write_bytes(save_arrays({key: value for key, value in whole.items() if key != name}))
        refused(views, r"round-0\.safetensors")
    for data in _lying_headers():
        path.write_bytes(data)
        refused(views, r"round-0\.safetensors")


def test_targets_are_of_as_many_views_as_the_round_has(views):
    """A whole file, of another round's number of photographs."""
    from safetensors.numpy import load_file as load_arrays

    path = views._done(0)
    whole = load_arrays(path)
    first = int(whole["count"][0])
    shorter = {name: value[1:] if name in ("count", "status") else value[first:] for name, value in whole.items()}
    assert {len(shorter[name]) for name in ("boxes", "owner", "hard")} == {int(shorter["count"].sum())}
    path.write_bytes(save_arrays({name: np.ascontiguousarray(value) for name, value in shorter.items()}))
    refused(views, r"round-0\.safetensors.*views, not of")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\x00", '{"settings": 1' + "0" * 5000 + "}"], ids=range(5))
def test_settings_of_kept_views(text, views):
    (views.kept / "settings.json").write_text(text)
    with pytest.raises(RivegaError, match=r"E730.*settings\.json"):
        fresh(views).fill()


@pytest.fixture
def asking(tmp_path):
    """A pipeline whose prompts are saved with it."""
    (tmp_path / "recorded.jsonl").write_text(json.dumps({"id": "1", "knowledge": "k"}) + "\n")
    nlp = spacy.blank("rivega")
    nlp.add_pipe("rivega_knowledge", config={"model": {"@misc": "rivega.Replay.v1", "path": str(tmp_path / "recorded.jsonl")}})
    return nlp


PROMPT = "[[user]]\n{text}"


@pytest.mark.parametrize(
    "data",
    [*list(_bombs())[:5], b"", b"\xc0", pickle.dumps({}), *map(srsly.msgpack_dumps, (["knowledge"], {"other": PROMPT}, {"knowledge": 3}, {"knowledge": ["x"]},
     {"prompt_files": []}, {"prompt_files": "x"}, {"knowledge": "no sections"}, {"knowledge": "[[user]]\n{__class__}"}))],
    ids=range(16),
)  # fmt: skip
def test_prompts_in_bytes_are_prompts(data, asking):
    pipe = asking.get_pipe("rivega_knowledge")
    before = pipe.to_bytes()
    with pytest.raises(RivegaError, match="E021|E415"):
        pipe.from_bytes(data)
    assert pipe.to_bytes() == before
    pipe.from_bytes(before)


@pytest.mark.parametrize(
    "name, data",
    [
        ("prompt_files.json", b"[]"), ("prompt_files.json", b"{"), ("prompt_files.json", b"[" * 100_000), ("prompt_files.json", b"\xff"), ("prompt_files.json", b'"x"'),
        ("knowledge.txt", b"\xff\xfe\xff"), ("knowledge.txt", b"[[user]]\n{__class__}"), ("knowledge.txt", b"\x80\x04."), ("knowledge.txt", gzip.compress(PROMPT.encode(), mtime=0)[:-9]), ("knowledge.txt", b"[[user]]\n<< {text} >>"),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_prompts_in_a_folder_are_prompts(name, data, asking, tmp_path):
    asking.to_disk(tmp_path / "pipeline")
    file = tmp_path / "pipeline" / "rivega_knowledge" / name
    assert file.is_file()
    file.write_bytes(data)
    if not name.endswith(".txt"):  # which people may edit
        with pytest.raises(SetupError, match=rf"E950.*{name}"):
            spacy.load(tmp_path / "pipeline")
    (tmp_path / "pipeline" / DIGESTS).unlink()
    with pytest.raises(RivegaError):
        spacy.load(tmp_path / "pipeline")
