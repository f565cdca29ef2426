"""A pipeline that is quick to load, with posts that slow it down, hold it, break it or kill its process."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc


@Language.component("tests_trouble")
def trouble(doc: Doc) -> Doc:
    """What the text says happens."""
    if "SLOW" in doc.text:
        time.sleep(0.02)
    if "WAIT" in doc.text:
        # What the test wants to kill is at work for certain, until the test makes this file.
        go = Path(f"{doc._.knowledge}-{doc.text.split()[-1]}")
        until = time.monotonic() + 120
        while not go.exists() and time.monotonic() < until:
            time.sleep(0.01)
    if "KILL" in doc.text:
        os.kill(os.getpid(), signal.SIGKILL)
    if "ONCE" in doc.text:
        mark = Path(doc._.knowledge)
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return doc


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a pipeline that finds Ada."""
    nlp = spacy.blank("rivega")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": "Ada"}])
    nlp.add_pipe("tests_trouble")
    folder = tmp_path_factory.mktemp("pipeline")
    nlp.to_disk(folder)
    return str(folder)


@pytest.fixture
def write_posts(tmp_path: Path) -> Callable[..., Path]:
    """Writes so many posts to posts.jsonl, some with another text."""

    def write(count: int, texts: dict[int, str] | None = None, **fields: Any) -> Path:
        path = tmp_path / "posts.jsonl"
        with path.open("w", encoding="utf8") as lines:
            for number in range(count):
                text = (texts or {}).get(number, f"Ada sang song {number}")
                lines.write(json.dumps({"id": str(number), "text": text, **fields}) + "\n")
        return path

    return write
