"""Every test that docs/guarantees.md names is there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_promise_names_tests_that_exist():
    text = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf8")
    promises = [line.split(" | ") for line in text.partition("\n## ")[0].splitlines() if line.startswith("| ")][1:]
    assert len(promises) > 15
    for promise, held in promises:
        named = re.findall(r"`([\w/.]+)[^`]*`", held)
        assert named, promise
        for name in named:
            path = ROOT / name if name.startswith("benchmarks/") else ROOT / "tests" / name
            assert path.is_file() or any(path.glob("test_*.py")), f"{name} does not exist: {promise}"
