"""SAM 2 and EdgeTAM through transformers, small and with random weights, against the library's own model and processor."""

import importlib.util

import numpy as np
import pytest
import srsly
import torch
import torch.nn.functional as F
from blank import blank_nlp
from safetensors.torch import save_file
from segmenter_tiny import make_post

from rivega_spacy.backends.sam2.segmenter import HFSam2Segmenter, make_hf_sam2, preprocess
from rivega_spacy.post.errors import RivegaError, SetupError
from rivega_spacy.post.versions import installed

needs_sam2 = pytest.mark.skipif(installed("transformers") < (4, 56), reason="transformers before 4.56 has no SAM 2")
needs_torchvision = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None, reason="the library's processor of SAM 2 needs torchvision"
)
BOXES = np.array([[5.0, 6.0, 30.0, 40.0], [20.0, 0.0, 63.0, 20.0], [0.0, 0.0, 64.0, 48.0]])
PROMPTS = {"hidden_size": 32, "image_size": 64, "patch_size": 16}
DECODER = {"hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16}


def vision():
    from transformers import Sam2HieraDetConfig, Sam2VisionConfig

    backbone = Sam2HieraDetConfig(
        hidden_size=8,
        image_size=[64, 64],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 2],
        window_size_per_stage=[8, 4, 4, 2],
        global_attention_blocks=[3],
    )
    return Sam2VisionConfig(
        backbone_config=backbone.to_dict(),
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=32,
    )


def tiny(video=False):
    import transformers

    torch.manual_seed(0)
    parts = {"vision_config": vision().to_dict(), "prompt_encoder_config": PROMPTS, "mask_decoder_config": DECODER}
    if video:
        memory = {
            "memory_attention_hidden_size": 32,
            "memory_attention_num_layers": 1,
            "memory_attention_num_attention_heads": 1,
            "memory_attention_feed_forward_hidden_size": 32,
            "memory_encoder_hidden_size": 32,
            "memory_encoder_output_channels": 16,
            "mask_downsampler_embed_dim": 32,
            "memory_fuser_embed_dim": 32,
            "memory_fuser_intermediate_dim": 32,
        }
        network = transformers.Sam2VideoModel(transformers.Sam2VideoConfig(**parts, image_size=64, **memory))
    else:
        network = transformers.Sam2Model(transformers.Sam2Config(**parts))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return network.eval()


def has_timm():
    try:
        import timm  # noqa: F401
    except ImportError:
        return False
    return installed("transformers") >= (4, 57)


def tiny_edgetam():
    """EdgeTAM around timm's smallest RepViT (its widths are fixed), with a narrow neck and decoder."""
    import transformers

    torch.manual_seed(0)
    backbone = transformers.TimmWrapperConfig(
        architecture="repvit_m0_9",
        num_classes=0,
        model_args={"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
    )
    seen = transformers.EdgeTamVisionConfig(
        backbone_config=backbone.to_dict(),
        backbone_channel_list=[384, 192, 96, 48],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=32,
    )
    network = transformers.EdgeTamModel(
        transformers.EdgeTamConfig(vision_config=seen.to_dict(), prompt_encoder_config=PROMPTS, mask_decoder_config=DECODER)
    )
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if not name.startswith("vision_encoder.backbone."):
                scale = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.2
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
        # Statistics of one batch: those that it is made with leave nothing of a picture at the end.
        for part in network.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.momentum = None
        network.train().vision_encoder.backbone(torch.randn(8, 3, 64, 64, generator=generator))
    return network.eval()


needs_edgetam = pytest.mark.skipif(not has_timm(), reason="EdgeTAM needs transformers 4.57 and timm")
FAMILIES = [pytest.param(tiny, marks=needs_sam2, id="sam2"), pytest.param(tiny_edgetam, marks=needs_edgetam, id="edgetam")]


@pytest.mark.parametrize("make", FAMILIES)
@pytest.mark.parametrize("multimask", [False, True])
def test_masks_are_those_of_the_model_box_by_box_with_the_picture_encoded_once(picture, multimask, make):
    network = make()
    calls = []
    hook = network.vision_encoder.register_forward_hook(lambda *arguments: calls.append(1))
    segmenter = HFSam2Segmenter(lambda: network, device="cpu", multimask=multimask, box_batch=2)
    [found, nothing] = segmenter([(picture, BOXES), (picture, BOXES[:0])])
    hook.remove()
    assert len(calls) == 1 and nothing == []
    # A picture of 48 x 64 becomes a square of 64.
    scaled = torch.as_tensor(BOXES * np.array([1, 64 / 48, 1, 64 / 48]), dtype=torch.float32)
    for box, (mask, score) in zip(scaled, found):
        with torch.inference_mode():
            output = network(pixel_values=preprocess(picture, 64), input_boxes=box[None, None], multimask_output=multimask)
        best = int(output.iou_scores[0, 0].argmax())
        expected = F.interpolate(output.pred_masks[0, :, best][None], (48, 64), mode="bilinear", align_corners=False)[0, 0] > 0
        assert mask.shape == (48, 64) and mask.dtype == bool
        assert (mask != expected.numpy()).mean() < 0.01
        assert score == pytest.approx(float(output.iou_scores[0, 0, best].clamp(0, 1)), abs=1e-4)
    assert len({int(mask.sum()) for mask, _ in found}) > 1, "the weights should answer differently to different boxes"


@needs_sam2
@needs_torchvision
def test_pictures_and_masks_are_prepared_as_by_the_librarys_processor(picture):
    from transformers import Sam2ImageProcessorFast

    processor = Sam2ImageProcessorFast(size={"height": 64, "width": 64}, mask_size={"height": 16, "width": 16})
    wanted = processor(picture, return_tensors="pt")["pixel_values"]
    # Pillow rounds to whole grey levels.
    assert (preprocess(picture, 64) - wanted).abs().max() < 0.03


@needs_sam2
@pytest.mark.parametrize("video", [False, True])
def test_a_published_folder_in_a_pipeline(picture, tmp_path, video):
    """The published files are of the network for videos, which holds the one for pictures."""
    tiny(video).save_pretrained(tmp_path)
    nlp = blank_nlp()
    model = {"@misc": "rivega.HFSam2.v1", "name": str(tmp_path), "device": "cpu", "local_files_only": True}
    nlp.add_pipe("rivega_segmenter", config={"model": model})
    doc = make_post(nlp, "Ann Bob", picture, [BOXES[:1].tolist(), BOXES[1:2].tolist()])
    doc = nlp.get_pipe("rivega_segmenter")(doc)
    assert doc._.rivega_errors == []
    [found] = make_hf_sam2(str(tmp_path), device="cpu")([(picture, BOXES[:2])])
    for ent, (mask, score) in zip(doc.ents, found):
        assert np.array_equal(ent._.mask, mask) and ent._.mask_score == pytest.approx(score, abs=1e-5)


@needs_edgetam
def test_a_folder_of_edgetam(picture, tmp_path):
    network = tiny_edgetam()
    # Not by `save_pretrained`, which makes a default config to compare with, and that one asks the hub.
    srsly.write_json(tmp_path / "config.json", network.config.to_dict())
    save_file(
        {name: value.clone() for name, value in network.state_dict().items()},
        tmp_path / "model.safetensors",
        metadata={"format": "pt"},
    )
    [found] = make_hf_sam2(str(tmp_path), device="cpu", local_files_only=True)([(picture, BOXES[:2])])
    [wanted] = HFSam2Segmenter(tiny_edgetam, device="cpu")([(picture, BOXES[:2])])
    for (mask, score), (same, again) in zip(found, wanted):
        assert np.array_equal(mask, same) and score == pytest.approx(again, abs=1e-5)


@needs_sam2
def test_folders_of_other_kinds(tmp_path):
    from transformers import BertConfig, BertModel

    small = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=10)
    BertModel(small).save_pretrained(tmp_path)
    prompts = [(np.zeros((8, 8, 3), dtype="uint8"), np.array([[0.0, 0.0, 4.0, 4.0]]))]
    with pytest.raises(RivegaError, match="of kind 'bert', not one of sam2, sam2_video, edgetam"):
        make_hf_sam2(str(tmp_path), device="cpu")(prompts)


def test_a_transformers_without_the_network_says_which_has_it(monkeypatch, tmp_path):
    monkeypatch.setattr("rivega_spacy.backends.sam2.segmenter.KINDS", {"sam2": ("NoSuchNetwork", "9.9")})
    with pytest.raises(SetupError, match="E900.*NoSuchNetwork, which came with version 9.9"):
        make_hf_sam2(str(tmp_path), device="cpu")([(np.zeros((8, 8, 3), dtype="uint8"), np.array([[0.0, 0.0, 4.0, 4.0]]))])
