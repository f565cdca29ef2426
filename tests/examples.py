"""How many examples Hypothesis tries: as many as a test says, times RIVEGA_EXAMPLES (a tenth in `make test-fast`; see benchmarks/RESULTS.md for long runs)."""

import os

from hypothesis import settings

FACTOR = float(os.environ.get("RIVEGA_EXAMPLES") or 1)


def scaled(count: int) -> int:
    """So many examples under RIVEGA_EXAMPLES, and one at least."""
    return max(1, round(count * FACTOR))


def examples(count: int) -> settings:
    """A test's decorator: so many examples, or more or fewer if RIVEGA_EXAMPLES says so."""
    return settings(max_examples=scaled(count))
