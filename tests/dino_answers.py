"""What networks built like Grounding DINO answer, checked against transformers' own forward pass."""

import numpy as np
import pytest
import torch
from expressions_of import expressions
from thinc.api import Model
from tiny_networks import box_questions

from rivega_spacy.backends.boxes import corners
from rivega_spacy.backends.grounding_dino.grounder import encode_prompts
from rivega_spacy.pipes.queries import ImageQueries


def assert_answers_are_transformers_own(model: Model) -> None:
    """Boxes and scores are those of each expression asked alone, and the picture is encoded once."""
    batch = [ImageQueries(box_questions()[0][0].image, expressions(("red thing", "PER"), "blue.", "the cat — a dog"))]
    network, tools = model.shims[0].module, model.shims[0].tools
    seen = []
    hook = network.model.backbone.conv_encoder.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    found = model.predict(batch)[0]
    hook.remove()
    assert seen == [1]
    for row, text in zip(found, batch[0].expressions):
        ids, mask, phrase = encode_prompts(tools, [text])
        pixels = tools.pictures.resized(batch[0].image, 64, 85, resample=2)[None]
        with torch.inference_mode():
            output = network(pixel_values=torch.from_numpy(pixels), input_ids=ids, attention_mask=mask)
        scores = output.logits[0, :, : ids.shape[1]].sigmoid()[:, phrase[0]].amax(1)
        best = int(scores.argmax())
        box = corners(output.pred_boxes[0, best]).numpy() * np.array([80, 60, 80, 60])
        assert row[4] == pytest.approx(float(scores[best]), abs=1e-4)
        assert np.allclose(row[:4], np.clip(box, 0, [80, 60, 80, 60]), atol=0.05)
