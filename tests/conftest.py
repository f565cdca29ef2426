"""Fixtures that several test modules share."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import driver  # noqa: F401
from examples import scaled
from hypothesis import HealthCheck, settings

# A busy machine is no failure: no limit of time for an example, nor for how long Hypothesis takes to find some.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=scaled(100))
settings.load_profile("patient")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session", autouse=True)
def tests_leave_nothing_in_the_checkout() -> Iterator[None]:
    """Files and folders beside the package are the same afterwards, those that git ignores too; caches of tools begin with a dot."""

    def visible() -> set[str]:
        return {path.name for path in ROOT.iterdir() if not path.name.startswith((".", "__"))}

    before = visible()
    yield
    assert visible() <= before


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The development data folder beside the checkout; skips where it is not at hand."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the development data folder ../shared, which does not ship with the project")
    return SHARED


@pytest.fixture
def picture() -> np.ndarray:
    """A small picture with structure: 48 x 64 x 3 uint8."""
    rng = np.random.default_rng(0)
    image = np.zeros((48, 64, 3), dtype="uint8")
    image[:, :, 0] = np.linspace(0, 255, 64, dtype="uint8")[None, :]
    image[10:30, 20:50] = (200, 40, 40)
    return np.clip(image + rng.integers(0, 20, image.shape), 0, 255).astype("uint8")
