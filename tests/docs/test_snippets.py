"""What the pages show is run, in its order, with the shipped pipeline; configs are resolved as far as files allow. A block under a comment
`<!-- not run: reason -->` is left out."""

import inspect
import re
import shlex
import shutil
from itertools import accumulate, islice
from pathlib import Path

import pytest
import spacy
from thinc.api import Config

from rivega_spacy.cli import main
from rivega_spacy.post.posts import annotate, read_posts

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"(<!-- not run: [^>]+ -->\n)?^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not spacy.util.is_package("rivega_twitter"), reason="rivega_twitter is not installed: pip install ./assets/rivega_twitter"
    ),
]


def blocks(page: str, *kinds: str) -> list[tuple[str, str]]:
    text = (ROOT / page).read_text(encoding="utf8")
    return [(kind, code) for reason, kind, code in BLOCK.findall(text) if not reason and kind in kinds]


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/tutorial.md"])
def test_python_runs(page, monkeypatch, capsys):
    # The tutorial's reader has copied the pictures to where they are.
    monkeypatch.chdir(ROOT / "assets" / "demo" / "images" if "tutorial" in page else ROOT)
    found = blocks(page, "python")
    assert found
    names: dict[str, object] = {}
    for _, code in found:
        exec(compile(code, page, "exec"), names)  # the project's own pages
    shown = capsys.readouterr().out
    assert "True [" in shown  # an entity that the picture shows, and its box


@pytest.fixture(scope="module")
def docs():
    """Two posts of the demo, through the shipped pipeline."""
    folder = ROOT / "assets" / "demo"
    posts = list(islice(read_posts(folder / "posts.jsonl"), 2))
    return list(annotate(spacy.load("rivega_twitter"), posts, images=folder))


@pytest.mark.parametrize("page", sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")))
def test_python_of_other_pages_runs(page, docs, tmp_path, monkeypatch):
    found = blocks(page, "python")
    if not found or page in ("docs/index.md", "docs/tutorial.md"):
        pytest.skip("has no Python that is run by itself")
    monkeypatch.chdir(tmp_path)
    Path("passages.txt").write_text("Grace Hopper wrote one of the first compilers.\n", encoding="utf8")
    assert main(["index", "passages.txt", "collection.sqlite"]) == 0
    # What a reader has at that place: a loaded pipeline and posts that went through it.
    names: dict[str, object] = {"spacy": spacy, "nlp": spacy.blank("rivega"), "docs": docs, "doc": docs[0]}
    for _, code in found:
        exec(compile(code, page, "exec"), names)


@pytest.mark.parametrize("page", sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")))
def test_config_snippets_name_what_exists(page):
    for kind, code in blocks(page, "ini"):
        config = Config().from_str(with_parents(code), interpolate=False)
        assert kind == "ini" and config
        for block in registered(config):
            (marker,) = (key for key in block if key.startswith("@"))
            function = getattr(spacy.registry, marker[1:]).get(block[marker])
            takes = inspect.signature(function).parameters
            assert set(block) - {marker} <= set(takes) or any(each.kind is each.VAR_KEYWORD for each in takes.values()), block


def with_parents(code):
    """A part of a config with the headings that stand above it in the whole."""
    wanted = [
        name for part in re.findall(r"^\[(.+)\]$", code, re.MULTILINE) for name in accumulate(part.split("."), "{}.{}".format)
    ]
    there = set(re.findall(r"^\[(.+)\]$", code, re.MULTILINE))
    return "".join(f"[{name}]\n" for name in dict.fromkeys(wanted) if name not in there) + code


def registered(config):
    """Blocks of a config that call a registered function."""
    for value in config.values():
        if isinstance(value, dict):
            if any(key.startswith("@") for key in value):
                yield value
            yield from registered(value)


def test_the_tutorial_from_an_empty_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "assets" / "demo", tmp_path / "assets" / "demo")
    for kind, code in blocks("docs/tutorial.md", "bash", "json"):
        if kind == "json":
            Path("posts.jsonl").write_text(code, encoding="utf8")
            continue
        for line in code.splitlines():
            words = shlex.split(line.split("#")[0])
            for command in " ".join(words).split(" && "):
                first, *rest = command.split()
                if first == "mkdir":
                    Path(rest[0]).mkdir()
                elif first == "cd":
                    monkeypatch.chdir(rest[0])
                elif first == "cp":
                    for name in rest[:-1]:
                        shutil.copy(name, rest[-1])
                else:
                    assert first == "rivega"
                    assert main(rest) == 0, capsys.readouterr().err
    made = {path.name for path in Path.cwd().iterdir()}
    assert {"out.jsonl", "pages", "coco.json", "entities.csv"} <= made
