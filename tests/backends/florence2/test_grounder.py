"""`rivega.Florence2.v1` with a tiny network: equal to transformers' own generation and processor, one picture pass, save and load."""

import re

import numpy as np
import pytest
import spacy
import torch
from blank import blank_nlp
from expressions_of import expressions
from PIL import Image
from tiny_networks import WORDS, coloured, odd_batch, reloaded, scaled_init, spoil

from rivega_spacy.backends.florence2.grounder import BINS, first_box, florence2_grounder, question
from rivega_spacy.pipes.queries import ImageQueries
from rivega_spacy.post.errors import RivegaError, SetupError
from rivega_spacy.post.expressions import Expression
from rivega_spacy.post.versions import features, installed

needs_network = pytest.mark.skipif(installed("transformers") < (4, 56), reason="transformers before 4.56 has no Florence-2")
SIDE = 32
SIZES = {"side": SIDE, "max_tokens": 24, "longest_answer": 24}
SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<image>"]


def florence_tokenizer():
    """Words, each a token, and the location tokens, which are special as in the published tokenizer."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = [*WORDS, "locate", "phrases", "in", "caption", ":", "image"]
    locations = [f"<loc_{n}>" for n in range(BINS)]
    pieces = list(dict.fromkeys([*SPECIALS, *words, *locations]))
    tokenizer = Tokenizer(models.WordLevel({piece: n for n, piece in enumerate(pieces)}, unk_token="<unk>"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<image>", *locations],
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import srsly
    from transformers import Florence2Config, Florence2ForConditionalGeneration

    path = tmp_path_factory.mktemp("florence2")
    tokenizer = florence_tokenizer()
    text = {
        "model_type": "bart", "vocab_size": len(tokenizer), "d_model": 16, "encoder_layers": 1, "decoder_layers": 1,
        "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
        "max_position_embeddings": 64, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2,
        "forced_eos_token_id": None, "dropout": 0.0,
    }  # fmt: skip
    vision = {
        "embed_dim": [8, 16], "num_heads": [2, 2], "num_groups": [2, 2], "depths": [1, 1], "patch_size": [7, 3],
        "patch_stride": [4, 2], "patch_padding": [3, 1], "patch_prenorm": [False, True], "window_size": 4, "projection_dim": 16,
        "max_position_embeddings": 16, "max_temporal_embeddings": 4,
    }  # fmt: skip
    torch.manual_seed(0)
    network = Florence2ForConditionalGeneration(Florence2Config(text_config=text, vision_config=vision, image_token_id=4))
    scaled_init(network)
    with torch.no_grad():
        # There are many more locations than words; yet it shall write words, too.
        network.lm_head.weight[5 : len(tokenizer) - BINS] *= 1.5
    network.save_pretrained(path)
    tokenizer.save_pretrained(path)
    srsly.write_json(path / "preprocessor_config.json", {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]})
    return str(path)


def make(folder, **options):
    model = florence2_grounder(path=folder, **{**SIZES, **options})
    model.initialize()
    return model


def batch():
    """Two pictures with several expressions of different lengths, and one that nothing is asked about."""
    texts = expressions(
        ("red thing", "PER"), "blue", "the cat — a dog with a red square", ("rocket", "OTHER"), "woman", "round thing"
    )
    blue = ImageQueries(coloured(48, 64, ((5, 5, 30, 30), (20, 20, 220))), texts)
    red = ImageQueries(coloured(96, 40, ((5, 40, 30, 90), (220, 20, 20))), texts[:2])
    return [blue, ImageQueries(blue.image, []), red]


def transformers_answer(network, tokenizer, queries, expression, beams):
    """Boxes of an expression as transformers' processor reads them out of transformers' answer to it alone."""
    from transformers.models.florence2.processing_florence2 import Florence2PostProcessor

    small = np.asarray(Image.fromarray(queries.image).resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype="float32")
    values = torch.from_numpy((small / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])).float()
    pixels = values.permute(2, 0, 1)[None]
    places = features(network.get_image_features(pixels)).shape[1]
    text = tokenizer(question(expression, "phrases"), truncation=True, max_length=24)["input_ids"]
    ids = torch.tensor([[4] * places + text])
    written = network.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        pixel_values=pixels,
        num_beams=beams,
        do_sample=False,
        max_new_tokens=24,
        no_repeat_ngram_size=3,
        forced_bos_token_id=0,
        early_stopping=beams > 1,
    )
    read = Florence2PostProcessor(None, tokenizer)
    pieces = tokenizer.convert_ids_to_tokens(written[0])
    answer = "".join(piece if piece.startswith("<") else f" {piece}" for piece in pieces)
    height, width = queries.image.shape[:2]
    found = read.parse_phrase_grounding_from_text_and_spans(answer, (width, height))
    # Of locations without a word before them, which a trained network does not write, it takes the first one's name for a phrase.
    found = [phrase for phrase in found if re.sub(r"loc_\d+>", "", phrase["cat_name"]).strip()]
    return found[0]["bbox"][0] if found else None


@needs_network
@pytest.mark.parametrize("beams", [1, 3])
def test_answers_are_those_of_transformers_one_by_one_with_pictures_encoded_once(folder, beams):
    from transformers import AutoTokenizer

    model = make(folder, beams=beams, batch_size=4)
    network = model.shims[0].module
    asked = batch()
    seen = []
    hook = network.model.vision_tower.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    found = model.predict(asked)
    hook.remove()
    assert sum(seen) == 2 and found[1].shape == (0, 5)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    boxes = 0
    for queries, rows in zip(asked, found):
        height, width = queries.image.shape[:2]
        for expression, row in zip(queries.expressions, rows):
            with torch.inference_mode():
                box = transformers_answer(network, tokenizer, queries, expression, beams)
            if box is None:
                assert np.isnan(row[:4]).all() and row[4] == 0
                continue
            boxes += 1
            # Transformers cuts to whole pixels and leaves corners as they were written; here no box is narrower than a pixel.
            ordered = np.sort(np.array(box).reshape(2, 2), axis=0).ravel()
            assert np.allclose(row[:4], np.clip(ordered, 0, [width, height] * 2), atol=2)
            assert 0 < row[4] <= 1
    assert boxes >= 2, "the weights should write some boxes"


@needs_network
def test_a_saved_network_answers_the_same_without_its_folder(folder):
    model = make(folder, half_on_disk=False)
    found, again = model.predict(batch()), reloaded(model, lambda: florence2_grounder(**SIZES)).predict(batch())
    for one, two in zip(found, again):
        np.testing.assert_allclose(one, two, atol=1e-4)


@needs_network
def test_in_a_pipeline_with_the_score_as_entailment(folder, tmp_path):
    grounder = {"@architectures": "rivega.Florence2.v1", "path": folder, **SIZES}
    nlp = blank_nlp()
    nlp.add_pipe(
        "rivega_entailment",
        config={"model": {"@architectures": "rivega.GroundingScore.v1", "grounder": grounder}, "threshold": 1e-6},
    )
    nlp.add_pipe("rivega_grounder", config={"model": grounder})

    def results(pipeline):
        docs = []
        for queries in batch():
            doc = pipeline.make_doc("Rex woman cat")
            doc.ents = [doc.char_span(0, 3, label="PER"), doc.char_span(4, 9, label="OTHER")]
            doc._.image = queries.image
            docs.append(doc)
        docs = list(pipeline.pipe(docs))
        assert all(doc._.rivega_errors == [] for doc in docs)
        return [(ent._.groundable, ent._.groundable_score, ent._.boxes) for doc in docs for ent in doc.ents]

    found = results(nlp)
    assert all(bool(boxes) == shown for shown, _, boxes in found)
    nlp.to_disk(tmp_path / "saved")
    again = spacy.load(tmp_path / "saved")
    assert len(results(again)) == len(found)


@needs_network
def test_odd_pictures_and_texts_and_damaged_weights(folder):
    model = make(folder, batch_size=3)
    for queries, rows in zip(odd_batch(), model.predict(odd_batch())):
        height, width = queries.image.shape[:2]
        assert rows.shape == (len(queries.expressions), 5) and np.isfinite(rows[:, 4]).all()
        boxed = rows[rows[:, 4] > 0]
        assert (boxed[:, :2] >= 0).all() and (boxed[:, 2] <= width).all() and (boxed[:, 3] <= height).all()
    spoil(model)
    with pytest.raises(RivegaError, match="not finite"):
        model.predict(batch())


def test_boxes_in_answers():
    """</s> <s> the cat <loc_1>...: four locations behind a word; what is no such thing is no box."""
    special = frozenset([0, 1, 2])
    assert first_box([2, 0, 5, 6, 10, 11, 12, 13, 2], 10, special) == [4, 5, 6, 7]
    assert first_box([2, 0, 10, 11, 12, 13, 7, 14, 15, 16, 17], 10, special) == [7, 8, 9, 10]
    assert first_box([2, 0, 5, 2, 10, 11, 12, 13], 10, special, silent=frozenset([0, 2])) == [4, 5, 6, 7]
    assert first_box([2, 0, 5, 2, 10, 11, 12, 13], 10, special) == []
    assert first_box([2, 0, 5, 10, 11, 12, 2], 10, special) == first_box([2], 10, special) == []


def test_questions_hold_no_tokens_of_the_network():
    assert question(Expression("<loc_1> Rex"), "detection") == "Locate  loc_1  Rex in the image."
    with pytest.raises(RivegaError, match="E738.*`task`"):
        florence2_grounder(task="caption")


def test_a_transformers_without_the_network_says_which_has_it(monkeypatch, tmp_path):
    kinds = {"florence2": ("transformers", "NoSuchConfig", "NoSuchNetwork")}
    monkeypatch.setattr("rivega_spacy.backends.florence2.grounder.KINDS", kinds)
    with pytest.raises(SetupError, match="E900.*NoSuchNetwork, which came with version 4.56"):
        florence2_grounder(path=str(tmp_path)).initialize()
