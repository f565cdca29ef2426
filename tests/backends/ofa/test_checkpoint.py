"""Published layouts, and what is said about files that do not fit."""

import argparse
import json
import pickle

import pytest
import torch
from ofa_tiny import BINS, published, sizes, tiny_network, to_hf, write_folder
from safetensors.torch import load_file, save_file

from rivega_spacy.backends.ofa.checkpoint import load_ofa
from rivega_spacy.cli import main
from rivega_spacy.post.errors import RivegaError


def fairseq_file(folder, state, **args):
    """The container that fairseq writes, in half precision."""
    half = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    content = {
        "args": None,
        "cfg": {"_name": None, "model": argparse.Namespace(attn_scale_factor=2, **args), "task": {"num_bins": BINS}},
        "model": half,
        "criterion": None,
        "optimizer_history": [{"num_updates": 1, "lr_scheduler_state": {"best": None}}],
        "extra_state": {"train_iterator": {"epoch": 2}},
        "last_optimizer_state": None,
    }
    torch.save(content, folder / "checkpoint_best.pt")
    return folder / "checkpoint_best.pt"


def assert_same_weights(one, two, *, half=False):
    left, right = one.state_dict(), two.state_dict()
    assert set(left) == set(right)
    for name, value in right.items():
        value = value.half().float() if half and value.is_floating_point() else value
        assert torch.equal(left[name], value), name


def test_a_fairseq_file_loads_in_single_precision(tmp_path):
    network = tiny_network()
    loaded = load_ofa(fairseq_file(tmp_path, published(network), encoder_layers=2, heads=None))
    assert loaded.config == network.config
    assert_same_weights(loaded, network, half=True)
    assert not loaded.training and loaded.embed_tokens.weight.dtype == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize("precise", [False, True])
def test_the_moving_average_is_taken_where_asked_for(tmp_path, capsys, precise):
    last, average = tiny_network(0), tiny_network(5)
    path = fairseq_file(tmp_path, published(last))
    content = torch.load(path, weights_only=False)
    named = published(average)
    content["extra_state"]["ema"] = {name: value.half() if value.is_floating_point() else value for name, value in named.items()}
    if precise:
        content["extra_state"]["ema_fp32"] = {name: value for name, value in named.items() if value.is_floating_point()}
    content["extra_state"]["metrics"] = [("default", [[0, "loss", "AverageMeter", {"val": torch.tensor(1.5), "sum": 3.0}]])]
    torch.save(content, path)
    assert_same_weights(load_ofa(path), last, half=True)
    assert_same_weights(load_ofa(path, ema=True), average, half=not precise)
    for options, network in ([], last), (["--ema"], average):
        assert main(["convert-checkpoint", str(path), str(tmp_path / "plain.safetensors"), *options]) == 0
        assert_same_weights(load_ofa(tmp_path / "plain.safetensors"), network, half=not (precise and options))
    capsys.readouterr()


def test_a_file_without_moving_average_says_so(tmp_path, capsys):
    path = fairseq_file(tmp_path, published(tiny_network()))
    with pytest.raises(RivegaError, match="no moving average"):
        load_ofa(path, ema=True)
    assert main(["convert-checkpoint", str(path), str(tmp_path / "plain.safetensors"), "--ema"]) == 2
    assert "no moving average" in capsys.readouterr().err


@pytest.mark.slow
def test_a_folder_in_the_other_naming_loads_the_same(tmp_path):
    loaded = load_ofa(write_folder(tmp_path / "model"))
    assert_same_weights(loaded, tiny_network())


def test_prefix_of_parallel_training_is_taken_off(tmp_path):
    network = tiny_network()
    torch.save({"state_dict": {f"module.{name}": value for name, value in published(network).items()}}, tmp_path / "a.pt")
    loaded = load_ofa(tmp_path / "a.pt", options={"num_bins": BINS})
    assert_same_weights(loaded, network)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["fairseq", "hf"])
def test_convert_checkpoint_writes_safetensors_that_load_the_same(tmp_path, capsys, layout):
    network = tiny_network()
    source = fairseq_file(tmp_path, published(network)) if layout == "fairseq" else write_folder(tmp_path / "model")
    target = tmp_path / "out.safetensors"
    assert main(["convert-checkpoint", str(source), str(target)]) == 0
    assert "ofa: " in capsys.readouterr().out
    stored = load_file(target)
    assert not any(name.endswith(("rp_bucket", "version")) for name in stored), "what can be computed is not stored"
    loaded = load_ofa(target)
    assert loaded.config == network.config, "how many bins there are is kept beside the weights"
    assert_same_weights(loaded, network, half=layout == "fairseq")
    # And once more.
    again = tmp_path / "again.safetensors"
    assert main(["convert-checkpoint", str(target), str(again)]) == 0
    assert_same_weights(load_ofa(again), loaded)


def test_convert_checkpoint_refuses_other_names_and_networks(tmp_path, capsys):
    source = write_folder(tmp_path / "model")
    assert main(["convert-checkpoint", str(source), str(tmp_path / "out.pt")]) == 2
    assert ".safetensors" in capsys.readouterr().err
    assert main(["convert-checkpoint", str(source), str(tmp_path / "o.safetensors"), "--network", "bert"]) == 2
    assert "bert" in capsys.readouterr().err
    save_file({"a.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    assert main(["convert-checkpoint", str(tmp_path / "other.safetensors"), str(tmp_path / "o.safetensors")]) == 2
    assert "a.weight" in capsys.readouterr().err
    assert not (tmp_path / "o.safetensors").exists()


def test_a_missing_tensor_is_named(tmp_path):
    state = published(tiny_network())
    del state["encoder.layers.1.attn_ln.bias"], state["decoder.layers.0.fc2.weight"]
    with pytest.raises(RivegaError, match="E022|missing") as error:
        load_ofa(fairseq_file(tmp_path, state))
    assert "encoder.layers.1.attn_ln.bias" in str(error.value) and "decoder.layers.0.fc2.weight" in str(error.value)


def test_a_surplus_tensor_is_named(tmp_path):
    state = published(tiny_network())
    state["encoder.layers.0.w_resid"] = torch.zeros(32)
    with pytest.raises(RivegaError, match="w_resid"):
        load_ofa(fairseq_file(tmp_path, state))


def test_a_wrong_shape_is_named_with_both_shapes(tmp_path):
    state = published(tiny_network())
    state["encoder.image_proj.weight"] = torch.zeros(32, 64)
    with pytest.raises(RivegaError, match=r"image_proj.weight \(32, 64\) instead of \(32, 128\)"):
        load_ofa(fairseq_file(tmp_path, state))


def test_another_network_is_refused(tmp_path):
    torch.save({"model": {"visual_encoder.cls_token": torch.zeros(1, 1, 8)}}, tmp_path / "albef.pth")
    with pytest.raises(RivegaError, match="not an OFA checkpoint"):
        load_ofa(tmp_path / "albef.pth")


def test_settings_that_contradict_the_weights_are_named(tmp_path):
    with pytest.raises(RivegaError, match="`encoder_layers` is 12"):
        load_ofa(fairseq_file(tmp_path, published(tiny_network()), encoder_layers=12))
    with pytest.raises(RivegaError, match="entangle_position_embedding"):
        load_ofa(fairseq_file(tmp_path, published(tiny_network()), entangle_position_embedding=True))


def test_copies_of_the_token_table_must_agree(tmp_path):
    state = published(tiny_network())
    state["decoder.output_projection.weight"] = state["decoder.output_projection.weight"] + 1
    with pytest.raises(RivegaError, match="decoder.output_projection.weight"):
        load_ofa(fairseq_file(tmp_path, state))


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    state = published(tiny_network())
    state["decoder.layers.1.fc1.weight"][0, 0] = float("nan")
    with pytest.raises(RivegaError, match="decoder.layers.1.fc1.weight"):
        load_ofa(fairseq_file(tmp_path, state))


class Runs:
    """What a hostile file would hold."""

    def __reduce__(self):
        return print, ("this must not run",)


def test_a_file_that_would_run_code_is_refused(tmp_path, capsys):
    torch.save({"model": published(tiny_network()), "extra_state": Runs()}, tmp_path / "evil.pt")
    with pytest.raises(RivegaError):
        load_ofa(tmp_path / "evil.pt")
    with open(tmp_path / "plain.pt", "wb") as file:
        pickle.dump(Runs(), file)
    with pytest.raises(RivegaError):
        load_ofa(tmp_path / "plain.pt")
    assert "this must not run" not in capsys.readouterr().out


def test_damaged_empty_and_missing_files(tmp_path):
    good = fairseq_file(tmp_path, published(tiny_network()))
    data = good.read_bytes()
    for name, content in (("cut.pt", data[: len(data) // 2]), ("empty.pt", b""), ("text.pt", b"hello")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(RivegaError, match=name):
            load_ofa(tmp_path / name)
    (tmp_path / "cut.safetensors").write_bytes(b"\x00" * 5)
    with pytest.raises(RivegaError, match="cut.safetensors"):
        load_ofa(tmp_path / "cut.safetensors")
    with pytest.raises(RivegaError, match="nowhere.pt"):
        load_ofa(tmp_path / "nowhere.pt")
    (tmp_path / "folder").mkdir()
    with pytest.raises(RivegaError, match="pytorch_model.bin"):
        load_ofa(tmp_path / "folder")


@pytest.mark.slow
def test_smaller_tables_grow_as_in_the_published_code(tmp_path):
    network = tiny_network()
    state = published(network)
    for part in ("encoder", "decoder"):
        state[f"{part}.embed_image_positions.weight"] = state[f"{part}.embed_image_positions.weight"][:20]
    file = fairseq_file(tmp_path, state)
    one = load_ofa(file, vocab_size=network.config.vocab_size + 7)
    two = load_ofa(file, vocab_size=network.config.vocab_size + 7)
    assert one.config.vocab_size == network.config.vocab_size + 7
    assert one.encoder.embed_image_positions.weight.shape[0] == 37
    assert_same_weights(one, two)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["ofa_fairseq/checkpoint_fp16.pt", "ofa_fairseq", "ofa_hf"])
def test_reference_files_load(shared_dir, name):
    path = shared_dir / "fixtures" / name
    told = json.loads((path if path.is_dir() else path.parent).joinpath("config.json").read_text())
    network = load_ofa(path, options={"num_bins": told["num_bins"]})
    assert sum(value.numel() for value in network.parameters()) == told["num_parameters"]
    assert network.config.bin_0 == told["bin_0_index"] and network.config.resnet_layers == tuple(told["resnet_layers"])


def test_sizes_of_the_tests_are_what_the_shapes_tell():
    assert tiny_network().config.to_dict() == {**tiny_network().config.to_dict(), **sizes()}


def test_both_namings_differ_where_the_notes_say():
    names = to_hf(published(tiny_network()))
    assert "encoder.layers.0.self_attn_mid_layer_norm.weight" in names
    assert "decoder.layers.0.cross_attn_mid_layer_norm.weight" in names
    assert "decoder.layers.0.cross_attn.c_attn" in names
