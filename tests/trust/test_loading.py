"""What a pipeline's folder may make happen when it is loaded: nothing but a pipeline."""

import codecs
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
import spacy
import srsly
from thinc.api import Config

from rivega_spacy.backends.conversion import read_namespaced, read_safetensors
from rivega_spacy.backends.weights import read_checkpoint
from rivega_spacy.knowledge.example_bank import load_bank
from rivega_spacy.post.digests import DIGESTS
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.training.checkpoints import STATE, steps_done

DEMO = Path(__file__).resolve().parents[2] / "assets" / "demo" / "images"


@pytest.mark.slow
@pytest.mark.skipif(
    not spacy.util.is_package("rivega_twitter"), reason="rivega_twitter is not installed: pip install ./assets/rivega_twitter"
)
def test_the_shipped_pipeline_reaches_nobody_and_writes_nothing():
    picture = next(DEMO.glob("*.jpg"))
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    script = Path(__file__).with_name("watched.py")
    done = subprocess.run(
        [sys.executable, str(script), "rivega_twitter", str(picture)], capture_output=True, text=True, env=environment, check=True
    )
    result = json.loads(done.stdout.splitlines()[-1])
    assert len(result["ents"]) == 5
    assert all("Eileen Collins" in ents for ents in result["ents"])
    # Addresses are no pictures: nothing is fetched, and so nothing is boxed.
    assert result["boxes"][0] == result["boxes"][1]
    assert not any(any(boxes) for boxes in result["boxes"][2:])
    # urllib3 tries at import whether this machine has IPv6, by binding (not connecting) a socket on loopback; Python's tempfile tries whether
    # the folder for temporary files can be written; torch makes an empty folder there for compiled code. Clients of HTTP, which weasel and the
    # hub's client import, import Trio where tests' tools have brought that, and Trio asks the loader for the place of a library.
    temporary = os.path.realpath(tempfile.gettempdir())
    left = [
        (event, given)
        for event, given in result["seen"]
        if not (event == "socket.bind" and "'::1', 0" in given)
        and not (event == "subprocess.Popen" and "['/sbin/ldconfig', '-p']" in given)
        and not (event in ("open", "os.remove", "os.mkdir") and (f"'{temporary}" in given or f"'{tempfile.gettempdir()}" in given))
    ]
    assert left == []


@pytest.fixture
def folder(tmp_path):
    nlp = spacy.blank("rivega")
    nlp.add_pipe("rivega_expander")
    nlp.to_disk(tmp_path / "pipeline")
    (tmp_path / "pipeline" / DIGESTS).unlink()
    return tmp_path / "pipeline"


def _write_config(folder: Path, **changes: object) -> None:
    config = Config().from_disk(folder / "config.cfg")
    for name, value in changes.items():
        part = config
        *way, last = name.split("__")
        for step in way:
            part = part[step]
        part[last] = value
    (folder / "config.cfg").write_text(config.to_str(), encoding="utf8")


@pytest.mark.parametrize("function", ["os.system", "builtins.eval", "subprocess.run", "rivega_spacy.post.images.read_image"])
@pytest.mark.parametrize("registry", ["@misc", "@architectures", "@callbacks", "@readers"])
@pytest.mark.slow
def test_a_config_reaches_registered_functions_alone(folder, registry, function):
    _write_config(folder, components__rivega_expander__model={registry: function, "command": "touch reached"})
    with pytest.raises((ValueError, RivegaError), match="Can't find|Could not find|not found|E893"):
        spacy.load(folder)


def test_a_factory_that_is_a_function_of_python_is_refused(folder):
    _write_config(folder, components__rivega_expander__factory="os.system")
    with pytest.raises((ValueError, RivegaError)):
        spacy.load(folder)


def test_a_config_does_not_see_the_environment(folder, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "abc123")
    for spelling in ("${SECRET_TOKEN}", "$SECRET_TOKEN", "${env:SECRET_TOKEN}", "${env.SECRET_TOKEN}", "%(SECRET_TOKEN)s"):
        text = (folder / "config.cfg").read_text(encoding="utf8")
        changed = text.replace("[nlp]\n", f'[paths]\nmine = "{spelling}"\n\n[nlp]\n', 1) if "[paths]" not in text else text
        path = folder / "changed.cfg"
        path.write_text(changed, encoding="utf8")
        try:
            shown = Config().from_disk(path).to_str()
        except Exception as error:  # an interpolation that cannot be resolved is as good
            shown = str(error)
        assert "abc123" not in shown


class _Runs:
    """What a pickle can do when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def _lying_headers():
    """Safetensors whose header says what is not so."""
    body = b"\0" * 16

    def made(header: object) -> bytes:
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + body

    yield (1 << 62).to_bytes(8, "little") + b"{}"
    yield (1 << 31).to_bytes(8, "little") + b"{" + b" " * 100
    yield made({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 16]}})
    yield made({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 1 << 50]}})
    yield made({"a": {"dtype": "F32", "shape": [4], "data_offsets": [8, 4]}})
    yield made(
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}
    )
    yield made({"a": {"dtype": "F99", "shape": [4], "data_offsets": [0, 16]}})
    yield made([1, 2])
    yield b"[" * 100_000


@pytest.mark.parametrize("data", list(_lying_headers()), ids=range(9))
def test_lying_headers_are_refused(tmp_path, data):
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(RivegaError, match=r"x\.safetensors"):
        read_checkpoint(path, what="a checkpoint")
    with pytest.raises(RivegaError, match=r"x\.safetensors"):
        load_bank(path)
    with pytest.raises(RivegaError, match=r"x\.safetensors"):
        read_safetensors(path)
    path.rename(tmp_path / STATE)
    with pytest.raises(RivegaError, match=STATE):
        steps_done(str(tmp_path))


@pytest.mark.parametrize("name", ["x.pt", "x.pth", "x.bin", "x.safetensors"])
def test_no_pickle_is_obeyed(tmp_path, name):
    import pickle

    import torch

    reached = tmp_path / "reached"
    for write in (
        lambda file: file.write_bytes(pickle.dumps(_Runs(reached))),
        lambda file: torch.save({"a": _Runs(reached)}, file),
    ):
        write(tmp_path / name)
        with pytest.raises(RivegaError):
            read_checkpoint(tmp_path / name, what="a checkpoint")
    assert not reached.exists()


class _Encoded:
    """Bytes that become twice as many with each of these around them."""

    def __init__(self, inner: object, encoding: str) -> None:
        self.inner = inner, encoding

    def __reduce__(self):
        return codecs.encode, self.inner


class _Room:
    """Two gigabytes of nothing."""

    def __reduce__(self):
        return bytearray, (2_000_000_000,)


def _encoded(rounds: int, encoding: str = "hex") -> object:
    value: object = b"0"
    for _ in range(rounds):
        value = _Encoded(value, encoding)
    return value


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("name", ["x.pt", "x.bin"])
def test_weights_take_no_more_memory_than_their_file_has_bytes(tmp_path, name, zipped):
    """PyTorch reads all of these, `weights_only` or not; the last takes a terabyte."""
    import torch

    path = tmp_path / name
    bombs = [
        {"a": _Room()},
        {"a": torch.zeros(2), "b": [_Room()]},
        {"a": _encoded(3)},
        {"a": _encoded(3, "base64")},
        {"a": _Encoded("x" * 30, "punycode")},
        {"a": torch.zeros(1).expand(10**6, 10**6)},
        {"a": {"b": [(torch.zeros(3).expand(10**9, 3),)]}},
        {"a": _encoded(40)},
    ]
    for bomb in bombs:
        torch.save(bomb, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(RivegaError, match=rf"E730.*{name}.*(length|encodes|tensor of)"):
            read_checkpoint(path, what="a checkpoint")


def test_weights_that_are_packed_are_refused(tmp_path):
    import torch

    torch.save({"a": torch.zeros(1_000_000)}, tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as plain, zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        for item in plain.infolist():
            packed.writestr(item.filename, plain.read(item))
    assert (tmp_path / "x.pt").stat().st_size < 20_000
    with pytest.raises(RivegaError, match=r"E730.*x\.pt.*compressed"):
        read_checkpoint(tmp_path / "x.pt", what="a checkpoint")
    # Or said not to be: both heads of the numbers' file.
    data = (tmp_path / "plain.pt").read_bytes()
    (tmp_path / "x.pt").write_bytes(data.replace((4_000_000).to_bytes(4, "little"), (4_000_000_000).to_bytes(4, "little")))
    with pytest.raises(RivegaError, match=r"E730.*x\.pt"):
        read_checkpoint(tmp_path / "x.pt", what="a checkpoint")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
def test_harmless_weights_are_read(tmp_path, zipped):
    """Names of encodings, numbers of NumPy, tensors that share their numbers."""
    import argparse

    import numpy as np
    import torch

    shared = torch.arange(4.0)
    for content in (
        {"hex": shared, "base64": shared.view(2, 2), "epoch": 3},
        {"loss": np.float64(0.5), "latin1": shared, "utf8": 1, "part": shared[1:]},
    ):
        torch.save(content, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
        assert set(read_checkpoint(tmp_path / "x.pt", what="a checkpoint")) == set(content)
    torch.save(
        {"args": argparse.Namespace(arch="x", bytes=b"\x80"), "model": {"a": shared}},
        tmp_path / "y.pt",
        _use_new_zipfile_serialization=zipped,
    )
    assert set(read_namespaced(tmp_path / "y.pt", what="a checkpoint")) == {"args", "model"}


@pytest.mark.parametrize("note", ["[]", "3", "{", "[" * 100_000, "1" * 5000], ids=range(5))
def test_a_note_in_weights_is_an_object(tmp_path, note):
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, tmp_path / "x.safetensors", metadata={"rivega": note})
    with pytest.raises(RivegaError, match=r"E701.*x\.safetensors"):
        read_safetensors(tmp_path / "x.safetensors")


BANK = [{"text": "a", "caption": "b", "annotation": "c", "id": "1", "image": None}]


@pytest.mark.parametrize(
    "change",
    [
        {"examples": "[" * 100_000}, {"examples": "[1]"}, {"examples": "{}"}, {"examples": json.dumps([{**BANK[0], "text": 5}])},
        {"examples": json.dumps([{**BANK[0], "annotation": ["x"]}])}, {"examples": json.dumps(BANK * 2)}, {"encoders": "[]"}, {"encoders": "{}"},
        {"text": [1, 2, 3]}, {"text": 3}, {"image": [2, 2]}, {"has_image": [1, 1]}, {"text": None},
    ],
    ids=range(13),
)  # fmt: skip
def test_a_bank_of_examples_that_does_not_fit(tmp_path, change):
    import numpy as np
    from safetensors.numpy import save_file

    shapes = {"text": [1, 2], "image": [1, 2], "has_image": [1]}
    arrays = {
        name: np.zeros(change.get(name, shape) if isinstance(change.get(name, shape), list) else 1)
        for name, shape in shapes.items()
    }
    arrays = {name: array for name, array in arrays.items() if change.get(name, 0) is not None}
    metadata = {"examples": json.dumps(BANK), "encoders": json.dumps({"text": "t", "image": "i"})}
    save_file(
        arrays, tmp_path / "whole.safetensors", metadata={**metadata, **{key: change[key] for key in metadata if key in change}}
    )
    with pytest.raises(RivegaError, match=r"E423.*whole\.safetensors"):
        load_bank(tmp_path / "whole.safetensors")
    save_file({name: np.zeros(shape) for name, shape in shapes.items()}, tmp_path / "whole.safetensors", metadata=metadata)
    assert len(load_bank(tmp_path / "whole.safetensors").examples) == 1


def _bombs():
    """msgpack that is large, deep, or says that it is."""
    yield b"\xdd\xff\xff\xff\xff"  # a list of four thousand million
    yield b"\xdf\xff\xff\xff\xff"  # a dict as large
    yield b"\xc6\xff\xff\xff\xff" + b"\0" * 10  # bytes
    yield b"\x91" * 200_000  # lists in lists
    yield b"\x81\xa6config" * 100_000
    yield srsly.msgpack_dumps({"config": {}, "state": b"\xff" * 64})
    yield srsly.msgpack_dumps({"config": [], "state": 3})


@pytest.mark.parametrize("data", list(_bombs()), ids=range(7))
def test_msgpack_bombs_in_weights_are_refused(data):
    from rivega_spacy.backends.shim import TorchShim

    with pytest.raises(RivegaError, match="E021"):
        TorchShim(None, name="network", build=lambda config: None).from_bytes(data)
