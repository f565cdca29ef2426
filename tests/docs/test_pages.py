"""README and docs: links lead somewhere, snippets are Python, commands take the options that are shown, every page is in the site."""

import re
import shlex
from pathlib import Path

import pytest
from typer import Exit

from rivega_spacy.cli.commands import COMMANDS, is_group
from rivega_spacy.cli.lazy import load

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def ids(page):
    return page.relative_to(ROOT).as_posix()


def anchors(page):
    """As git hosts and MkDocs make them of headings, and those that stand in the text."""
    text = page.read_text(encoding="utf8")
    found = set(re.findall(r'<a id="([^"]+)"', text))
    for heading in re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE):
        plain = re.sub(r"[`*_]|\[([^\]]*)\]\([^)]*\)", lambda match: match.group(1) or "", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_somewhere(page):
    broken = []
    for target in LINK.findall(re.sub(r"```.*?```", "", page.read_text(encoding="utf8"), flags=re.DOTALL)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        known = file.exists() and (not anchor or file.suffix != ".md" or anchor in anchors(file))
        if not known:
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_python_is_python(page):
    for kind, block in BLOCK.findall(page.read_text(encoding="utf8")):
        if kind == "python":
            compile(block, str(page), "exec")


def commands(page):
    """`rivega ...` lines of shell blocks, comments and pipes cut off."""
    for kind, block in BLOCK.findall(page.read_text(encoding="utf8")):
        if kind not in ("bash", "sh", "shell", "console"):
            continue
        for line in block.replace("\\\n", " ").splitlines():
            words = line.strip().removeprefix("$ ")
            if words.startswith("rivega "):
                yield words


def problem(line):
    """What the command line says of a call that the pages show; None where it can be called so."""
    words = shlex.split(re.split(r"\s[|<>&]", line)[0], comments=True)[1:]
    if not words or words[0].startswith("-"):
        return None
    name = " ".join(words[:2]) if is_group(words[0]) else words[0]
    if name not in COMMANDS:
        return f"there is no command {name!r}"
    try:
        load(name).make_context(name, words[len(name.split()) :])
    except Exit:  # --help
        return None
    except Exception as error:  # what Click says of unknown options and values
        return getattr(error, "message", "") or repr(error)
    return None


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_commands_can_be_called_as_they_are_shown(page):
    wrong = {line: told for line in commands(page) if (told := problem(line)) is not None}
    assert wrong == {}


def test_every_page_is_in_the_site():
    nav = set(re.findall(r"- (\w+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf8"), re.MULTILINE))
    assert nav == {page.name for page in (ROOT / "docs").glob("*.md")}


def test_the_table_of_networks_names_what_can_be_configured():
    page = (ROOT / "docs" / "backends.md").read_text(encoding="utf8")
    rows = re.search(r"^\| network \|.*\n\|[-|]+\n((?:\|.*\n)+)", page, re.MULTILINE)
    assert rows is not None
    names = [name for row in rows[1].splitlines() for name in re.findall(r"`(\w+(?:\.v\d)?)`", row.split("|")[2])]
    known = re.findall(r"^    rivega\.(\S+) =", (ROOT / "setup.cfg").read_text(encoding="utf8"), re.MULTILINE)
    assert len(names) > 15 and {name if "." in name else f"{name}.v1" for name in names} <= set(known)
