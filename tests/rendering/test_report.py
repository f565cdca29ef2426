"""`rivega report`: one page of an evaluation."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from blank import blank_nlp
from PIL import Image

from rivega_spacy.cli import main
from rivega_spacy.corpus.docbin import write_docbin
from rivega_spacy.post.posts import post_to_doc, write_posts
from rivega_spacy.post.rle import encode_mask
from rivega_spacy.scoring.confusion import MISSED, SPURIOUS, confuse_types, rank_posts
from rivega_spacy.scoring.matching import MatchOptions
from rivega_spacy.scoring.mentions import Annotations, Mention
from rivega_spacy.scoring.sweep import line_plot
from rivega_spacy.scoring.tasks import score


def make_doc(nlp, name, ents, *, box, image):
    doc = post_to_doc(nlp, {"id": name, "text": "Ann <b>& Bob", "ents": ents, "image": image})
    for ent in doc.ents:
        ent._.groundable, ent._.groundable_score, ent._.boxes = True, 0.8, [box]
        mask = np.zeros((30, 40), bool)
        mask[2:20, 2:20] = True
        ent._.mask_rle = encode_mask(mask)
    return doc


@pytest.fixture
def files(tmp_path):
    nlp = blank_nlp()
    Image.new("RGB", (40, 30), (90, 140, 200)).save(tmp_path / "a.jpg")
    ann, bob = [0, 3, "PER"], [9, 12, "PER"]
    gold = [make_doc(nlp, name, [ann, bob], box=[2, 2, 20, 20], image="a.jpg") for name in ("good", "bad")]
    ours = [
        make_doc(nlp, "good", [ann, bob], box=[2, 2, 20, 20], image="a.jpg"),
        make_doc(nlp, "bad", [[0, 3, "ORG"]], box=[20, 20, 30, 30], image="missing.jpg"),
    ]
    write_docbin(gold, tmp_path / "gold.spacy")
    list(write_posts(ours, tmp_path / "out.jsonl"))
    (tmp_path / "scores.json").write_text(
        '{"propagation": {"pipeline": {"MNER": 0.5}, "gold entities": {"MNER": 1.0}}}', encoding="utf8"
    )
    return tmp_path


def test_the_page_holds_everything_and_needs_nothing(files):
    out = files / "report.html"
    arguments = [
        "--gold",
        str(files / "gold.spacy"),
        "--images",
        str(files),
        "--output",
        str(out),
        "--scores",
        str(files / "scores.json"),
    ]
    assert main(["report", str(files / "out.jsonl"), *arguments]) == 0
    page = out.read_text(encoding="utf8")
    for heading in (
        "Scores",
        "Where the errors come from",
        "F1 over the IoU threshold",
        "Types",
        "Groundability",
        "most errors",
        "all is right",
    ):
        assert re.search(rf"<h2>[^<]*{heading}", page), heading
    assert "Ann &lt;b&gt;&amp; Bob" in page and "<b>&" not in page
    assert page.count("data:image/jpeg") == 3 and "no picture" in page
    assert not re.search(r"""(src|href)=['"](?!data:)""", page) and "<script" not in page
    assert page.index(">bad<") < page.index(">good<")
    charts = re.findall(r"<svg.*?</svg>", page)
    assert charts and all(ElementTree.fromstring(svg) is not None for svg in charts)
    # Grid lines take the colour of the words, faintly: a fixed grey shines on a dark page.
    assert all(re.findall(r'<line [^>]*stroke="(\S+)"', svg) == ["currentColor"] * 6 for svg in charts)
    assert "<b>Grounding</b>: Prec of boxed 66.67, Prec of all 66.67, mIoU 66.67 <span class='note'>(right 2, boxed 3" in page


def test_predictions_without_text_still_make_a_page(files):
    (files / "p.txt").write_text("good.jpg###Ann(PER)###x###2###&[2, 2, 20, 20]\n", encoding="utf8")
    out = files / "r.html"
    assert main(["report", str(files / "p.txt"), "--gold", str(files / "gold.spacy"), "--rule", "text", "--output", str(out)]) == 0
    assert "<h2>Scores</h2>" in out.read_text(encoding="utf8")


def annotations(*mentions):
    result = Annotations()
    for mention in mentions:
        result.add(mention)
    return result


def test_confusion_pairs_equal_types_first():
    gold = annotations(Mention("p", "Rio", "LOC"), Mention("p", "Rio", "PER"), Mention("p", "Ann", "PER"))
    ours = annotations(Mention("p", "Rio", "PER"), Mention("p", "Rio", "ORG"), Mention("p", "x", "ORG"))
    scores = score(ours, gold, MatchOptions(rule="text"))
    assert confuse_types(scores.groups, scores.options) == {
        ("PER", "PER"): 1,
        ("LOC", "ORG"): 1,
        ("PER", MISSED): 1,
        (SPURIOUS, "ORG"): 1,
    }


def test_posts_are_ranked_by_errors():
    gold = annotations(*(Mention(post, text, "PER") for post in "abc" for text in "xy"))
    ours = annotations(Mention("a", "x", "PER"), Mention("a", "y", "PER"), Mention("b", "x", "PER"), Mention("c", "q", "PER"))
    task, ranked = rank_posts(score(ours, gold, MatchOptions(rule="text")))
    assert task == "mner" and [(post.post, post.errors) for post in ranked] == [("c", 3), ("b", 1), ("a", 0)]


def test_names_in_a_plot_are_text():
    plot = line_plot({"<b>a&b": [0.0, 1.0], '"c"': [1.0, 0.5]}, [0.1, 0.9], "<x>", "y & z")
    root = ElementTree.fromstring(plot)
    said = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert {"<b>a&b", '"c"', "<x>", "y & z"} <= set(said)
    assert {element.tag.rpartition("}")[2] for element in root.iter()} == {"svg", "line", "text", "polyline", "rect"}
