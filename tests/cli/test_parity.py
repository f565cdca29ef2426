"""`rivega parity`: holds on the reference outputs, and notices when they are not what is computed."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rivega_spacy.cli import main

SUBSET = Path(__file__).parents[1] / "backends" / "ofa" / "gpt2_subset"


@pytest.fixture
def copied(shared_dir, tmp_path):
    """A copy of a reference folder that may be changed."""

    def copy(name: str) -> Path:
        target = tmp_path / name
        target.mkdir()
        for file in (shared_dir / "fixtures" / name).iterdir():
            # Plain copies: the originals are read-only.
            shutil.copyfile(file, target / file.name)
        return target

    return copy


@pytest.mark.shared
@pytest.mark.parametrize("name", ["ofa_fairseq", "ofa_hf"])
@pytest.mark.slow
def test_everything_holds_on_the_references(shared_dir, capsys, name):
    assert main(["parity", str(shared_dir / "fixtures" / name)]) == 0
    out = capsys.readouterr().out
    told = load_file(shared_dir / "fixtures" / name / "outputs.safetensors")
    compared = {line.split()[0] for line in out.splitlines() if line.endswith(" ok")}
    assert set(told) <= compared, "every reference tensor is compared"
    assert "DIFFERS" not in out and out.rstrip().endswith(" 0 differ")


@pytest.mark.shared
@pytest.mark.slow
def test_token_ids_are_compared_where_the_vocabulary_is_at_hand(copied, capsys):
    folder = copied("ofa_fairseq")
    for name in ("encoder.json", "vocab.bpe"):
        shutil.copyfile(SUBSET / name, folder / name)
    assert main(["parity", str(folder)]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["vg.src_tokens"].endswith("ok") and lines["ve.src_tokens"].endswith("ok")


@pytest.mark.shared
@pytest.mark.slow
def test_every_changed_reference_is_noticed(copied, capsys):
    folder = copied("ofa_fairseq")
    outputs = load_file(folder / "outputs.safetensors")
    changes = {
        "fwd.encoder_out": 0.001, "vg_eval.tokens_1": 1, "vg_eval.boxes": 0.5, "ve.scores": 0.001, "loss_vg.loss_sum": 0.01,
        "fwd.logits": float("nan"),
    }  # fmt: skip
    for tensor, change in changes.items():
        outputs[tensor] = outputs[tensor] + change
    save_file(outputs, folder / "outputs.safetensors")
    assert main(["parity", "--quiet", str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines if line.endswith("DIFFERS")} == set(changes)


@pytest.mark.shared
def test_changed_weights_and_unknown_tensors_are_noticed(copied, capsys):
    folder = copied("ofa_hf")
    state = load_file(folder / "state_dict.safetensors")
    state["decoder.layer_norm.weight"] = state["decoder.layer_norm.weight"] * 1.01
    save_file(state, folder / "state_dict.safetensors")
    outputs = load_file(folder / "outputs.safetensors")
    outputs["fwd.something_else"] = torch.zeros(2)
    save_file(outputs, folder / "outputs.safetensors")
    assert main(["parity", "--quiet", str(folder)]) == 1
    out = capsys.readouterr().out
    assert "fwd.logits" in out and "fwd.something_else" in out and "fwd.encoder_out" not in out


@pytest.mark.shared
@pytest.mark.slow
def test_several_folders_must_all_hold(shared_dir, copied, capsys):
    folder = copied("ofa_hf")
    outputs = load_file(folder / "outputs.safetensors")
    outputs["fwd.logits"] += 1
    save_file(outputs, folder / "outputs.safetensors")
    good = shared_dir / "fixtures" / "ofa_hf"
    assert main(["parity", "--quiet", str(folder), str(good)]) == 1
    capsys.readouterr()


def test_folders_of_no_known_network_are_refused(tmp_path, capsys):
    assert main(["parity", str(tmp_path)]) == 2
    assert "config.json" in capsys.readouterr().err
    (tmp_path / "config.json").write_text(json.dumps({"arch": "resnet"}), encoding="utf8")
    assert main(["parity", str(tmp_path)]) == 2
    assert "'resnet'" in capsys.readouterr().err
    (tmp_path / "config.json").write_text(json.dumps({"arch": "ofa"}), encoding="utf8")
    assert main(["parity", str(tmp_path)]) == 2
    assert "state_dict.safetensors does not exist" in capsys.readouterr().err


@pytest.mark.shared
@pytest.mark.parametrize("name", ["ofa_fairseq", "ofa_hf", "albef", "seqtr"])
@pytest.mark.slow
def test_what_a_folder_lacks_is_named(copied, capsys, name):
    folder = copied(name)
    whole = json.loads((folder / "config.json").read_text(encoding="utf8"))
    # What is not known is not minded.
    (folder / "config.json").write_text(json.dumps({**whole, "something": {"new": 1}}), encoding="utf8")
    assert main(["parity", "--quiet", str(folder)]) == 0
    capsys.readouterr()
    part = {"albef": "bert_config", "seqtr": "model_cfg"}.get(name)
    if part is not None:
        (folder / "config.json").write_text(
            json.dumps({key: value for key, value in whole.items() if key != part}), encoding="utf8"
        )
        assert main(["parity", str(folder)]) == 2
        assert f"has no '{part}'" in capsys.readouterr().err
    (folder / "config.json").write_text(json.dumps(whole), encoding="utf8")
    inputs = load_file(folder / "inputs.safetensors")
    for key in [key for key in inputs if key.rpartition(".")[2] in ("patch_images", "image", "img")]:
        del inputs[key]
    save_file(inputs, folder / "inputs.safetensors")
    assert main(["parity", str(folder)]) == 2
    assert "has no" in capsys.readouterr().err
