"""What the tests of the language model clients share."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rivega_spacy.llm.base import ChatRequest, Message

from .servers import RealServer, Unavailable, save_tiny_llama


class FakeTime:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def fake_time() -> FakeTime:
    return FakeTime()


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may use, or reach, what the developer's environment names."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "RIVEGA_KEY_CONSENT", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def ask() -> Callable[..., ChatRequest]:
    """A question."""

    def make(text: str = "Which names?", **options: Any) -> ChatRequest:
        options = {"max_tokens": 16, "prompt": "knowledge", "version": "v", **options}
        return ChatRequest((Message("system", "Be brief."), Message("user", text)), **options)

    return make


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of 30,000 weights."""
    return save_tiny_llama(tmp_path_factory.mktemp("tiny-llama"))


@pytest.fixture(scope="session")
def real_server(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """A real OpenAI-compatible server with that Llama; skips where it cannot be installed."""
    try:
        server = RealServer(tiny_llama, tmp_path_factory.mktemp("server") / "server.log")
    except Unavailable as reason:
        pytest.skip(str(reason))
    yield server
    server.close()
