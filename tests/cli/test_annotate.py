"""`rivega annotate`: one file, several workers, and a folder as a job."""

import json
from pathlib import Path

import pytest
from blank import blank_nlp

from rivega_spacy.cli import main


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a pipeline and posts."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    nlp = blank_nlp()
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": "Ada"}])
    nlp.to_disk("pipeline")
    rows = [json.dumps({"id": str(number), "text": f"Ada sang {number}", "mine": number}) for number in range(150)]
    Path("posts.jsonl").write_text("\n".join(rows) + "\n")
    Path("more.jsonl").write_text("\n".join(rows[:5]) + "\nno json\n")
    return tmp_path


def annotate(*words: str) -> int:
    return main(["annotate", *words, "--model", "pipeline"])


@pytest.mark.slow
def test_workers_write_what_one_process_writes(place: Path, capsys: pytest.CaptureFixture) -> None:
    assert annotate("posts.jsonl", "one.jsonl") == annotate("posts.jsonl", "two.jsonl", "--workers", "2") == 0
    assert Path("one.jsonl").read_bytes() == Path("two.jsonl").read_bytes()
    assert annotate("posts.jsonl", "three.jsonl", "--n-process", "2", "--batch-size", "7") == 0
    assert Path("three.jsonl").read_bytes() == Path("one.jsonl").read_bytes()
    assert "150 posts, 150 entities, 0 of them grounded, 0 posts with errors -> three.jsonl" in capsys.readouterr().out


@pytest.mark.slow
def test_a_folder_is_a_job(place: Path, capsys: pytest.CaptureFixture) -> None:
    annotate("posts.jsonl", "one.jsonl")
    assert annotate("posts.jsonl", "job/", "--shard-size", "60") == 0
    parts = sorted(Path("job").glob("part-*"))
    assert b"".join(part.read_bytes() for part in parts) == Path("one.jsonl").read_bytes() and len(parts) == 3
    assert annotate("posts.jsonl", "job", "--shard-size", "60") == 2
    assert "--resume" in capsys.readouterr().err
    assert annotate("posts.jsonl", "more.jsonl", "job", "--shard-size", "60", "--resume") == 1
    assert "150 posts were done before\n156 posts, 155 entities" in capsys.readouterr().out
    assert sum(len(part.read_text().splitlines()) for part in Path("job").glob("part-*")) == 156
    assert annotate("more.jsonl", "job", "--restart") == 1
    assert [part.name for part in Path("job").glob("part-*")] == ["part-00000.jsonl"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("posts.jsonl out.jsonl --address 1.2.3.4", "--address"),
        ("posts.jsonl out.jsonl --engine ray", "--engine ray"),
        ("posts.jsonl job/ --resume --restart", "--resume"),
        ("posts.jsonl job/ --shard-size 0", "shard_size"),
        ("posts.jsonl job/ --workers 0", "n_process"),
        ("posts.jsonl pipeline/ --resume", "not a job folder"),
        ("posts.jsonl posts.jsonl --resume", "posts.jsonl"),
        ("posts.jsonl pipeline/config.cfg job/", "several folders"),
    ],
)
def test_calls_that_make_no_sense(place: Path, capsys: pytest.CaptureFixture, words: str, said: str) -> None:
    assert annotate(*words.split()) == 2
    assert said in capsys.readouterr().err and not Path("job").exists()
