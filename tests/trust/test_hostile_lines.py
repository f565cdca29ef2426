"""A file of posts in which most lines are damaged, as `benchmarks/fuzz.py lines` makes a hundred thousand of."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from fuzz import fuzz_lines


def test_every_line_has_its_result_in_order(capsys):
    assert fuzz_lines(1_200, seed=1) == 0
    assert capsys.readouterr().out.startswith("1200 lines")
