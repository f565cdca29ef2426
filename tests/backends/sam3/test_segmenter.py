"""`rivega.SAM3.v1` with a tiny network: equal to transformers' own forward pass and processor, one picture pass, save and load."""

import ast
import importlib.util
import json
from pathlib import Path
from typing import Optional, Union

import numpy as np
import pytest
import spacy
import srsly
import torch
from blank import blank_nlp
from expressions_of import expressions
from PIL import Image
from tiny_networks import clip_text, coloured, odd_batch, scaled_init, spoil

from rivega_spacy.backends.sam3.segmenter import TOKENS, concept, sam3_segmenter
from rivega_spacy.pipes.queries import ImageQueries
from rivega_spacy.post.errors import RivegaError, SetupError
from rivega_spacy.post.expressions import Expression
from rivega_spacy.post.versions import installed

needs_network = pytest.mark.skipif(installed("transformers") < (5,), reason="transformers before 5 has no SAM 3")
SIDE = 56


def tiny():
    from transformers import Sam3Config, Sam3Model

    tokenizer, _, text = clip_text()
    part = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "num_layers": 1}
    backbone = {
        "model_type": "sam3_vit_model", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
        "image_size": SIDE, "patch_size": 14, "window_size": 2, "global_attn_indexes": [1], "pretrain_image_size": 28,
    }  # fmt: skip
    config = Sam3Config(
        vision_config={
            "backbone_config": backbone, "fpn_hidden_size": 16, "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "scale_factors": [4.0, 2.0, 1.0, 0.5],
        },
        text_config={
            "model_type": "clip_text_model", **text, "max_position_embeddings": TOKENS, "hidden_size": 16, "intermediate_size": 32,
            "num_attention_heads": 2, "projection_dim": 16,
        },
        geometry_encoder_config={**part, "roi_size": 3},
        detr_encoder_config=part,
        detr_decoder_config={**part, "num_queries": 6},
        mask_decoder_config={"hidden_size": 16, "num_attention_heads": 2, "num_upsampling_stages": 2},
    )  # fmt: skip
    torch.manual_seed(1)
    network = Sam3Model(config)
    scaled_init(network)
    return network.eval(), tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("sam3")
    network, tokenizer = tiny()
    network.save_pretrained(path)
    tokenizer.save_pretrained(path)
    srsly.write_json(path / "preprocessor_config.json", {"image_mean": [0.5] * 3, "image_std": [0.5] * 3})
    return str(path)


def make(folder, **options):
    model = sam3_segmenter(path=folder, **{"threshold": 0.05, **options})
    model.initialize()
    return model


def batch():
    texts = [Expression("Rex", "OTHER", "a red thing"), Expression("Ann", "PER", "the woman"), *expressions("blue square", "cat")]
    blue = ImageQueries(coloured(48, 64, ((5, 5, 30, 30), (20, 20, 220))), texts)
    red = ImageQueries(coloured(96, 40, ((5, 40, 30, 90), (220, 20, 20))), texts[:1])
    return [blue, ImageQueries(blue.image, []), red]


@needs_network
@pytest.mark.parametrize("together", [False, True])
def test_masks_are_those_of_transformers_one_by_one_with_pictures_encoded_once(folder, together):
    from transformers import AutoTokenizer, Sam3Model

    model = make(folder, together=together, batch_size=3)
    network = model.shims[0].module
    seen = []
    hook = network.vision_encoder.backbone.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    found = model.predict(batch())
    hook.remove()
    assert sum(seen) == 2 and found[1] == []
    tokenizer, own = AutoTokenizer.from_pretrained(folder), Sam3Model.from_pretrained(folder).eval()
    marked = 0
    for queries, rows in zip(batch(), found):
        size = queries.image.shape[:2]
        for expression, (mask, score) in zip(queries.expressions, rows):
            small = np.asarray(Image.fromarray(queries.image).resize((SIDE, SIDE), Image.Resampling.BILINEAR), dtype="float32")
            pixels = torch.from_numpy((small / 255 - 0.5) / 0.5).permute(2, 0, 1)[None]
            told = tokenizer(concept(expression), padding="max_length", max_length=TOKENS, return_tensors="pt")
            with torch.inference_mode():
                output = own(pixel_values=pixels, input_ids=told["input_ids"], attention_mask=told["attention_mask"])
            scores = output.pred_logits[0].sigmoid() * output.presence_logits[0].sigmoid()
            assert score == pytest.approx(float(scores.max()), abs=1e-4)
            wanted = processed(output, size)
            if len(wanted["scores"]):
                best = wanted["masks"][int(wanted["scores"].argmax())]
                expected = wanted["masks"].any(0) if together else best.bool()
                assert mask.shape == size and mask.dtype == bool and (mask != expected.numpy()).mean() < 0.005
                marked += int(mask.any())
            else:
                assert not mask.any()
    assert marked, "the weights should mark something"


def processed(output, size):
    """What the library's processor makes of an output. Its module imports torchvision, which this part of it does not need."""
    source = Path(importlib.util.find_spec("transformers.models.sam3").origin).with_name("image_processing_sam3.py")
    wanted = ("_scale_boxes", "post_process_instance_segmentation")
    tree = ast.parse(source.read_text(encoding="utf8"))
    tree.body = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name in wanted]
    names = {"torch": torch, "np": np, "Optional": Optional, "Union": Union}
    exec(compile(tree, str(source), "exec"), names)
    return names["post_process_instance_segmentation"](None, output, threshold=0.05, mask_threshold=0.5, target_sizes=[size])[0]


@needs_network
def test_nothing_is_marked_below_the_threshold(folder):
    for mask, score in make(folder, threshold=0.99).predict(batch())[0]:
        assert not mask.any() and 0 < score < 0.99


@needs_network
def test_in_a_pipeline_saved_and_loaded_without_its_folder(folder, tmp_path):
    nlp = blank_nlp()
    model = {"@architectures": "rivega.SAM3.v1", "path": folder, "threshold": 0.05, "half_on_disk": False}
    nlp.add_pipe("rivega_text_segmenter", config={"model": model})

    def results(pipeline):
        doc = pipeline.make_doc("Rex woman")
        doc.ents = [doc.char_span(0, 3, label="OTHER"), doc.char_span(4, 9, label="PER")]
        doc.ents[0]._.expansion = "a red thing"
        doc._.image = batch()[0].image
        [doc] = pipeline.pipe([doc])
        assert doc._.rivega_errors == []
        return [(ent._.mask, ent._.mask_score, ent._.box) for ent in doc.ents]

    found = results(nlp)
    assert any(mask is not None and mask.any() and box is not None for mask, _, box in found)
    nlp.to_disk(tmp_path / "saved")
    text = (tmp_path / "saved" / "config.cfg").read_text(encoding="utf8").replace(folder, "gone")
    (tmp_path / "saved" / "config.cfg").write_text(text, encoding="utf8")
    for (mask, score, _), (same, again, _) in zip(found, results(spacy.load(tmp_path / "saved"))):
        assert np.array_equal(mask, same) and score == pytest.approx(again, abs=1e-5)


@needs_network
def test_weights_may_be_named_in_initialize(folder):
    nlp = blank_nlp()
    nlp.add_pipe("rivega_text_segmenter", config={"model": {"@architectures": "rivega.SAM3.v1", "threshold": 0.05}})
    nlp.config["initialize"]["components"] = {"rivega_text_segmenter": {"weights": folder}}
    nlp.initialize()
    for (mask, score), (same, again) in zip(
        make(folder).predict(batch())[0], nlp.get_pipe("rivega_text_segmenter").model.predict(batch())[0]
    ):
        assert np.array_equal(mask, same) and score == pytest.approx(again, abs=1e-5)


@needs_network
def test_the_published_file_for_videos_holds_the_network(folder, tmp_path):
    """Its weights stand below `detector_model.`, beside those of the tracker; its config is that for videos."""
    from safetensors.torch import load_file, save_file

    weights = load_file(f"{folder}/model.safetensors")
    parts = {f"detector_model.{name}": value for name, value in weights.items()}
    save_file({**parts, "tracker_model.part": torch.zeros(2)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    config = json.loads(open(f"{folder}/config.json", encoding="utf8").read())
    srsly.write_json(tmp_path / "config.json", {"model_type": "sam3_video", "detector_config": config})
    for name in ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes(open(f"{folder}/{name}", "rb").read())
    for (mask, score), (same, again) in zip(make(folder).predict(batch())[0], make(str(tmp_path)).predict(batch())[0]):
        assert np.array_equal(mask, same) and score == pytest.approx(again, abs=1e-5)


@needs_network
def test_odd_pictures_and_texts_and_damaged_weights(folder):
    model = make(folder)
    for queries, rows in zip(odd_batch(), model.predict(odd_batch())):
        assert [mask.shape for mask, _ in rows] == [queries.image.shape[:2]] * len(queries.expressions)
    spoil(model)
    with pytest.raises(RivegaError, match="not finite"):
        model.predict(batch())


def test_concepts_are_noun_phrases():
    assert concept(Expression("Eileen Collins", "PER", "a woman in an orange suit")) == "woman in an orange suit"
    assert concept(Expression("Golden Gate Bridge", "LOC")) == "Golden Gate Bridge"
    assert concept(Expression("Rex", "OTHER", " The  dog ")) == "dog"
    with pytest.raises(RivegaError, match="E208"):
        sam3_segmenter(threshold=1.0)


def test_a_transformers_without_the_network_says_which_has_it(monkeypatch, tmp_path):
    kinds = {"sam3": ("transformers", "NoSuchConfig", "NoSuchNetwork")}
    monkeypatch.setattr("rivega_spacy.backends.sam3.segmenter.KINDS", kinds)
    with pytest.raises(SetupError, match="E900.*NoSuchNetwork, which came with version 5.0"):
        sam3_segmenter(path=str(tmp_path)).initialize()
