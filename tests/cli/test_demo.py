import importlib.util
import json
from pathlib import Path

import pytest
from blank import blank_nlp
from PIL import Image

from rivega_spacy.cli import main
from rivega_spacy.rendering.expected import read_expected

ASSETS = Path(__file__).resolve().parents[2] / "assets" / "demo"


def demo_posts():
    return [json.loads(line) for line in (ASSETS / "posts.jsonl").read_text(encoding="utf8").splitlines()]


def test_demo_posts_and_expectations_fit_together():
    posts, expected = demo_posts(), read_expected(ASSETS / "expected.jsonl")
    assert len(posts) >= 8 and len({post["id"] for post in posts}) == len(posts)
    assert list(expected) == [post["id"] for post in posts]
    blank = blank_nlp()
    for post in posts:
        doc = blank.make_doc(post["text"])
        size = Image.open(ASSETS / post["image"]).size if post.get("image") else None
        for ent in expected[post["id"]]:
            assert post["text"][ent.start : ent.end] == ent.text
            assert doc.char_span(ent.start, ent.end) is not None, "entities are whole tokens"
            assert set(ent.labels) <= {"PER", "LOC", "ORG", "OTHER"}
            assert (ent.shown is None) == (size is None) and bool(ent.boxes) == bool(ent.shown)
            for x1, y1, x2, y2 in ent.boxes:
                assert 0 <= x1 < x2 <= size[0] and 0 <= y1 < y2 <= size[1]
    shown = [[ent.shown for ent in ents] for ents in expected.values()]
    assert any(row.count(True) >= 2 for row in shown) and any(True not in row and False in row for row in shown)
    assert any(None in row for row in shown)


def test_every_photograph_has_its_origin():
    images = sorted(path.name for path in (ASSETS / "images").iterdir())
    used = sorted(Path(post["image"]).name for post in demo_posts() if post.get("image"))
    assert images == used
    rows = (ASSETS / "ORIGINS.md").read_text(encoding="utf8")
    for name in images:
        line = next(line for line in rows.splitlines() if f"`images/{name}`" in line)
        assert "public domain" in line or "CC0" in line
    assert sum((ASSETS / "images" / name).stat().st_size for name in images) < 2_500_000
    assert all(max(Image.open(ASSETS / "images" / name).size) <= 1024 for name in images)


@pytest.fixture
def ruled(tmp_path):
    """A pipeline without any network: it knows three names of the demo."""
    nlp = blank_nlp()
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns(
        [
            {"label": "PER", "pattern": "Eileen Collins"},
            {"label": "LOC", "pattern": "London"},
            {"label": "ORG", "pattern": "Mozart"},
        ]
    )
    nlp.to_disk(tmp_path / "ruled")
    return str(tmp_path / "ruled")


@pytest.mark.slow
def test_demo_with_a_pipeline_of_ones_own(ruled, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["demo", str(out), "--model", ruled]) == 0
    posts = demo_posts()
    lines = [json.loads(line) for line in (out / "posts.jsonl").read_text(encoding="utf8").splitlines()]
    assert [line["id"] for line in lines] == [post["id"] for post in posts]
    assert len(list((out / "overlays").glob("*.png"))) == sum(bool(post.get("image")) for post in posts)
    page = (out / "index.html").read_text(encoding="utf8")
    assert page.count("<article") == len(posts)
    told = capsys.readouterr().out
    total = sum(len(ents) for ents in read_expected(ASSETS / "expected.jsonl").values())
    # London has no picture and is not judged: right. Mozart has the wrong type, Collins was not judged.
    assert f"1 of {total} entities right in every part: 3 of {total} found, 2 of them with the right type" in told
    assert "NO: expected type PER" in told and "NO: not found in the text" in told
    assert (out / "index.html").resolve().as_uri() in told and str(out / "overlays") in told


def test_demo_with_posts_of_ones_own(ruled, tmp_path, capsys):
    posts = tmp_path / "mine.jsonl"
    posts.write_text(json.dumps({"text": "Mozart 🎻 in London", "image": "gone.png"}) + "\nbroken\n", encoding="utf8")
    assert main(["demo", str(tmp_path / "out"), "--model", ruled, "--posts", str(posts)]) == 1
    told = capsys.readouterr().out
    assert "Mozart" in told and "London" in told and "as expected?" not in told
    assert "! post: " in told and "line 2" in told
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf8")
    assert page.count("<article") == 2


def test_what_is_missing_is_said(ruled, tmp_path, capsys, monkeypatch):
    assert main(["demo", str(tmp_path / "out"), "--model", "no_such_pipeline"]) == 2
    assert "pip install ./assets/rivega_twitter" in capsys.readouterr().err
    assert main(["demo", str(tmp_path / "out"), "--model", ruled, "--posts", str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl" in capsys.readouterr().err
    assert main(["demo", str(tmp_path / "out"), "--model", ruled, "--expected", str(tmp_path / "none.jsonl")]) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_demo_end_to_end(tmp_path, capsys):
    if importlib.util.find_spec("rivega_twitter") is None:
        pytest.skip("needs the package rivega_twitter: pip install ./assets/rivega_twitter")
    out = tmp_path / "demo"
    assert main(["demo", str(out)]) == 0
    told = capsys.readouterr().out
    lines = [json.loads(line) for line in (out / "posts.jsonl").read_text(encoding="utf8").splitlines()]
    assert all(not line["errors"] for line in lines)
    ents = [ent for line in lines for ent in line["ents"]]
    assert len(ents) >= 15, "most names are found"
    grounded = [ent for ent in ents if ent["box"]]
    assert grounded and all(ent["mask_rle"] for ent in grounded), "what has a box has a mask"
    assert all(ent["groundable"] is None for line in lines if line["image"] is None for ent in line["ents"])
    assert "right in every part" in told
