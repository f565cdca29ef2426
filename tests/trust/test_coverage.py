"""How much of the package the tests run is measured by each `make test`, and too little fails it."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from ci_scripts import script

ROOT = Path(__file__).resolve().parents[2]
COVERAGE = script("coverage")
WHY = {"why": "It needs a cluster."}


def measured(**percents: float) -> dict[str, tuple[int, int]]:
    """Files of a thousand lines, of which so many percent ran."""
    return {f"rivega_spacy/{name}.py": COVERAGE.Ran(1000, round(1000 - 10 * percent)) for name, percent in percents.items()}


def faults(files, reasons=None, sources=None):
    return COVERAGE.faults(files, reasons or {}, set(files) if sources is None else sources)


def test_enough_is_enough():
    files = measured(one=100, two=95, three=90)
    assert COVERAGE.total(files).percent == 95 and faults(files) == []
    assert faults({**files, "rivega_spacy/empty.py": COVERAGE.Ran(0, 0)}) == []


def test_less_than_the_floor_of_all_files_together_is_too_little():
    (fault,) = faults(measured(one=100, two=89.9))
    assert "94.95 %" in fault and "95 %" in fault
    # Never rounded up to what it is not.
    (fault,) = faults({"rivega_spacy/one.py": COVERAGE.Ran(1_000_000, 50_001)})
    assert "94.99 %" in fault


def test_a_file_below_its_floor_has_a_reason():
    files = measured(one=79.9, **{f"good{number}": 100 for number in range(9)})
    (fault,) = faults(files)
    assert fault.startswith("rivega_spacy/one.py: 79.90 % of 1000 lines")
    assert faults(files, {"rivega_spacy/one.py": WHY}) == []
    (fault,) = faults(files, {"rivega_spacy/one.py": {"why": " "}})
    assert "no reason for rivega_spacy/one.py" in fault


def test_a_reason_that_is_not_needed_any_more_is_a_fault():
    files = measured(one=80, **{f"good{number}": 100 for number in range(9)})
    assert faults(files) == []
    (fault,) = faults(files, {"rivega_spacy/one.py": WHY})
    assert "take its reason out" in fault
    # But for what a machine has and CI need not have: a package, or a folder beside the checkout.
    for there, gone in (("pytest", "no_package_of_this_name"), ("ci/coverage.py", "../no_folder_of_this_name/data")):
        assert faults(files, {"rivega_spacy/one.py": {**WHY, "reached_with": there}}) == []
        assert len(faults(files, {"rivega_spacy/one.py": {**WHY, "reached_with": gone}})) == 1
    (fault,) = faults(files, {"rivega_spacy/gone.py": WHY})
    assert "rivega_spacy/gone.py, which is not there" in fault


def test_a_measure_of_other_files_does_not_count():
    files = measured(one=100)
    (fault,) = faults(files, sources={*files, "rivega_spacy/new.py"})
    assert "rivega_spacy/new.py was not measured" in fault
    (fault,) = faults(files, sources=set())
    assert "rivega_spacy/one.py was measured and is not there" in fault


def test_the_table_names_the_least_covered_first_and_why():
    files = measured(one=50, two=20, three=99)
    head, *rows = COVERAGE.table(files, {"rivega_spacy/two.py": WHY}).splitlines()
    assert "56.33 % of 3,000 lines" in head and "2 of 3 files" in head
    assert [row.split() for row in rows] == [
        ["20.00", "%", "800", "lines", "two.py:", "It", "needs", "a", "cluster."],
        ["50.00", "%", "500", "lines", "one.py:", "no", "reason", "given"],
    ]


def test_the_command_fails_where_something_is_wrong(tmp_path, capsys):
    assert COVERAGE.main([str(tmp_path / "none.json")]) == 1 and "`make test` writes it" in capsys.readouterr().out
    reasons = json.loads(COVERAGE.REASONS.read_text(encoding="utf8"))
    rows = {
        name: {"executed_lines": [] if name in reasons else list(range(1, 101)), "missing_lines": [101]}
        for name in COVERAGE.sources()
    }
    path = tmp_path / "measure.json"
    path.write_text(json.dumps({"files": rows}), encoding="utf8")
    assert COVERAGE.main([str(path)]) == 0 and "below 80 %" in capsys.readouterr().out
    del rows["rivega_spacy/__init__.py"]
    path.write_text(json.dumps({"files": rows}), encoding="utf8")
    assert COVERAGE.main([str(path)]) == 1 and "rivega_spacy/__init__.py was not measured" in capsys.readouterr().out


def test_reasons_are_sentences_about_files_that_are_there():
    reasons = json.loads(COVERAGE.REASONS.read_text(encoding="utf8"))
    assert list(reasons) == sorted(reasons) and set(reasons) <= COVERAGE.sources()
    for name, reason in reasons.items():
        why = reason["why"]
        assert set(reason) <= {"why", "reached_with"} and why[0].isupper() and why.endswith(".") and len(why.split()) > 3, name


PACKAGE = {
    "rivega_spacy/__init__.py": "",
    "rivega_spacy/never.py": "import os\n",
    "rivega_spacy/some.py": """\
        from typing import TYPE_CHECKING, overload

        if TYPE_CHECKING:
            import os

        @overload
        def first(x: int) -> int: ...
        @overload
        def first(x: str) -> str:
            ...
        def first(x):
            return x

        def second():
            return 2

        def third():
            raise NotImplementedError

        def fourth():
            return 4
        """,
    "tests/test_first.py": """\
        from pathlib import Path
        from rivega_spacy.some import first

        def test_first(worker_id):
            assert Path(first(worker_id)).touch() is None
        """,
    "tests/test_second.py": """\
        from pathlib import Path
        from rivega_spacy.some import second

        def test_second(worker_id):
            assert Path(worker_id).touch() is None and second() == 3
        """,
}


@pytest.mark.slow
def test_workers_are_measured_together_and_what_is_not_imported_counts(tmp_path):
    """By the settings of this project, over a package of that name: `make test` in small."""
    pytest.importorskip("slipcover", reason="pip install -e '.[test]'")
    for name, text in PACKAGE.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf8")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    # Nothing of the run that this test is part of, which may be measured itself.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLIPCOVER", "PYTEST", "COV_"))}
    command = [sys.executable, "-m", "slipcover", "-m", "pytest", "-n", "2", "--dist", "load", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, env={**environment, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    # A failed test is the status that pytest alone would have had, and leaves the measure good.
    assert done.returncode == 1 and "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert {path.name for path in tmp_path.glob("gw*")} == {"gw0", "gw1"}
    files = json.loads((tmp_path / ".coverage.json").read_text(encoding="utf8"))["files"]
    assert set(files) == {name for name in PACKAGE if name.startswith("rivega_spacy")}
    assert files["rivega_spacy/never.py"]["executed_lines"] == [] and files["rivega_spacy/never.py"]["missing_lines"] == [1]
    lines = textwrap.dedent(PACKAGE["rivega_spacy/some.py"]).splitlines()
    ran, missing = (
        [lines[line - 1].strip() for line in files["rivega_spacy/some.py"][key]] for key in ("executed_lines", "missing_lines")
    )
    assert missing == ["return 4"] and "return x" in ran and "return 2" in ran
    assert not [line for line in ran + missing if line in ("...", "import os", "@overload", "raise NotImplementedError")]
    assert COVERAGE.files_of({"files": files})["rivega_spacy/never.py"] == COVERAGE.Ran(1, 1)


@pytest.fixture
def make(tmp_path):
    """`make` over the Makefile, with a Python that writes down what it is told to run, and ends with the statuses given for it."""
    if shutil.which("make") is None:
        pytest.skip("needs make")
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("setup.cfg", "constraints.txt"):
        (tmp_path / name).touch()
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        '#!/bin/sh\necho "$@" >> said\ncase "$*" in\n*slipcover*) exit $FIRST;;\n*last-failed*) exit $AGAIN;;\n*) exit $CHECK;;\nesac\n'
    )
    python.chmod(0o755)
    for name in (".venv", ".demo", ".test"):
        (tmp_path / "venv" / name).touch()

    def run(target: str, first: int = 0, again: int = 0, check: int = 0, options: str = "") -> tuple[bool, list[str]]:
        (tmp_path / "said").write_text("")
        told = {"FIRST": str(first), "AGAIN": str(again), "CHECK": str(check), "PYTEST_ADDOPTS": options, "MAKEFLAGS": ""}
        done = subprocess.run(["make", "VENV=venv", target], cwd=tmp_path, env={**os.environ, **told}, capture_output=True)
        names = {"slipcover": "first", "last-failed": "again", "ci/coverage.py": "check"}
        said = (tmp_path / "said").read_text().splitlines()
        return done.returncode == 0, [next((name for word, name in names.items() if word in line), "other") for line in said]

    return run


@pytest.mark.slow
def test_no_status_is_lost_on_the_way(make):
    assert make("tests") == (True, ["first", "check"])
    assert make("tests", check=1) == (False, ["first", "check"])
    # Failed tests run again, and the measure is that of the first run.
    assert make("tests", first=1) == (True, ["first", "again", "check"])
    assert make("tests", first=1, again=1) == (False, ["first", "again"])
    assert make("tests", first=1, check=1) == (False, ["first", "again", "check"])
    # Interrupted, an error of pytest itself, nothing collected, killed.
    for status in (2, 3, 4, 5, 137):
        assert make("tests", first=status) == (False, ["first"])


@pytest.mark.slow
def test_a_part_of_the_tests_is_not_judged(make):
    assert make("tests", options="-k images") == (True, ["first"])
    assert make("test-fast") == (True, ["other"])
