"""The model hub is asked only if RIVEGA_HUB says so: by networks, encoders, vocabularies and segmenters alike."""

import os
import socket
import sys
from pathlib import Path

import pytest
from blank import blank_nlp

from rivega_spacy.post.errors import RivegaError
from rivega_spacy.post.hub import hub_allowed, local_only

NAME = "nobody-at-all/no-such-model"
PARTS = {
    "rivega_entailment": ({"@architectures": "rivega.ITMEntailment.v1", "path": NAME}, "E732"),
    "rivega_grounder": ({"@architectures": "rivega.OWLv2.v1", "path": NAME}, "E732"),
    "rivega_segmenter": ({"@misc": "rivega.HFSam.v1", "name": NAME}, "E326"),
    "transformer": ({"@architectures": "rivega.KnowledgeTransformerModel.v1", "name": NAME}, "E104"),
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hosts that anybody wanted to reach."""
    hosts: list[str] = []

    def refuse(host: str, *arguments: object, **options: object) -> None:
        hosts.append(str(host))
        raise socket.gaierror("no network in tests")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.delenv("RIVEGA_HUB", raising=False)
    return hosts


def load(name: str, code: str) -> None:
    model, _ = PARTS[name]
    if name == "rivega_segmenter":
        from rivega_spacy.backends.sam.hf_segmenter import load_hf_sam

        load_hf_sam(model["name"])
    else:
        nlp = blank_nlp()
        nlp.add_pipe(name, config={"model": model}).initialize(list, nlp=nlp)


@pytest.mark.parametrize("name", PARTS)
def test_a_name_is_not_asked_for_and_the_error_says_how(name: str, asked: list[str]) -> None:
    code = PARTS[name][1]
    with pytest.raises(RivegaError, match="RIVEGA_HUB=1") as caught:
        load(name, code)
    assert code in str(caught.value) and NAME in str(caught.value)
    assert asked == []


@pytest.mark.parametrize("imported", [True, False])
def test_the_client_tells_the_hub_nothing_of_its_user(imported: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client of version 2.4 asks the hub what to tell, even for files of this machine."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", False)
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "0")
    if not imported:
        monkeypatch.delitem(sys.modules, "huggingface_hub.constants")
    monkeypatch.setenv("RIVEGA_HUB", "1")
    assert not local_only() and os.environ["HF_HUB_DISABLE_TELEMETRY"] == "0" and not constants.HF_HUB_DISABLE_TELEMETRY
    monkeypatch.delenv("RIVEGA_HUB")
    assert local_only() and os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert constants.HF_HUB_DISABLE_TELEMETRY is imported


def test_albef_s_vocabulary_neither(asked: list[str]) -> None:
    from rivega_spacy.backends.albef.text import read_vocab

    with pytest.raises(RivegaError, match="E732"):
        read_vocab(NAME)
    assert asked == []


@pytest.mark.parametrize("said", ["1", "true", "ON"])
def test_said_so_it_is_asked(said: str, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    from huggingface_hub import constants

    from rivega_spacy.backends.sam.hf_segmenter import load_hf_sam

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    # The hub's client waits longer and longer between its tries.
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setenv("RIVEGA_HUB", said)
    assert not local_only()
    with pytest.raises(RivegaError, match="E326"):
        load_hf_sam(NAME)
    assert asked != []
    count = len(asked)
    with pytest.raises(RivegaError, match="E326"):
        load_hf_sam(NAME, local_files_only=True)
    assert len(asked) == count


def test_tables_allow_it_for_their_trainings_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RIVEGA_HUB", raising=False)
    with hub_allowed(True):
        assert not local_only()
    assert local_only()
    with hub_allowed(False):
        assert local_only()
