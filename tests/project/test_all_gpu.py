"""`spacy project run all_gpu` from end to end: published file layouts, tiny random weights, every command of the workflow, timed.

RIVEGA_TEST_TIMES=1 pytest tests/project        prints the time of each step
"""

import argparse
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from backends.sam.test_segmenter import needs_sam
from ner.conftest import write_encoder
from ofa_tiny import BINS, published, tiny_network, write_vocabulary

from .test_project import ROOT, data, print_times, project, run_here  # noqa: F401  # fixtures

pytest.importorskip("weasel")
SHORT = " --training.max_epochs 0 --training.max_steps 2 --training.eval_frequency 2"
SMALL = " --training.max_steps 2 --training.eval_frequency 2 --training.accumulate_gradient 1 --training.optimizer.learn_rate.warmup_steps 1"


def write_weights(folder: Path) -> None:
    """Tiny random networks under the names of the published files."""
    import torch
    from backends.sam.test_segmenter import tiny_sam

    write_vocabulary(folder / "OFA" / "utils" / "BPE")
    content = {
        "args": None,
        "cfg": {
            "_name": None,
            "model": argparse.Namespace(attn_scale_factor=2, encoder_layers=2, heads=None),
            "task": {"num_bins": BINS},
        },
        "model": published(tiny_network()),
        "extra_state": {},
    }
    torch.save(content, folder / "ofa_large.pt")
    torch.save(tiny_sam().state_dict(), folder / "sam_vit_h_4b8939.pth")
    write_encoder(folder / "xlm-roberta-large", kind="xlmr")


def write_plan(configs: Path) -> None:
    """The list of experiments with trainings of two steps."""
    plan = srsly.read_yaml(configs / "variants.yml")
    tagger = {
        "training.max_epochs": 0,
        "training.max_steps": 2,
        "training.eval_frequency": 2,
        "components.transformer.model.bf16": False,
    }
    vision = {
        "training.max_steps": 2,
        "training.eval_frequency": 2,
        "training.accumulate_gradient": 1,
        "training.optimizer.learn_rate.warmup_steps": 1,
    }
    plan["axes"]["tagger"]["xlmr"]["set"] = tagger
    for axis in ("entailment", "grounder"):
        plan["axes"][axis]["ofa"]["set"] = {**vision, f"components.rivega_{axis}.model.image_size": 64}
    # Nobody is asked for expansions.
    plan["groups"]["variants"]["with"]["expander"] = "rules"
    srsly.write_yaml(configs / "variants.yml", plan)


def tiny_in_place_of_the_largest(patch: pytest.MonkeyPatch) -> None:
    """A tiny network in the place of segment-anything's largest one; the checkpoint file has its weights."""
    from backends.sam.test_segmenter import tiny_sam

    from rivega_spacy.backends.sam import segmenter

    def build(checkpoint: object = None) -> object:
        return tiny_sam()

    real = segmenter.import_segment_anything

    def with_tiny() -> Any:
        package = real()
        patch.setitem(package.sam_model_registry, "vit_h", build)
        return package

    patch.setattr(segmenter, "import_segment_anything", with_tiny)


@needs_sam
@pytest.mark.slow
def test_run_all_gpu(
    project: Path,  # noqa: F811
    data: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    tiny_in_place_of_the_largest(monkeypatch)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    weights = data / "weights"
    write_weights(weights)
    write_plan(project / "configs")
    vision = " --components.rivega_{}.model.image_size 64"
    times = run_here(
        project,
        "run", "all_gpu", ".",
        "--vars.data", str(data), "--vars.format", "published", "--vars.paper_gpu_id", "-1",
        "--vars.tagger_gpu_args", f"{SHORT} --paths.encoder {weights / 'xlm-roberta-large'} --components.transformer.model.bf16 false",
        "--vars.entailment_args", SMALL + vision.format("entailment"),
        "--vars.grounder_args", SMALL + vision.format("grounder"),
        "--vars.tables_args", " --variant variants.4-xlmr-chatgpt-ofa-ofa --variant variants.9-xlmr-mix-ofa-ofa",
        patch=monkeypatch,
    )  # fmt: skip
    told = capfd.readouterr().out
    print_times(times, capfd)
    assert len(times) == sum(len(each["script"]) for each in steps_of("all_gpu"))
    scores = srsly.read_json(project / "metrics" / "paper.json")
    assert scores["posts"] == 6 and scores["rule"] == "text" and scores["errors"]["posts"] == 0
    # With gold boxes fed in, SAM was asked, whatever the tagger of two steps found.
    assert scores["propagation"]["gold entities + groundability + boxes"]["SMNER"] is not None
    nlp: Any = spacy.load(project / "training" / "rivega_paper")
    assert (
        nlp.pipe_names[-1] == "rivega_segmenter"
        and nlp.config["components"]["rivega_grounder"]["model"]["@architectures"] == "rivega.OFAGrounder.v1"
    )
    for name in ("metrics/report_paper.html", "metrics/pages_paper/index.html", "training/tables/tables/tables.json"):
        assert (project / name).is_file(), name
    rows = {path.stem: srsly.read_json(path) for path in (project / "training" / "tables" / "runs").glob("*.json")}
    assert rows["variants.4-xlmr-chatgpt-ofa-ofa"]["status"] == "run", told[-3000:]
    assert rows["variants.9-xlmr-mix-ofa-ofa"]["status"] == "not run" and "answers" in rows["variants.9-xlmr-mix-ofa-ofa"]["reason"]


def steps_of(workflow: str) -> list[dict[str, Any]]:
    plan = srsly.read_yaml(ROOT / "project.yml")
    commands = {command["name"]: command for command in plan["commands"]}
    return [commands[name] for name in plan["workflows"][workflow]]
