"""`rivega enrich` and `rivega store`: several models side by side, resumed without a second call, told in one line each."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from blank import blank_nlp
from llm.servers import FaultProxy

from rivega_spacy.cli import main

CONFIG = """
[store]
@misc = "rivega.AnswerStore.v1"
path = "{store}"

[models]

[models.one]
@misc = "rivega.OpenAIChat.v1"
model = "m1"
base_url = "{url}"
max_retries = 0

[models.two]
@misc = "rivega.OpenAIChat.v1"
model = "m2"
base_url = "{url}"
max_retries = 0

[examples]
@misc = "rivega.MSEA.v1"
n = 2

[enrich]
captions = "two"
knowledge = ["one", "two"]
expansions = ["one", "two"]
main = "two"
batch_size = 2
"""
PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108020000009077"
    "53de0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def answer(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    if not isinstance(content, str):
        return "A square."
    if "what is <<" in content:
        return f"{body['model']} explains {content.rsplit('what is << ', 1)[1].split(' >>')[0]}."
    return f"{body['model']} knows {content.rsplit('Text: << ', 1)[1].split(' >>')[0]}."


@pytest.fixture
def posts(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(PICTURE)
    rows: list[Any] = [
        {"id": "1", "text": "Ann in Rome", "ents": [[0, 3, "PER"], [7, 11, "LOC"]], "image": "a.png", "extra": [1]},
        {"id": "2", "tokens": ["Bob", "slept"], "tags": ["B-PER", "O"], "caption_blip2": "a bed", "knowledge": "old"},
        {"id": "3", "tokens": ["no", "names"], "tags": ["O"]},
    ]
    path = tmp_path / "posts.jsonl"
    path.write_text("\n".join([*map(json.dumps, rows), "no json"]) + "\n")
    return path


def config(tmp_path: Path, url: str) -> str:
    path = tmp_path / "enrich.cfg"
    path.write_text(CONFIG.format(store=tmp_path / "answers.sqlite", url=url))
    return str(path)


def read(path: Path) -> list[dict[str, Any]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf8") as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.slow
def test_side_by_side_and_again_without_a_call(posts: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out.jsonl.gz"
    with FaultProxy(answer) as proxy:
        assert main(["enrich", str(posts), str(out), "--config", config(tmp_path, proxy.url)]) == 1
        calls = len(proxy.requests)
        first = capsys.readouterr().out
        rows = read(out)
        assert main(["enrich", str(posts), str(tmp_path / "again.jsonl"), "--config", config(tmp_path, proxy.url)]) == 1
        assert len(proxy.requests) == calls == 1 + 2 * 3 + 2 * 3
    assert read(tmp_path / "again.jsonl") == rows
    assert rows[0]["extra"] == [1] and rows[0]["caption"] == "A square."
    assert rows[0]["knowledge_by_model"] == {"one": "m1 knows Ann in Rome.", "two": "m2 knows Ann in Rome."}
    assert rows[0]["knowledge"] == "m2 knows Ann in Rome."
    assert rows[0]["expansions_by_model"]["one"] == ["m1 explains Ann.", "m1 explains Rome."]
    assert rows[0]["expansions"] == ["m2 explains Ann.", "m2 explains Rome."] and "errors" not in rows[0]
    assert (
        rows[1]["tokens"] == ["Bob", "slept"]
        and rows[1]["ents"] == [[0, 3, "PER"]]
        and rows[1]["knowledge"] == "m2 knows Bob slept."
    )
    assert rows[1]["expansions"] == ["m2 explains Bob."]
    assert rows[2]["knowledge"] and "tags" in rows[2]["errors"][0]["message"]
    assert "not a JSON object" in rows[3]["errors"][0]["message"]
    assert "knowledge of one: 3 questions, 0 answers from the store, 3 asked" in first
    second = capsys.readouterr().out
    assert "knowledge of one: 3 questions, 3 answers from the store, 0 asked" in second
    assert "expansions of two: 3 questions, 3 answers from the store, 0 asked" in second


@pytest.mark.slow
def test_a_failing_model_leaves_the_other_ones_answers(posts: Path, tmp_path: Path) -> None:
    def broken(body: dict[str, Any]) -> str:
        return "<html>" if body["model"] == "m2" else answer(body)

    out = tmp_path / "out.jsonl"
    with FaultProxy(broken) as proxy:
        assert main(["enrich", str(posts), str(out), "--config", config(tmp_path, proxy.url)]) == 1
    rows = read(out)
    assert rows[0]["knowledge_by_model"] == {"one": "m1 knows Ann in Rome."} and "knowledge" not in rows[0]
    # What the post came with stays where the main model has nothing better.
    assert rows[1]["knowledge"] == "old"
    assert any("two" in error["message"] for error in rows[0]["errors"])


@pytest.mark.slow
def test_measured_posts_are_no_examples(posts: Path, tmp_path: Path) -> None:
    shipped = Path(main.__globals__["__file__"]).parents[1] / "knowledge" / "examples.jsonl"
    with FaultProxy(answer) as proxy:
        main(["enrich", str(posts), str(tmp_path / "o.jsonl"), "--config", config(tmp_path, proxy.url), "--measured", str(shipped)])
        texts = [body["messages"][-1]["content"] for body in proxy.requests if isinstance(body["messages"][-1]["content"], str)]
    knowledge = [text for text in texts if text.startswith("Text:")]
    assert len(knowledge) == 6 and all(text.count("Answer:") == 1 for text in knowledge)


@pytest.mark.parametrize(
    "change, reason",
    [
        (('main = "two"', 'main = "three"'), "three"),
        (('model = "m1"', 'modle = "m1"'), "modle"),
        (("[models.one]", "[modles.one]"), "one"),
        (("batch_size = 2", "batch_sise = 2"), "batch_sise"),
        (('model = "m1"', 'model = "m1"\napi_key_env = "sk-0123456789abcdefghijk"'), "NAME"),
    ],
)
def test_wrong_configs_are_told(change: Any, reason: str, posts: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = Path(config(tmp_path, "http://127.0.0.1:1/v1"))
    path.write_text(path.read_text().replace(*change))
    assert main(["enrich", str(posts), str(tmp_path / "o.jsonl"), "--config", str(path)]) == 2
    err = capsys.readouterr().err
    assert reason in err and "0123456789abcdefghijk" not in err
    assert not (tmp_path / "o.jsonl").exists()


@pytest.mark.slow
def test_store_commands(posts: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with FaultProxy(answer) as proxy:
        main(["enrich", str(posts), str(tmp_path / "o.jsonl"), "--config", config(tmp_path, proxy.url)])
    capsys.readouterr()
    store, lines, other = (str(tmp_path / name) for name in ("answers.sqlite", "a.jsonl", "other.sqlite"))
    assert main(["store", "stats", store]) == 0
    out = capsys.readouterr().out
    assert "one\tknowledge\t3 answers" in out and "13 answers in" in out
    assert main(["store", "export", store, lines, "--source", "one"]) == 0
    assert main(["store", "import", other, lines]) == 0
    assert main(["store", "import", other, lines]) == 0
    out = capsys.readouterr().out
    assert "6 answers ->" in out and "6 answers imported, 0 were there" in out and "0 answers imported, 6 were there" in out
    assert main(["store", "stats", str(tmp_path / "none")]) == 2
    Path(lines).write_text("bad\n")
    assert main(["store", "import", other, lines]) == 1


def test_the_shipped_config_is_sound(tmp_path: Path) -> None:

    from rivega_spacy.jobs.enrich import Enricher, read_settings

    path = Path(__file__).parents[2] / "configs" / "enrich_openai.cfg"
    settings = read_settings(path, overrides={"store.path": str(tmp_path / "a.sqlite")})
    assert settings.models["chatgpt"].budget.limits["cost"] == 5.0
    assert set(Enricher(blank_nlp(), settings).askers()) == {
        "captions",
        "descriptions",
        "knowledge of chatgpt",
        "expansions of chatgpt",
    }


@pytest.mark.slow
def test_a_job_asks_once_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    posts, folder = tmp_path / "posts.jsonl", tmp_path / "enriched"
    lines = [json.dumps({"id": str(number), "text": f"Ann sang {number}", "ents": [[0, 3, "PER"]]}) for number in range(7)]
    posts.write_text("\n".join(lines) + "\n")
    with FaultProxy(answer) as proxy:
        asked = ["enrich", str(posts), f"{folder}/", "--config", config(tmp_path, proxy.url), "--shard-size", "3"]
        # The budget of one model ends in the middle: those posts carry a note, and nobody is asked in vain.
        budget = ["--set", 'models.one.budget={"@misc":"rivega.Budget.v1","requests":9}']
        assert main([*asked, "--resume", *budget]) == 1
        calls = len(proxy.requests)
        first = {path.name: path.stat().st_ino for path in folder.glob("part-*")}
        assert calls < 7 * 4 and len(first) == 3
        assert main([*asked, "--resume"]) == 0
        # Only what was missing was asked: a budget and other limits may change while the job is under way.
        assert len(proxy.requests) == 7 * 4
        assert main([*asked, "--resume"]) == 0 and len(proxy.requests) == 7 * 4
        assert main(asked) == 2 and "--resume" in capsys.readouterr().err
        assert main([*asked, "--resume", "--set", 'enrich.main="one"']) == 2
        assert "enrich.main was" in capsys.readouterr().err
    rows = [row for path in sorted(folder.glob("part-*")) for row in read(path)]
    assert [row["id"] for row in rows] == list("0123456")
    assert all(row["knowledge_by_model"].keys() == row["expansions_by_model"].keys() == {"one", "two"} for row in rows)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["complete"] and manifest["counts"]["failed"] == 0
