"""Files of posts in which most lines are damaged, through all that reads such files, as `benchmarks/fuzz.py` makes a hundred thousand of."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from fuzz_lines import fuzz_convert, fuzz_lines, fuzz_queue
from fuzz_service import fuzz_service


@pytest.mark.slow
@pytest.mark.parametrize("fuzz, count", [(fuzz_lines, 1_200), (fuzz_convert, 1_200), (fuzz_queue, 1_200), (fuzz_service, 1_200)])
def test_every_line_has_its_result_in_order(fuzz, count, capsys):
    assert fuzz(count, seed=1) == 0
    assert f"\n{count} lines" in "\n" + capsys.readouterr().out
