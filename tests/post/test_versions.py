"""What differs between versions of libraries is kept in one place."""

import pickle

import catalogue
import pytest
import torch

from rivega_spacy.post import versions


def test_versions_are_numbers():
    assert versions.installed("no-package-of-this-name") == ()
    assert versions.installed("torch")[:1] == (int(torch.__version__.partition(".")[0]),)


def names(points):
    """The values of entry points, in either form that catalogue has them in."""
    return [point.value for point in (sum(map(list, points.values()), []) if isinstance(points, dict) else points)]


@pytest.mark.parametrize("form", ["as it is", "dict"])
def test_a_spacy_transformers_that_cannot_be_imported_is_looked_past(form, monkeypatch):
    found = catalogue.AVAILABLE_ENTRY_POINTS
    if form == "dict" and not isinstance(found, dict):
        found = {group: tuple(found.select(group=group)) for group in found.groups}
    points = dict(found) if isinstance(found, dict) else found
    monkeypatch.setattr(catalogue, "AVAILABLE_ENTRY_POINTS", points)
    before = names(points)
    assert any(value.startswith("spacy_transformers") for value in before)
    versions.set_aside_spacy_transformers()
    assert names(catalogue.AVAILABLE_ENTRY_POINTS) == before or not versions.spacy_transformers_fits()
    monkeypatch.setattr(versions, "spacy_transformers_fits", lambda: False)
    versions.set_aside_spacy_transformers()
    assert names(catalogue.AVAILABLE_ENTRY_POINTS) == [value for value in before if not value.startswith("spacy_transformers")]


def test_hooks_of_transformers_5_do_not_keep_a_network_from_worker_processes():
    def hook(module, given, output):
        return None

    hook.__module__ = "transformers.utils.output_capturing"
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    assert versions.picklable(network) is network and versions.picklable(None) is None
    network[0].register_forward_hook(hook)
    setattr(network, versions._HOOKED, True)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(network)
    light = versions.picklable(network)
    again = pickle.loads(pickle.dumps(light))
    assert torch.equal(again[0].weight, network[0].weight) and not getattr(again, versions._HOOKED)
    # The tensors are shared, and the network keeps its hooks.
    assert light[0].weight is network[0].weight and light[1].running_mean is network[1].running_mean
    assert len(network[0]._forward_hooks) == 1 and getattr(network, versions._HOOKED)
