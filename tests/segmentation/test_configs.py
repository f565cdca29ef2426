"""The two configs of the segmenter that starts from scratch, at a tiny size."""

from pathlib import Path

import numpy as np
import pytest
import spacy
from segmenter_tiny import disc_picture, write_masked_photos
from spacy.cli.train import train

CONFIGS = Path(__file__).parents[2] / "configs"
MODEL = {"size": 64, "widths": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "fine": [8, 8], "flip": False}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photos of discs under the names of the sources, each with ids of every remainder by five."""
    write_masked_photos(tmp_path / "photos", ("ccp_pixel", "voc2007_test_a", "voc2007_test_b", "coco_train_258"))
    return tmp_path / "photos"


@pytest.mark.slow
def test_teacher_and_student_train_one_after_the_other(photos, tmp_path):
    shared = {
        **{f"components.rivega_segmenter.model.{name}": value for name, value in MODEL.items()},
        "paths.photos": str(photos),
        "system.steps": 2,
        "training.optimizer.learn_rate.warmup_steps": 1,
        "training.batcher.size": 4,
    }
    growth = {"components.rivega_segmenter.model.growth": [[0, 32], [1, 64]]}
    train(CONFIGS / "segmenter_small.cfg", tmp_path / "teacher", overrides={**shared, **growth})
    teacher = tmp_path / "teacher" / "model-last"
    drawn = photos / "voc2007_test_a"
    train(
        CONFIGS / "segmenter_small_student.cfg",
        tmp_path / "student",
        overrides={**shared, "paths.teacher": str(teacher), "paths.drawn": str(drawn), "system.steps": 1},
    )
    first, second = (
        spacy.load(folder).get_pipe("rivega_segmenter").model for folder in (teacher, tmp_path / "student" / "model-last")
    )
    # The student set out from the teacher, and its crops have their full size from the start.
    pairs = zip(first.shims[0].module.parameters(), second.shims[0].module.parameters())
    assert max(float((a - b).abs().max().detach()) for a, b in pairs) < 0.05
    assert second.attrs["run"].growth == [] and first.attrs["run"].growth == [(0, 32), (1, 64)]
    image, box, mask = disc_picture(48, 64, 1)
    assert second.predict([(image, np.array([box]))])[0][0][0].shape == mask.shape
