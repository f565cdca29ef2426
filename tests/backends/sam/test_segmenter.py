"""SAM through segment-anything and through transformers, small and with random weights, against the libraries' own predictors."""

import importlib.util

import numpy as np
import pytest
import spacy
import torch
from blank import blank_nlp
from segmenter_tiny import make_post

from rivega_spacy.backends.sam.hf_segmenter import HFSamSegmenter, make_hf_sam, preprocess
from rivega_spacy.backends.sam.segmenter import SamSegmenter, load_sam, make_sam
from rivega_spacy.backends.sam.torchvision_bridge import import_segment_anything
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.post.versions import installed

needs_sam = pytest.mark.skipif(
    importlib.util.find_spec("segment_anything") is None, reason="segment-anything is not installed (extra 'sam')"
)
BOXES = np.array([[5.0, 6.0, 30.0, 40.0], [20.0, 0.0, 63.0, 20.0], [0.0, 0.0, 64.0, 48.0]])


def tiny_sam():
    """segment-anything's network at 64 pixels: what its builder makes at 1024, with a ViT of two blocks."""
    import_segment_anything()
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    torch.manual_seed(0)
    encoder = ImageEncoderViT(
        img_size=64, patch_size=16, embed_dim=16, depth=2, num_heads=2, out_chans=16, use_rel_pos=True, window_size=2
    )
    prompts = PromptEncoder(embed_dim=16, image_embedding_size=(4, 4), input_image_size=(64, 64), mask_in_chans=4)
    transformer = TwoWayTransformer(depth=2, embedding_dim=16, mlp_dim=32, num_heads=2)
    decoder = MaskDecoder(num_multimask_outputs=3, transformer=transformer, transformer_dim=16, iou_head_hidden_dim=16)
    return enlivened(Sam(image_encoder=encoder, prompt_encoder=prompts, mask_decoder=decoder).eval(), seed=20, by_name=False)


def enlivened(network, *, seed=36, by_name=True):
    """Larger random weights than at the start of training, so that answers differ from box to box.

    by_name: Versions of transformers order parameters differently.
    """
    generator = torch.Generator().manual_seed(seed)
    named = sorted(network.named_parameters()) if by_name else network.named_parameters()
    with torch.no_grad():
        for _, parameter in named:
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return network


@pytest.fixture
def registered(monkeypatch):
    registry = import_segment_anything().sam_model_registry
    monkeypatch.setitem(registry, "tiny", lambda checkpoint=None: tiny_sam())


class Count:
    """Counts how often a module is called."""

    def __init__(self, module):
        self.calls = 0
        module.register_forward_hook(self.hook)

    def hook(self, *arguments):
        self.calls += 1


@needs_sam
@pytest.mark.parametrize("multimask", [False, True])
def test_sam_equals_the_predictor_box_by_box(picture, multimask):
    sam = tiny_sam()
    encoded, decoded = Count(sam.image_encoder), Count(sam.mask_decoder)
    segmenter = SamSegmenter(lambda: sam, device="cpu", multimask=multimask, box_batch=2)
    [found, nothing] = segmenter([(picture, BOXES), (picture, BOXES[:0])])
    assert nothing == []
    assert (encoded.calls, decoded.calls) == (1, 2), "one encoding a picture, boxes decoded in batches"
    predictor = import_segment_anything().SamPredictor(sam)
    predictor.set_image(picture)
    seen = set()
    for box, (mask, score) in zip(BOXES, found):
        masks, scores, _ = predictor.predict(box=box, multimask_output=multimask)
        best = int(scores.argmax())
        assert mask.shape == (48, 64) and mask.dtype == bool
        assert np.array_equal(mask, masks[best])
        assert score == pytest.approx(float(np.clip(scores[best], 0, 1)), abs=1e-5)
        seen.add(int(mask.sum()))
    assert len(seen) > 1, "random weights should answer differently to different boxes"


@needs_sam
def test_sam_from_a_checkpoint_in_a_pipeline(registered, tmp_path, picture):
    path = tmp_path / "sam.pth"
    torch.save(tiny_sam().state_dict(), path)
    nlp = blank_nlp()
    model = {"@misc": "rivega.SAM.v1", "checkpoint": str(path), "model_type": "tiny", "device": "cpu"}
    nlp.add_pipe("rivega_segmenter", config={"model": model})
    nlp.to_disk(tmp_path / "nlp")
    assert sum(f.stat().st_size for f in (tmp_path / "nlp" / "rivega_segmenter").rglob("*") if f.is_file()) < 10_000
    nlp = spacy.load(tmp_path / "nlp")
    doc = make_post(nlp, "Ann", picture, [BOXES[:1].tolist()])
    doc = nlp.get_pipe("rivega_segmenter")(doc)
    [[(expected, _)]] = SamSegmenter(tiny_sam, device="cpu")([(picture, BOXES[:1])])
    assert np.array_equal(doc.ents[0]._.mask, expected)


@needs_sam
def test_broken_checkpoints_say_what_is_wrong(registered, tmp_path):
    state = tiny_sam().state_dict()
    first = sorted(state)[0]
    good = tmp_path / "good.pth"
    torch.save(state, good)
    assert load_sam(good, "tiny").training is False

    def saved(value, name="bad.pth"):
        torch.save(value, tmp_path / name)
        return tmp_path / name

    with pytest.raises(RivegaError, match=f"missing {first}"):
        load_sam(saved({k: v for k, v in state.items() if k != first}), "tiny")
    with pytest.raises(RivegaError, match="surplus extra.weight"):
        load_sam(saved({**state, "extra.weight": torch.zeros(1)}), "tiny")
    with pytest.raises(RivegaError, match="instead of"):
        load_sam(saved({**state, first: torch.zeros(1, 2, 3)}), "tiny")
    with pytest.raises(RivegaError, match="E323.*vit_h"):
        load_sam(good, "vit_x")
    with pytest.raises(RivegaError, match="the weights of vit_b"):
        load_sam(saved({"image_encoder.blocks.11.norm1.weight": torch.zeros(3)}), "vit_h")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"<html>Not found</html>", b"\x80\x02cos\nsystem\n."])
def test_files_of_other_kinds(tmp_path, content):
    path = tmp_path / "sam.pth"
    path.write_bytes(content)
    with pytest.raises(RivegaError, match="is not a SAM checkpoint|Python objects"):
        load_sam(path, "vit_b")


class Evil:
    """Unpickling this would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_checkpoint_cannot_run_code(tmp_path):
    mark = tmp_path / "mark"
    torch.save({"weight": Evil(str(mark))}, tmp_path / "sam.pth")
    with pytest.raises(RivegaError, match="Python objects other than weights"):
        load_sam(tmp_path / "sam.pth", "vit_b")
    assert not mark.exists()
    torch.save([1, 2], tmp_path / "sam.pth")
    with pytest.raises(RivegaError, match="is not a SAM checkpoint: it holds a list"):
        load_sam(tmp_path / "sam.pth", "vit_b")
    with pytest.raises(RivegaError, match="does not exist"):
        make_sam(str(tmp_path / "missing.pth"))


def tiny_hf(high_quality):
    if high_quality and installed("transformers") < (4, 52):
        pytest.skip("transformers before 4.52 has no SAM-HQ")
    import transformers
    from transformers import SamConfig, SamMaskDecoderConfig, SamModel, SamPromptEncoderConfig, SamVisionConfig

    torch.manual_seed(0)
    vision = {
        "hidden_size": 16,
        "output_channels": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 16,
        "window_size": 2,
        "global_attn_indexes": [1],
        "mlp_dim": 32,
        "num_pos_feats": 8,
    }
    prompt = {"hidden_size": 16, "image_size": 64, "patch_size": 16, "mask_input_channels": 4}
    decoder = {"hidden_size": 16, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16}
    if high_quality:
        config = transformers.SamHQConfig(
            vision_config=transformers.SamHQVisionConfig(**vision).to_dict(),
            prompt_encoder_config=transformers.SamHQPromptEncoderConfig(**prompt).to_dict(),
            mask_decoder_config=transformers.SamHQMaskDecoderConfig(**decoder, vit_dim=16).to_dict(),
        )
        return enlivened(transformers.SamHQModel(config).eval())
    config = SamConfig(
        vision_config=SamVisionConfig(**vision).to_dict(),
        prompt_encoder_config=SamPromptEncoderConfig(**prompt).to_dict(),
        mask_decoder_config=SamMaskDecoderConfig(**decoder).to_dict(),
    )
    return enlivened(SamModel(config).eval())


@pytest.fixture(params=[False, True], ids=["sam", "sam_hq"])
def hf_model(request):
    return tiny_hf(request.param)


def library_processor():
    from transformers import SamImageProcessor, SamProcessor

    return SamProcessor(
        SamImageProcessor(
            size={"longest_edge": 64},
            pad_size={"height": 64, "width": 64},
            mask_size={"longest_edge": 16},
            mask_pad_size={"height": 16, "width": 16},
        )
    )


def test_hf_sam_equals_the_librarys_processor_and_model(picture, hf_model):
    encoded = Count(hf_model.vision_encoder)
    [found] = HFSamSegmenter(lambda: hf_model, device="cpu", box_batch=2)([(picture, BOXES)])
    assert encoded.calls == 1
    processor = library_processor()
    inputs = processor(picture, input_boxes=[BOXES.tolist()], return_tensors="pt")
    inputs["input_boxes"] = inputs["input_boxes"].float()
    with torch.inference_mode():
        output = hf_model(**inputs, multimask_output=False)
    [masks] = processor.image_processor.post_process_masks(
        output.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"], pad_size={"height": 64, "width": 64}
    )
    assert len({int(mask.sum()) for mask, _ in found}) > 1, "the weights should answer differently to different boxes"
    for number, (mask, score) in enumerate(found):
        assert mask.shape == (48, 64) and mask.dtype == bool
        assert (mask != masks[number, 0].numpy()).mean() < 0.01
        assert score == pytest.approx(float(output.iou_scores[0, number, 0].clamp(0, 1)), abs=1e-4)


@pytest.mark.parametrize("shape", [(48, 64), (90, 41), (300, 200), (7, 500), (2, 2)])
def test_preprocessing_is_the_librarys(shape):
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3)).astype("uint8")
    pixels, size = preprocess(image, 64)
    expected = library_processor()(image, return_tensors="pt")
    assert list(size) == expected["reshaped_input_sizes"][0].tolist()
    assert torch.allclose(pixels, expected["pixel_values"].float(), atol=1e-5)


@pytest.mark.slow
def test_hf_sam_from_a_folder_in_a_pipeline(picture, hf_model, tmp_path):
    hf_model.save_pretrained(tmp_path)
    nlp = blank_nlp()
    model = {"@misc": "rivega.HFSam.v1", "name": str(tmp_path), "device": "cpu", "multimask": True, "local_files_only": True}
    nlp.add_pipe("rivega_segmenter", config={"model": model})
    doc = make_post(nlp, "Ann Bob", picture, [BOXES[:1].tolist(), BOXES[1:2].tolist()])
    doc = nlp.get_pipe("rivega_segmenter")(doc)
    assert doc._.rivega_errors == []
    [found] = HFSamSegmenter(lambda: hf_model, device="cpu", multimask=True)([(picture, BOXES[:2])])
    for ent, (mask, score) in zip(doc.ents, found):
        assert np.array_equal(ent._.mask, mask)
        assert ent._.mask_score == pytest.approx(score, abs=1e-5)


def test_hf_folders_of_other_kinds(tmp_path):
    from transformers import BertConfig, BertModel

    segmenter = make_hf_sam(str(tmp_path), device="cpu", local_files_only=True)
    prompts = [(np.zeros((8, 8, 3), dtype="uint8"), np.array([[0.0, 0.0, 4.0, 4.0]]))]
    with pytest.raises(RivegaError, match="cannot be read"):
        segmenter(prompts)
    small = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=10)
    BertModel(small).save_pretrained(tmp_path)
    with pytest.raises(RivegaError, match="of kind 'bert', not one of sam"):
        segmenter(prompts)
