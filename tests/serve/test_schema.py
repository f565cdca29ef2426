"""The API against its own OpenAPI document: schemathesis makes requests of all kinds, valid and not, and compares what comes with what is promised.

Not among the packages that tests need: `pip install schemathesis`, or this is skipped. RIVEGA_EXAMPLES=20 tries twenty times as many requests.
"""

import base64
import json
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from examples import scaled
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from rivega_spacy.serve.app import create_app
from rivega_spacy.serve.correcting import CorrectionQueue
from rivega_spacy.serve.limits import Limits

from .conftest import encoded, make_pipeline

schemathesis = pytest.importorskip("schemathesis")
jsonschema_rs = pytest.importorskip("jsonschema_rs")  # which it needs
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
# A text longer than the document says is refused as too large.
REFUSALS = {"negative_data_rejection": {"expected-statuses": [400, 404, 409, 413, 415, 422]}}
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", APP, config=schemathesis.Config.from_dict({"checks": REFUSALS}))
# Which strings and bytes are pictures, and which are JSON, no schema can say; the document names the formats, and here is what is of them.
PICTURES = [f"data:image/png;base64,{base64.b64encode(encoded()).decode()}", base64.b64encode(encoded("JPEG")).decode()]
schemathesis.openapi.format("picture", st.sampled_from(PICTURES))
schemathesis.openapi.format("binary", st.sampled_from([encoded(), encoded("JPEG")]))
schemathesis.openapi.format("json", st.sampled_from(["[[1, 2, 30, 40]]", "[[1.5, 0, 1e3, 3], [0, 0, 9, 9]]"]))
schemathesis.openapi.format("words", st.sampled_from(["Ann met Rio", " Zoo ", '["Ann", "met", "Rio"]', ""]))
ACCEPTANCE = schemathesis.checks.CHECKS.get_by_names(["positive_data_acceptance"])
REJECTION = schemathesis.checks.CHECKS.get_by_names(["negative_data_rejection"])


@pytest.fixture(scope="module", autouse=True)
def working():
    batcher = APP.state.served.batcher
    batcher.start()
    yield
    batcher.stop()
    FOLDER.cleanup()


def takes_all_that_fits(case):
    """Whether a schema can say what is taken. Not whether the places of entities are within a text, nor whether a line of annotated posts agrees with
    itself; and in forms, schemathesis puts any bytes where some field, though not each, has to be given."""
    return case.media_type != "multipart/form-data" and case.operation.label not in ("PUT /queue/{number}", "POST /export/{form}")


def spoils_nothing(case):
    """Whether what schemathesis made so as not to fit the document does fit it as it is sent: in forms, null and numbers are text as everything else, and a
    picture is bytes, which are no string to whoever looked before."""
    if case.media_type != "multipart/form-data" or not isinstance(case.body, dict):
        return False
    sent = {name: str(value) if isinstance(value, str) else json.dumps(value, default=str) for name, value in case.body.items()}
    form = APP.openapi()["paths"][case.path][case.method.lower()]["requestBody"]["content"]["multipart/form-data"]["schema"]
    return jsonschema_rs.is_valid(form, sent)


@SCHEMA.parametrize()
@settings(max_examples=scaled(20), deadline=None, suppress_health_check=list(HealthCheck))
def test_answers_are_what_the_document_promises(case):
    excluded = [*([] if takes_all_that_fits(case) else ACCEPTANCE), *(REJECTION if spoils_nothing(case) else [])]
    answer = case.call_and_validate(excluded_checks=excluded)
    assert answer.status_code != 500, answer.text
