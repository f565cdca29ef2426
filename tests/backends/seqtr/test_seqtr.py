"""The SeqTR port: parity with the published code, its files, its geometry and its decoding."""

import io
import pickle
import shutil

import numpy as np
import pytest
import srsly
import torch
from safetensors.torch import load_file, save_file
from tiny_networks import SEQTR_SIZES

from rivega_spacy.backends.parity import compare_folder
from rivega_spacy.backends.seqtr.darknet import DarkNet53, load_yolo_weights, save_yolo_weights
from rivega_spacy.backends.seqtr.geometry import bins_to_box, box_to_bins
from rivega_spacy.backends.seqtr.images import preprocess, resize_bilinear
from rivega_spacy.backends.seqtr.model import Seqtr, SeqtrConfig, padding_mask, smoothed_loss
from rivega_spacy.backends.seqtr.text import SPECIALS, Vocabulary, clean, read_vocabulary, tokenize, word_vectors
from rivega_spacy.backends.seqtr.transformer import sine_positions
from rivega_spacy.backends.seqtr.weights import infer_config, read_state, seqtr_from_file
from rivega_spacy.post.errors import RivegaError

CONFIG = SeqtrConfig.from_dict({**SEQTR_SIZES, "vocab_size": 12})


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Seqtr(CONFIG).eval()


@pytest.fixture(scope="module")
def memory(network):
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(2, 3, 64, 96, generator=generator) * 255
    words = torch.tensor([[3, 4, 5, 0, 0], [1, 6, 7, 8, 9]])
    with torch.inference_mode():
        return network.memory(network.encode_image(pixels), words, padding_mask([(64, 96), (40, 70)], 64, 96))


@pytest.mark.slow
@pytest.mark.shared
def test_parity_with_the_published_code(shared_dir):
    rows = compare_folder(shared_dir / "fixtures" / "seqtr")
    names = {"seq_out_bbox", "greedy_logits", "train_loss", "pred_bboxes_original_scale", "single_1.pred_bboxes_original_scale"}
    assert names | {"preprocessed_0", "tokens", "x_pos_embeds"} <= {row.name for row in rows}
    assert [row.name for row in rows if not row.ok] == []
    # Pictures are scaled to the last grey level as OpenCV does it.
    assert {row.difference for row in rows if row.name.startswith("preprocessed")} == {0.0}


@pytest.mark.slow
@pytest.mark.shared
def test_parity_notices_a_changed_weight(shared_dir, tmp_path):
    folder = tmp_path / "seqtr"
    shutil.copytree(shared_dir / "fixtures" / "seqtr", folder)
    state = load_file(str(folder / "state_dict.safetensors"))
    state["head.transformer.decoder.norm.weight"] *= 1.01
    save_file(state, str(folder / "state_dict.safetensors"))
    failed = {row.name for row in compare_folder(folder) if not row.ok}
    assert "train_logits" in failed and not failed & {"memory", "fusion", "lan"}


@pytest.mark.shared
def test_the_full_size_has_the_published_tensors(shared_dir):
    keys = srsly.read_json(shared_dir / "fixtures" / "seqtr" / "keys_full.json")
    with torch.device("meta"):
        full = Seqtr(SeqtrConfig(vocab_size=1000))
    assert {k: tuple(v.shape) for k, v in full.state_dict().items()} == {k: tuple(v[0]) for k, v in keys.items()}
    assert sum(p.numel() for p in full.parameters()) == 104_274_377 + 300 * 1000
    assert sum(p.numel() for p in full.parameters() if p.requires_grad) == 53_197_545
    assert len(full.state_dict()) == 521


def outputs(network):
    with torch.inference_mode():
        words = torch.tensor([[3, 4, 5, 0]])
        pixels = torch.linspace(0, 255, 3 * 64 * 64).view(1, 3, 64, 64)
        return network.decode(network.memory(network.encode_image(pixels), words, padding_mask([(64, 64)], 64, 64))).logits


@pytest.mark.parametrize("distributed", [False, True])
@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.slow
def test_a_checkpoint_loads_with_and_without_module_and_average(network, tmp_path, distributed, averaged):
    state = dict(network.state_dict())
    prefix = "module." if distributed else ""
    named = {prefix + key: value for key, value in state.items()}
    content = {"epoch": 5, "d_acc": np.float64(0.8), "miou": 0.5, "amp": None, "state_dict": named, "optimizer": {}, "lr": 1e-3}
    if averaged:
        # The average is what is evaluated; the last weights are put out of use.
        content["ema_state_dict"] = dict(named)
        content["state_dict"] = {key: torch.zeros_like(value) for key, value in named.items()}
    torch.save(content, tmp_path / "det_best.pth")
    loaded = seqtr_from_file(tmp_path / "det_best.pth", heads=4, max_side=640)
    assert torch.equal(outputs(loaded), outputs(network))
    if averaged:
        last = read_state(tmp_path / "det_best.pth", ema=False)
        assert all(not value.any() for value in last.values())


def test_another_list_of_words_drops_the_files_vectors(network, tmp_path):
    torch.save({"state_dict": dict(network.state_dict())}, tmp_path / "det.pth")
    loaded = seqtr_from_file(tmp_path / "det.pth", heads=4, vocab_size=40)
    assert loaded.lan_enc.embedding.weight.shape == (40, CONFIG.word_width)
    assert torch.equal(loaded.head.predictor[2].fc.weight, network.head.predictor[2].fc.weight)


def test_the_shape_is_read_from_the_weights(network):
    found = infer_config(dict(network.state_dict()), heads=4)
    assert found.to_dict() == CONFIG.to_dict()
    assert SeqtrConfig.from_dict(found.to_dict()) == found


def test_what_differs_is_named(network, tmp_path):
    state = dict(network.state_dict())
    del state["fusion.top_project.1.bn.bias"]
    state["lan_enc.lstm.extra"] = torch.zeros(1)
    torch.save({"state_dict": state}, tmp_path / "det.pth")
    with pytest.raises(RivegaError, match="missing fusion.top_project.1.bn.bias; surplus lan_enc.lstm.extra"):
        seqtr_from_file(tmp_path / "det.pth", heads=4)
    torch.save(
        {"state_dict": {**network.state_dict(), "head.predictor.0.fc.bias": torch.full((64,), float("inf"))}}, tmp_path / "det.pth"
    )
    with pytest.raises(RivegaError, match="not finite numbers: head.predictor.0.fc.bias"):
        seqtr_from_file(tmp_path / "det.pth", heads=4)
    torch.save({"model": {"visual_encoder.norm.weight": torch.zeros(1)}}, tmp_path / "albef.pth")
    with pytest.raises(RivegaError, match="is not a SeqTR checkpoint"):
        read_state(tmp_path / "albef.pth")


def test_raw_yolo_weights_round_trip(tmp_path):
    torch.manual_seed(0)
    first, second = DarkNet53(stem=2), DarkNet53(stem=2)
    with torch.no_grad():
        for _name, value in first.named_buffers():
            value.copy_(torch.rand(value.shape) + 0.5)
    save_yolo_weights(first, tmp_path / "darknet.weights")
    assert load_yolo_weights(second, tmp_path / "darknet.weights") == 58
    pixels = torch.rand(1, 3, 64, 64) * 255
    with torch.inference_mode():
        for a, b in zip(first.eval()(pixels), second.eval()(pixels)):
            assert torch.equal(a, b)
    # YOLOv3's own file goes on with its detection layers; DarkNet's ends before the detector's first stage.
    data = (tmp_path / "darknet.weights").read_bytes()
    (tmp_path / "yolov3.weights").write_bytes(data + b"\0" * 400)
    assert load_yolo_weights(second, tmp_path / "yolov3.weights") == 58
    backbone = sum(4 * u.bn.num_features + u.conv.weight.numel() for u in first.darknet[:11].modules() if hasattr(u, "bn"))
    (tmp_path / "conv74.weights").write_bytes(data[: 20 + 4 * backbone])
    assert load_yolo_weights(second, tmp_path / "conv74.weights") == 52


def test_damaged_yolo_weights_are_refused_and_change_nothing(tmp_path):
    network = DarkNet53(stem=2)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    save_yolo_weights(network, tmp_path / "good")
    data = (tmp_path / "good").read_bytes()
    nan = np.frombuffer(data[20:], dtype="<f4").copy()
    nan[100] = np.nan
    for name, content, message in [
        ("short", data[:5000], "numbers, the network needs"),
        ("odd", data[:-1], "bytes"),
        ("header", np.array([9999, 2, 0, 0, 0], dtype="<i4").tobytes() + data[20:], "header"),
        ("nan", data[:20] + nan.tobytes(), "not finite"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(RivegaError, match=message):
            load_yolo_weights(network, tmp_path / name)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_pictures_are_scaled_as_opencv_does_it():
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(0)
    sizes = [(91, 128, 50, 70), (480, 640, 300, 400), (50, 50, 100, 100), (200, 150, 400, 301), (1, 7, 3, 300), (64, 5, 1, 1)]
    sizes += [tuple(rng.integers(1, 200, 4)) for _ in range(40)]
    for new_height, new_width, height, width in sizes:
        image = rng.integers(0, 256, (height, width, 3)).astype("uint8")
        wanted = cv2.resize(image, (int(new_width), int(new_height)), interpolation=cv2.INTER_LINEAR)
        assert np.array_equal(resize_bilinear(image, int(new_height), int(new_width)), wanted), (
            height,
            width,
            new_height,
            new_width,
        )


@pytest.mark.parametrize(
    "height,width,padded", [(1, 1, (640, 640)), (1, 4000, (32, 640)), (4000, 1, (640, 32)), (333, 500, (448, 640))]
)
def test_any_picture_is_padded_to_multiples(height, width, padded):
    found = preprocess(np.full((height, width, 3), 200, dtype="uint8"))
    assert found.pixels.shape == (3, *padded)
    assert (found.pixels[:, : found.size[0], : found.size[1]] == 200).all()
    assert found.pixels[:, found.size[0] :].sum() == found.pixels[:, :, found.size[1] :].sum() == 0
    assert found.scale[0] == pytest.approx(found.size[1] / width) and found.scale[1] == pytest.approx(found.size[0] / height)


def test_boxes_and_bins_are_inverse_within_a_bin():
    rng = np.random.default_rng(0)
    for _ in range(50):
        padded = (int(rng.integers(1, 20)) * 32, 640)
        corners = np.sort(rng.uniform(0, 1, (2, 2)), axis=0) * np.array([padded[1], padded[0]])
        box = corners.reshape(4)
        bins = box_to_bins(box, padded, 1000)
        assert bins[4] == 1000 and (bins[:4] < 1000).all()
        back = bins_to_box(bins[None, :4], padded, (1.0, 1.0), 1000)[0]
        assert (box - back >= -1e-3).all() and (box - back <= np.array([padded[1], padded[0]] * 2) / 1000 + 1e-3).all()
    assert box_to_bins([0, 0, 640, 64], (64, 640), 1000).tolist() == [0, 0, 999, 999, 1000]
    assert np.allclose(bins_to_box(np.array([[500, 0, 1000, 500]]), (64, 640), (2.0, 0.5), 1000), [[160, 0, 320, 64]])


def test_greedy_decoding_takes_the_likeliest_coordinate_at_every_step(network, memory):
    """Against brute force: each prefix is run as if it had been given."""
    with torch.inference_mode():
        found = network.decode(memory)
        rows = torch.cat([found.bins, torch.full((2, 1), CONFIG.bins)], dim=1)
        forced = network.forced(memory, rows)
        assert torch.equal(forced[:, :4, :-1].argmax(-1), found.bins)
        assert torch.allclose(forced[:, :4, :-1], found.logits, atol=1e-5)
        # Any other choice at any one step is less likely given what came before.
        chosen = found.logits.log_softmax(-1).gather(2, found.bins.unsqueeze(-1)).squeeze(-1)
        assert torch.equal(chosen, found.logits.log_softmax(-1).amax(-1))
        assert torch.allclose(found.scores, chosen.mean(1).exp())
    assert (found.scores > 0).all() and (found.scores <= 1).all()


def test_the_future_is_not_seen(network, memory):
    with torch.inference_mode():
        first = network.forced(memory, torch.tensor([[1, 2, 3, 4, 50]] * 2))
        second = network.forced(memory, torch.tensor([[1, 2, 9, 8, 50]] * 2))
    assert torch.equal(first[:, :3], second[:, :3]) and not torch.allclose(first[:, 3], second[:, 3])


def test_positions_run_over_the_unpadded_part():
    mask = padding_mask([(40, 64)], 64, 96)
    assert mask.tolist() == [[[False, False, True], [False, False, True]]]
    positions = sine_positions(mask, 4)
    assert positions.shape == (1, 8, 2, 3)
    # The last unpadded row and column are at 2 pi, whatever the padding.
    assert torch.allclose(positions[0, 0, -1, 0], torch.tensor(2 * np.pi).sin().float(), atol=1e-4)
    whole = sine_positions(torch.zeros(1, 2, 2, dtype=torch.bool), 4)
    assert torch.allclose(positions[:, :, :, :2], whole)


def test_loss_is_the_published_smoothing():
    logits = torch.randn(3, 5, 11)
    targets = torch.randint(0, 11, (3, 5))
    total = 0.0
    for n in range(3):
        for t in range(5):
            logs = logits[n, t].log_softmax(-1)
            row = sum((0.9 if c == targets[n, t] else 0.1 / 11) * -logs[c] for c in range(11))
            total += float(row) * (1.5 if t == 0 else 1.0)
    assert float(smoothed_loss(logits, targets, noise=0.1, first_weight=1.5)) == pytest.approx(total / 15, rel=1e-5)


def test_a_text_without_words_is_defined(network):
    states, text = network.lan_enc(torch.zeros(1, 4, dtype=torch.long))
    assert torch.isfinite(text).all() and torch.equal(text[:, 0], states[:, 0])


@pytest.mark.parametrize(
    "text,words",
    [
        ("Park(LOC)-A hall/room", ["parkloc", "a", "hall", "room"]),
        ('say "hi"; it\'s', ["say", "hi", "its"]),
        ("left <person>", ["left", "<person>"]),
        ("", []),
        ("(#)", []),
    ],
)
def test_texts_are_split_as_upstream(text, words):
    assert tokenize(text) == words
    assert clean(text).split() == words


def test_words_are_cut_padded_and_unknown():
    vocabulary = Vocabulary.from_texts(["red dog", "Red CAT"])
    assert vocabulary.words == [*SPECIALS, "red", "dog", "cat"]
    assert vocabulary(["the red cat", "", "red " * 500], max_words=4).tolist() == [[1, 3, 5, 0], [1, 0, 0, 0], [3, 3, 3, 3]]
    assert vocabulary.add(["blue dog"]) == ["blue"] and vocabulary.index["blue"] == 6


def test_lists_of_words_are_read_in_every_form(tmp_path):
    words = [*SPECIALS, "red", "dog"]
    table = {word: n for n, word in enumerate(words)}
    srsly.write_json(tmp_path / "list.json", words)
    srsly.write_json(tmp_path / "table.json", table)
    (tmp_path / "words.txt").write_text("\n".join(words) + "\n")
    with open(tmp_path / "token_to_ix.pkl", "wb") as file:
        pickle.dump([table, {n: word for word, n in table.items()}, np.zeros((5, 4), dtype="float32")], file)
    for name in ("list.json", "table.json", "words.txt", "token_to_ix.pkl"):
        assert read_vocabulary(tmp_path / name).words == words


def test_a_pickle_with_code_is_refused(tmp_path, capsys):
    class Runs:
        def __reduce__(self):
            return (print, ("this must not run",))

    buffer = io.BytesIO()
    pickle.dump({"PAD": Runs()}, buffer)
    (tmp_path / "bad.pkl").write_bytes(buffer.getvalue())
    (tmp_path / "gaps.json").write_text('{"PAD": 0, "UNK": 7}')
    (tmp_path / "order.json").write_text('["red", "PAD"]')
    for name, message in [
        ("bad.pkl", "builtins.print"),
        ("gaps.json", "0, 1, 2"),
        ("order.json", "does not begin"),
        ("none.json", "not exist"),
    ]:
        with pytest.raises(RivegaError, match=message):
            read_vocabulary(tmp_path / name)
    assert "must not run" not in capsys.readouterr().out


def test_new_words_get_their_own_fixed_vector_or_spacys():
    from spacy.vocab import Vocab

    rows = word_vectors(["red", "dog"], 6)
    assert rows.shape == (2, 6) and np.array_equal(rows[0], word_vectors(["red"], 6)[0]) and not np.allclose(rows[0], rows[1])
    vocab = Vocab()
    vocab.set_vector("dog", np.arange(6, dtype="float32"))
    assert word_vectors(["dog"], 6, vectors=vocab)[0].tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(RivegaError, match="6 channels"):
        word_vectors(["dog"], 300, vectors=vocab)
