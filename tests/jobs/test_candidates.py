"""Candidate boxes of a detector: those of transformers' own pipeline, whatever the batch, and no call to the hub."""

import numpy as np
import pytest
import spacy
import torch
from PIL import Image

from rivega_spacy.jobs.candidates import Detector, find_candidates
from rivega_spacy.post.errors import SetupError
from rivega_spacy.post.versions import installed

needs_dfine = pytest.mark.skipif(installed("transformers") < (4, 52), reason="transformers before 4.52 has no D-FINE")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small random D-FINE."""
    from transformers import DFineConfig, DFineForObjectDetection, HGNetV2Config, RTDetrImageProcessor

    backbone = HGNetV2Config(
        stem_channels=[3, 8, 8], stage_in_channels=[8, 16, 16, 32], stage_mid_channels=[8, 8, 8, 8], stage_out_channels=[16, 16, 32, 32],
        stage_num_blocks=[1, 1, 1, 1], stage_numb_of_layers=[1, 1, 1, 1], hidden_sizes=[16, 16, 32, 32], depths=[1, 1, 1, 1],
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = DFineConfig(
        backbone_config=backbone, encoder_hidden_dim=16, encoder_in_channels=[16, 32, 32], encoder_ffn_dim=32, encoder_attention_heads=2,
        d_model=16, num_queries=12, decoder_in_channels=[16, 16, 16], decoder_ffn_dim=32, decoder_layers=2, decoder_attention_heads=2,
        num_labels=5,
    )  # fmt: skip
    torch.manual_seed(0)
    network = DFineForObjectDetection(config).eval()
    with torch.no_grad():
        # As it begins every place has nearly the same score.
        for parameter in network.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=2 * parameter[0].numel() ** -0.5)
    path = tmp_path_factory.mktemp("dfine")
    network.save_pretrained(path)
    RTDetrImageProcessor(size={"height": 64, "width": 64}).save_pretrained(path)
    return path


@needs_dfine
@pytest.mark.slow
def test_boxes_are_transformers_own_best_first_whatever_the_batch(folder):
    from transformers import AutoModelForObjectDetection, RTDetrImageProcessor

    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (height, width, 3)).astype("uint8") for height, width in ((48, 64), (90, 40))]
    nlp = spacy.blank("rivega")
    docs = [nlp.make_doc("a post") for _ in range(3)]
    for doc, picture in zip(docs, (pictures[0], None, pictures[1])):
        doc._.image = picture
    rows = list(find_candidates(docs, Detector(str(folder), top=10), batch_size=2))
    assert [row["id"] for row in rows] == ["0", "2"]
    for row, alone in zip(rows, find_candidates(docs, Detector(str(folder), top=10), batch_size=1)):
        assert np.allclose(row["boxes"], alone["boxes"], atol=0.02) and np.allclose(row["scores"], alone["scores"], atol=1e-4)
    processor, network = RTDetrImageProcessor.from_pretrained(folder), AutoModelForObjectDetection.from_pretrained(folder).eval()
    for row, picture in zip(rows, pictures):
        with torch.inference_mode():
            output = network(**processor(images=Image.fromarray(picture), return_tensors="pt"))
        [own] = processor.post_process_object_detection(output, threshold=0.0, target_sizes=[picture.shape[:2]])
        best = own["scores"].argsort(descending=True, stable=True)[:10]
        height, width = picture.shape[:2]
        assert np.allclose(row["scores"], own["scores"][best], atol=1e-4) and row["scores"] == sorted(row["scores"], reverse=True)
        assert np.allclose(row["boxes"], np.clip(own["boxes"][best], 0, [width, height] * 2), atol=0.02)


def test_the_hub_is_not_asked(monkeypatch):
    import transformers

    asked = []

    def refuse(*arguments, **options):
        asked.append(options.get("local_files_only"))
        raise OSError("not here")

    monkeypatch.delenv("RIVEGA_HUB", raising=False)
    monkeypatch.setattr(transformers.AutoImageProcessor, "from_pretrained", refuse)
    with pytest.raises(SetupError, match="E864.*ustc-community/dfine-small-coco.*not here"):
        Detector("ustc-community/dfine-small-coco")
    assert asked == [True]
