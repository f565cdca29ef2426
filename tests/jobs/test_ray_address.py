"""Which cluster the engine on Ray goes to, without Ray."""

import sys
from types import SimpleNamespace

import pytest

from rivega_spacy.jobs.bulk.ray_engine import RayEngine


@pytest.mark.parametrize(
    "given, named, reached",
    [(None, None, "local"), ("10.0.0.1:6379", None, "10.0.0.1:6379"), (None, "10.0.0.2:6379", "10.0.0.2:6379"), ("auto", "10.0.0.2:6379", "auto"), (None, "", "local")],
)  # fmt: skip
def test_a_cluster_that_is_named_gets_no_sizes(given, named, reached, monkeypatch):
    """Ray refuses them for a cluster that is there, also where its own variable names it, or where it was started on this machine by somebody else."""
    asked = {}
    ray = SimpleNamespace(
        is_initialized=lambda: bool(asked), init=lambda **options: asked.update(options), cluster_resources=lambda: {"CPU": 2.0},
        remote=lambda **options: lambda actor: actor, shutdown=lambda: None,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "ray", ray)
    if named is None:
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
    else:
        monkeypatch.setenv("RAY_ADDRESS", named)
    monkeypatch.setenv("RAY_worker_niceness", "0")
    RayEngine(SimpleNamespace(), address=given).close()
    assert asked.get("address") == reached and ("num_cpus" in asked) == (reached == "local")
