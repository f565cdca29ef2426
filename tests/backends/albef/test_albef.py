"""The ALBEF port: parity with the published code, its checkpoints' layouts, texts and pictures."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import srsly
import torch
from safetensors.torch import load_file, save_file
from tiny_networks import ALBEF_SIZES, WORDS

from rivega_spacy.backends.albef.images import augment, normalise, preprocess
from rivega_spacy.backends.albef.model import Albef, AlbefConfig, distilled_loss, entailment_probability, momentum_twin, update_twin
from rivega_spacy.backends.albef.text import WordPieces, clean
from rivega_spacy.backends.albef.vit import resize_positions
from rivega_spacy.backends.albef.weights import albef_from_file, infer_config, read_state, to_ve_layout
from rivega_spacy.backends.parity import compare_folder
from rivega_spacy.post.errors import RivegaError

CONFIG = AlbefConfig(**ALBEF_SIZES)
HEADS = {"vision_heads": 4, "text_heads": 4}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Albef(CONFIG).eval()


@pytest.fixture(scope="module")
def inputs():
    generator = torch.Generator().manual_seed(1)
    mask = torch.ones(2, 7, dtype=torch.long)
    mask[1, 4:] = 0
    return torch.randn(2, 3, 32, 32, generator=generator), torch.randint(5, 20, (2, 7), generator=generator), mask


def logits(network, inputs):
    pixels, ids, mask = inputs
    with torch.inference_mode():
        return network.classify(network.encode_image(pixels), ids, mask)


def test_texts_share_what_is_projected_from_their_picture(network, inputs):
    pixels, ids, mask = inputs
    owner = torch.tensor([1, 0, 1, 1])
    ids, mask = ids[[0, 1, 1, 0]], mask[[0, 1, 1, 0]]
    rows = []
    hook = (
        network.text_encoder.encoder["layer"][-1]
        .crossattention["self"]
        .key.register_forward_hook(lambda module, given, result: rows.append(len(result)))
    )
    with torch.inference_mode():
        image = network.encode_image(pixels)
        shared, copied = network.classify(image, ids, mask, owner), network.classify(image[owner], ids, mask)
    hook.remove()
    assert rows == [2, 4]
    torch.testing.assert_close(shared, copied, atol=1e-5, rtol=1e-5)


def fine_tuned(network):
    """The layout of a file fine-tuned for visual entailment, with its twin."""
    state = dict(network.state_dict())
    state["text_encoder.embeddings.position_ids"] = torch.arange(CONFIG.positions)[None]
    for key in list(state):
        part, _, rest = key.partition(".")
        state[f"{part}_m.{rest}"] = state[key]
    return {"model": state, "optimizer": {"state": {}}, "lr_scheduler": {}, "config": {"image_res": 32}, "epoch": 4}


def pretrained(network, side):
    """The layout of ALBEF.pth, with another grid of positions and the heads that visual entailment does not use."""
    state = {}
    for key, value in network.state_dict().items():
        if not key.startswith("cls_head."):
            state[key.replace("text_encoder.", "text_encoder.bert.")] = value
    state["visual_encoder.pos_embed"] = torch.randn(1, side * side + 1, CONFIG.vision_width)
    state["text_encoder.cls.predictions.bias"] = torch.zeros(CONFIG.vocab_size)
    for name in ("vision_proj.weight", "text_proj.weight", "itm_head.weight", "image_queue", "text_queue"):
        state[name] = torch.zeros(2, 2)
    state["temp"], state["queue_ptr"] = torch.tensor(0.07), torch.zeros(1)
    state.update(
        {f"{key.split('.')[0]}_m.{key.split('.', 1)[1]}": value for key, value in list(state.items()) if "encoder." in key}
    )
    return {"model": state, "epoch": 29}


@pytest.mark.slow
@pytest.mark.shared
def test_parity_with_the_published_code(shared_dir):
    rows = compare_folder(shared_dir / "fixtures" / "albef")
    assert {"logits", "image_embeds", "last_hidden_state", "logits_momentum", "loss_alpha_0.4", "interp.to_6x6"} <= {
        r.name for r in rows
    }
    assert {"tokenizer.input_ids", "pre_caption", "preprocess.1"} <= {r.name for r in rows}
    assert [r.name for r in rows if not r.ok] == []


@pytest.mark.slow
@pytest.mark.shared
def test_parity_notices_a_changed_weight(shared_dir, tmp_path):
    folder = tmp_path / "albef"
    shutil.copytree(shared_dir / "fixtures" / "albef", folder)
    (folder / "pretrain_layout.pth").unlink()
    state = load_file(str(folder / "state_dict.safetensors"))
    state["text_encoder.encoder.layer.2.crossattention.self.key.weight"] *= 1.01
    save_file(state, str(folder / "state_dict.safetensors"))
    failed = {r.name for r in compare_folder(folder) if not r.ok}
    assert "logits" in failed and "image_embeds" not in failed and "text_only_last_hidden_state" not in failed


@pytest.mark.shared
@pytest.mark.slow
def test_the_full_size_has_the_published_tensors(shared_dir):
    keys = srsly.read_json(shared_dir / "fixtures" / "albef" / "keys_full.json")
    wanted = {k: tuple(v[0]) for k, v in keys.items() if not k.split(".")[0].endswith("_m") and "position_ids" not in k}
    with torch.device("meta"):
        full = Albef(AlbefConfig())
    assert {k: tuple(v.shape) for k, v in full.state_dict().items()} == wanted
    assert sum(p.numel() for p in full.parameters()) == 209_758_467


@pytest.mark.slow
@pytest.mark.shared
def test_the_released_pretraining_file_has_everything_but_the_head(shared_dir):
    keys = srsly.read_json(shared_dir / "fixtures" / "albef" / "keys_pretrain_full.json")
    released = to_ve_layout({key: torch.empty(shape, device="meta") for key, (shape, _) in keys.items()})
    with torch.device("meta"):
        full = Albef(infer_config(released, image_size=384))
    assert full.config == AlbefConfig()
    own = {key: value.shape for key, value in full.state_dict().items() if not key.startswith("cls_head.")}
    differing = {
        key for key in set(own) | set(released) if key not in own or key not in released or own[key] != released[key].shape
    }
    # 16 x 16 places at 256 pixels, 24 x 24 at 384.
    assert differing == {"visual_encoder.pos_embed"} and released["visual_encoder.pos_embed"].shape[1] == 257


def test_a_fine_tuned_file_loads_unchanged(network, inputs, tmp_path):
    torch.save(fine_tuned(network), tmp_path / "ve.pth")
    loaded = albef_from_file(tmp_path / "ve.pth", image_size=32, **HEADS)
    assert replace(loaded.config, dropout=0.1) == CONFIG
    assert torch.equal(logits(loaded, inputs), logits(network, inputs))


def test_a_pretraining_file_loads_with_resized_positions_and_a_new_head(network, inputs, tmp_path):
    content = pretrained(network, side=6)
    torch.save(content, tmp_path / "ALBEF.pth")
    loaded = albef_from_file(tmp_path / "ALBEF.pth", image_size=32, **HEADS)
    positions = content["model"]["visual_encoder.pos_embed"]
    assert loaded.visual_encoder.pos_embed.shape == (1, 17, CONFIG.vision_width)
    assert torch.equal(loaded.visual_encoder.pos_embed[:, 0], positions[:, 0])
    with torch.inference_mode():
        _, ids, mask = inputs
        texts = [net.text_encoder(ids, mask, None)[-1] for net in (loaded, network)]
    assert torch.equal(*texts)
    assert not torch.equal(loaded.cls_head[0].weight, network.cls_head[0].weight)


def test_resized_positions_keep_a_smooth_grid():
    ramp = torch.linspace(0, 1, 8).view(1, 1, 8).expand(1, 8, 8).reshape(1, 64, 1)
    positions = torch.cat([torch.full((1, 1, 1), 7.0), ramp], dim=1)
    resized = resize_positions(positions, 1 + 16 * 16)
    grid = resized[0, 1:, 0].view(16, 16)
    assert resized[0, 0, 0] == 7.0
    assert torch.allclose(grid[0], grid[9]) and (grid[0].diff() > 0).all()
    assert resize_positions(positions, 65) is positions


def _without(state):
    del state["model"]["text_encoder.encoder.layer.1.crossattention.self.key.weight"]


def _surplus(state):
    state["model"]["text_encoder.pooler.dense.weight"] = torch.zeros(2, 2)


def _shape(state):
    state["model"]["cls_head.0.weight"] = torch.zeros(3, 3)


def _nan(state):
    state["model"]["visual_encoder.norm.weight"] = torch.full((24,), float("nan"))


@pytest.mark.parametrize(
    "change,message",
    [
        (_without, "missing text_encoder.encoder.layer.1.crossattention.self.key.weight"),
        (_surplus, "surplus text_encoder.pooler.dense.weight"),
        (_shape, r"cls_head.0.weight \(3, 3\) instead of \(32, 32\)"),
        (_nan, "not finite numbers: visual_encoder.norm.weight"),
    ],
)
def test_what_differs_is_named(network, tmp_path, change, message):
    content = fine_tuned(network)
    content["model"] = dict(content["model"])
    change(content)
    torch.save(content, tmp_path / "ve.pth")
    with pytest.raises(RivegaError, match=message):
        albef_from_file(tmp_path / "ve.pth", image_size=32, **HEADS)


class Runs:
    """Would run code where it is unpickled without care."""

    def __reduce__(self):
        return (print, ("this must not run",))


def test_other_files_are_refused(tmp_path, capsys):
    torch.save({"model": {"vis_enc.darknet.0.conv.weight": torch.zeros(1)}}, tmp_path / "seqtr.pth")
    torch.save({"model": Runs()}, tmp_path / "code.pth")
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "text.safetensors").write_text("hello")
    for name, message in [
        ("seqtr.pth", "no visual_encoder"),
        ("code.pth", "Python objects"),
        ("text.pth", "is not an ALBEF checkpoint"),
        ("text.safetensors", "is not an ALBEF checkpoint"),
        ("missing.pth", "does not exist"),
    ]:
        with pytest.raises(RivegaError, match=message):
            read_state(tmp_path / name)
    assert "must not run" not in capsys.readouterr().out


def test_the_shape_is_read_from_the_weights(network):
    assert infer_config(dict(network.state_dict()), **HEADS) == CONFIG
    assert infer_config(dict(network.state_dict()), image_size=64, **HEADS).image_size == 64


def test_padding_changes_nothing(network, inputs):
    pixels, ids, mask = inputs
    alone = logits(network, (pixels[1:], ids[1:, :4], mask[1:, :4]))
    assert torch.allclose(logits(network, inputs)[1], alone[0], atol=1e-6)


@pytest.mark.parametrize(
    "text,cleaned",
    [
        ("Garfield Park(LOC)-A conservatory, filled.", "garfield parkloc a conservatory filled"),
        ("<person> in  red/blue\n", "person in red blue"),
        ("", ""),
        ("  ~#*  ", ""),
        ("w " * 40, " ".join(["w"] * 30)),
    ],
)
def test_texts_are_cleaned_as_upstream(text, cleaned):
    assert clean(text) == cleaned


def test_word_pieces_are_berts_without_the_closing_sep(tmp_path):
    from transformers import BertTokenizer

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "##s", "gar", "##field"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces), encoding="utf8")
    tokenizer = BertTokenizer(str(tmp_path / "vocab.txt"))
    texts = ["the cats", "garfield woman", "Réd café 東京", "", "x" * 200]
    theirs = [tokenizer(clean(text)).input_ids for text in texts]
    for append_sep in (False, True):
        ids, mask = WordPieces(pieces, append_sep=append_sep)(texts)
        ours = [row[: keep.sum()].tolist() for row, keep in zip(ids, mask)]
        assert ours == [row if append_sep else row[:-1] for row in theirs]


def test_texts_beyond_the_positions_are_cut():
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"]
    ids, mask = WordPieces(pieces, max_length=8, append_sep=True)(["a " * 25])
    assert ids.tolist() == [[2, 4, 4, 4, 4, 4, 4, 3]] and mask.all()
    with pytest.raises(RivegaError, match=r"no \[SEP\]"):
        WordPieces(["[PAD]", "[UNK]", "[CLS]"])


@pytest.mark.parametrize("height,width", [(1, 1), (1, 4000), (4000, 1), (33, 20)])
def test_any_picture_becomes_a_normalised_square(height, width):
    image = np.full((height, width, 3), 128, dtype="uint8")
    pixels = preprocess(image, 32)
    assert pixels.shape == (3, 32, 32) and pixels.dtype == np.float32
    assert np.allclose(pixels, normalise(image[:1, :1])[:, :1, :1], atol=1e-6)
    assert augment(image, 32, np.random.default_rng(0)).shape == (3, 32, 32)


def test_probability_reads_two_labels_or_three():
    rows = torch.tensor([[0.0, 5.0, 2.0], [3.0, 0.0, 1.0]])
    assert torch.allclose(entailment_probability(rows), rows[:, [0, 2]].softmax(-1)[:, 1])
    assert torch.allclose(entailment_probability(rows, three_way=True), rows.softmax(-1)[:, 2])


def test_distillation_mixes_labels_with_the_twin():
    rows, targets, teacher = torch.randn(4, 3), torch.tensor([0, 2, 1, 2]), torch.randn(4, 3)
    plain = torch.nn.functional.cross_entropy(rows, targets)
    soft = torch.nn.functional.cross_entropy(rows, teacher.softmax(-1))
    assert torch.allclose(distilled_loss(rows, targets, teacher, 0.4), 0.6 * plain + 0.4 * soft)
    assert torch.equal(distilled_loss(rows, targets, None, 0.4), plain)


def test_the_twin_follows_slowly(network):
    twin = momentum_twin(network)
    moved = momentum_twin(network)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.add_(1.0)
    before = twin.cls_head[0].bias.clone()
    update_twin(twin, moved, 0.995)
    assert torch.allclose(twin.cls_head[0].bias - before, torch.full((32,), 0.005), atol=1e-6)
    assert not any(p.requires_grad for p in twin.parameters())


def test_lavis_files_have_no_token_types(network, inputs, tmp_path):
    """Their network adds none; the same as a table of zeros."""
    state = dict(network.state_dict())
    key = "text_encoder.embeddings.token_type_embeddings.weight"
    zeros = {**state, key: torch.zeros_like(state.pop(key))}
    torch.save({"model": state}, tmp_path / "lavis.pt")
    torch.save({"model": zeros}, tmp_path / "zeros.pt")
    heads = {"image_size": None, "vision_heads": network.config.vision_heads, "text_heads": network.config.text_heads}
    without, plain = (albef_from_file(tmp_path / f"{name}.pt", **heads) for name in ("lavis", "zeros"))
    assert without.config.types == 0 and key not in without.state_dict()
    assert torch.allclose(logits(without, inputs), logits(plain, inputs), atol=1e-6)
