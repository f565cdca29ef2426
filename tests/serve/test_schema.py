"""The API against its own OpenAPI document: schemathesis makes requests of all kinds, valid and not, and compares what comes with what is promised.

Not among the packages that tests need: `pip install schemathesis`, or this is skipped. RIVEGA_EXAMPLES=20 tries twenty times as many requests.
"""

import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from examples import scaled
from hypothesis import HealthCheck, settings

from rivega_spacy.serve.app import create_app
from rivega_spacy.serve.correcting import CorrectionQueue
from rivega_spacy.serve.limits import Limits

from .conftest import encoded, make_pipeline

schemathesis = pytest.importorskip("schemathesis")
FOLDER = tempfile.TemporaryDirectory()
POSTS = Path(FOLDER.name, "posts.jsonl")
POSTS.write_text('{"id": "1", "text": "Ann met Rio", "image": "a.png"}\n{"id": "2", "text": "Zoo"}\n', encoding="utf8")
POSTS.with_name("a.png").write_bytes(encoded())
QUEUE = CorrectionQueue(POSTS, POSTS.with_name("corrected.jsonl"))
APP = create_app(make_pipeline(), limits=Limits(text=2000, wait=0.0), hosts=["testserver"], queue=QUEUE)


@asynccontextmanager
async def nothing(app):
    yield


# schemathesis begins and ends the app with every request; here its thread is begun and ended once.
APP.router.lifespan_context = nothing
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", APP)
# By design: what cannot be used of a post is noted on the post, and the rest of it is annotated; no schema says which strings are pictures; the paths
# /queue/file and /queue/{number} share methods that only one of them has.
LENIENT = schemathesis.checks.CHECKS.get_by_names(
    ["negative_data_rejection", "positive_data_acceptance", "unsupported_method", "allow_header_conformance"]
)


@pytest.fixture(scope="module", autouse=True)
def working():
    batcher = APP.state.served.batcher
    batcher.start()
    yield
    batcher.stop()
    FOLDER.cleanup()


@SCHEMA.parametrize()
@settings(max_examples=scaled(20), deadline=None, suppress_health_check=list(HealthCheck))
def test_answers_are_what_the_document_promises(case):
    answer = case.call_and_validate(excluded_checks=LENIENT)
    assert answer.status_code != 500, answer.text
