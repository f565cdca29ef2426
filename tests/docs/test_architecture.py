"""docs/architecture.md against the code: its rooms are those of the import contract, and every file and name that it mentions exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf8")
MENTIONED = sorted(set(re.findall(r"`([\w/]+\.py)(?:: (\w+))?`", PAGE)))
# What a reader would add, in "Adding a grounder".
IMAGINED = {"backends/finder/grounder.py", "tests/backends/finder/test_grounder.py"}


def test_rooms_are_those_of_the_contract_in_its_order():
    # tomllib is new in Python 3.11; the layers are a list of plain strings.
    layers = re.search(r"^layers = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(encoding="utf8"), re.MULTILINE | re.DOTALL)
    wanted = [sorted(layer.split(" | ")) for layer in re.findall(r'"([^"]+)"', layers.group(1)) if layer != "__main__"]
    rows = [row.split(" | ")[0] for row in PAGE.splitlines() if re.match(r"\| `\w+/`.* \| [\d,]+ \|", row)]
    assert [sorted(re.findall(r"`(\w+)/`", row)) for row in rows] == wanted


def test_files_and_names_exist():
    missing = []
    for name, thing in MENTIONED:
        if name in IMAGINED:
            continue
        places = [ROOT / "rivega_spacy" / name, ROOT / name] if "/" in name else (ROOT / "rivega_spacy").rglob(name)
        found = [place for place in places if place.is_file()]
        names = {getattr(node, "name", None) for place in found for node in ast.parse(place.read_text(encoding="utf8")).body}
        if not found or (thing and thing not in names):
            missing.append(f"{name}: {thing}")
    assert missing == []
