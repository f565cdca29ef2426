"""What a pipeline has with it when it is given out: a licence, a card, its name and version, and nothing that may not be passed on."""

import json
from pathlib import Path

import pytest
import spacy
from packaging.requirements import Requirement

from rivega_spacy import __version__
from rivega_spacy.jobs.finishing import CARD, LICENCE, WORDNET, finish
from rivega_spacy.jobs.packaging import package
from rivega_spacy.post.digests import DIGESTS, find_unreadable
from rivega_spacy.post.errors import RivegaError

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "assets" / "rivega_twitter"


@pytest.fixture
def trained(pipeline: str, tmp_path: Path) -> Path:
    """A pipeline as training leaves it: with the words of its texts, and paths of its machine."""
    nlp = spacy.load(pipeline)
    nlp.vocab.strings.add("Zyxwvut")
    nlp.config["paths"]["train"] = "/home/Zyxwvut/posts"
    nlp.to_disk(tmp_path / "trained")
    return tmp_path / "trained"


def test_a_finished_pipeline_can_be_given_out(trained, tmp_path):
    (tmp_path / "test.json").write_text('{"f1": 0.5}', encoding="utf8")
    said = finish(trained, name="tiny", version="0.7.1", metrics=[tmp_path / "test.json"])
    assert said.endswith("no pickle") and str(trained) in said
    meta = json.loads((trained / "meta.json").read_text(encoding="utf8"))
    assert (meta["name"], meta["version"], meta["license"]) == ("tiny", "0.7.1", "Apache-2.0")
    assert meta["performance"]["test"] == {"f1": 0.5}
    assert not [path for path in trained.rglob("*") if path.is_file() and b"Zyxwvut" in path.read_bytes()]
    nlp = spacy.load(trained)
    assert [(ent.text, ent.label_) for ent in nlp("Ada sang").ents] == [("Ada", "PER")]
    # Licences are texts: whoever adds a line to one has not damaged the pipeline.
    assert {"LICENSE", "LICENSES_SOURCES", "README.md"} < {path.name for path in trained.iterdir()}
    assert not [name for name in json.loads((trained / DIGESTS).read_text(encoding="utf8")) if name.startswith("LICENSE")]
    (trained / DIGESTS).unlink()
    assert find_unreadable(trained) is None


@pytest.mark.slow
def test_its_package_has_the_licences_where_wheels_are_built(trained, tmp_path):
    finish(trained, name="tiny", version="0.7.1")
    (tmp_path / "out" / "rivega_tiny").mkdir(parents=True)
    (tmp_path / "out" / "rivega_tiny" / "old").touch()
    target = package(trained, tmp_path / "out")
    assert target == tmp_path / "out" / "rivega_tiny" and not (target / "old").exists()
    for name in ("LICENSE", "LICENSES_SOURCES", "README.md"):
        assert (target / name).read_bytes() == (target / "rivega_tiny" / "rivega_tiny-0.7.1" / name).read_bytes()
    metas = {path.read_bytes() for path in target.rglob("meta.json")}
    assert len(metas) == 1
    (own,) = (Requirement(line) for line in json.loads(metas.pop())["requirements"])
    major, minor = (int(part) for part in __version__.split(".")[:2])
    assert own.name == "rivega_spacy" and own.specifier.contains(__version__)
    assert not own.specifier.contains(f"{major}.{minor - 1}.9") and not own.specifier.contains(f"{major}.{minor + 1}.0")


@pytest.mark.parametrize("bad, code", [(b"\x80\x04N.", "E269"), (b"PK data.pkl", "E269"), (bytes(80_000_001), "E268")])
@pytest.mark.slow
def test_what_must_not_be_given_out_is_refused(trained, bad, code):
    (trained / "more").write_bytes(bad)
    with pytest.raises(RivegaError, match=code):
        finish(trained, name="tiny", version="0.7.1")


def test_what_was_given_out_is_what_finishing_writes(trained):
    """It fails where a text of the shipped pipeline was changed by hand in one place alone: the next release would lose the change."""
    assert LICENCE.read_bytes() == (ROOT / "LICENSE").read_bytes()
    finish(trained, name="twitter", version=__version__)
    (inner,) = SHIPPED.glob("rivega_twitter/rivega_twitter-*")
    for name in ("LICENSE", "LICENSES_SOURCES", "README.md"):
        assert (trained / name).read_bytes() == (SHIPPED / name).read_bytes() == (inner / name).read_bytes(), name


def test_works_behind_the_weights_have_their_licences_with_them():
    sources = (SHIPPED / "LICENSES_SOURCES").read_text(encoding="utf8")
    for row in json.loads((ROOT / "ci" / "weights_data.json").read_text(encoding="utf8")):
        if "weights)" in row["name"] or "WordNet" in row["name"]:
            assert row["name"].partition(" (")[0] in sources
            assert all(f"`{part}`" in sources for part in row["behind"] if part != "rivega_ner"), row["name"]
    assert sources.endswith(WORDNET.read_text(encoding="utf8"))
    assert CARD.read_text(encoding="utf8").count("LICENSES_SOURCES") == 1
