import json

import numpy as np
import pytest
from PIL import Image

from rivega_spacy.cli import main
from rivega_spacy.post.rle import encode_mask


@pytest.fixture
def annotated(tmp_path):
    Image.fromarray(np.full((40, 60, 3), 128, dtype="uint8")).save(tmp_path / "a.png")
    ent = {"start": 0, "end": 3, "label": "PER", "boxes": [[5, 5, 30, 30]], "mask_rle": encode_mask(np.ones((40, 60), dtype=bool))}
    posts = [
        {"id": "one/../two", "text": "Ada here", "image": "a.png", "ents": [ent]},
        {"id": None, "text": "no picture", "image": None, "ents": []},
        {"id": "3", "text": "again Ada", "image": "a.png", "ents": []},
    ]
    path = tmp_path / "annotated.jsonl"
    path.write_text("".join(json.dumps(post) + "\n" for post in posts))
    return path


def test_pages_and_pictures(annotated, tmp_path, capsys):
    out = tmp_path / "deep" / "pages"
    assert main(["render", str(annotated), str(out), "--title", "Mine"]) == 0
    page = (out / "index.html").read_text(encoding="utf8")
    assert page.count("<article") == 3 and "<h1>Mine</h1>" in page
    assert sorted(p.name for p in (out / "overlays").iterdir()) == ["0001-one-two.png", "0003-3.png"]
    assert "3 posts on 1 pages, 2 pictures, 0 posts with errors" in capsys.readouterr().out


def test_several_pages_are_linked(annotated, tmp_path):
    assert main(["render", str(annotated), str(tmp_path / "out"), "--page-size", "2", "--no-overlays"]) == 0
    first, second = ((tmp_path / "out" / name).read_text(encoding="utf8") for name in ("index.html", "page-2.html"))
    assert 'href="page-2.html"' in first and 'href="index.html"' in second
    assert first.count("<article") == 2 and second.count("<article") == 1
    assert not (tmp_path / "out" / "overlays").exists() and not (tmp_path / "out" / "page-3.html").exists()


def test_pictures_are_numbered_through_all_pages(annotated, tmp_path):
    assert main(["render", str(annotated), str(tmp_path / "out"), "--page-size", "1"]) == 0
    assert sorted(p.name for p in (tmp_path / "out" / "overlays").iterdir()) == ["0001-one-two.png", "0003-3.png"]


def test_bad_lines_are_shown_and_reported(annotated, tmp_path):
    with annotated.open("a") as lines:
        lines.write("{broken\n")
    assert main(["render", str(annotated), str(tmp_path / "out")]) == 1
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf8")
    assert page.count("<article") == 4 and "on line 4" in page


def test_no_posts_and_no_file(tmp_path, capsys):
    (tmp_path / "empty.jsonl").write_text("")
    assert main(["render", str(tmp_path / "empty.jsonl"), str(tmp_path / "out")]) == 0
    assert "0 posts" in (tmp_path / "out" / "index.html").read_text(encoding="utf8")
    assert main(["render", str(tmp_path / "none.jsonl"), str(tmp_path / "out2")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert not (tmp_path / "out2").exists()
