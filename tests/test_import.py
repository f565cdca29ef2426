"""What importing the package does, and does not do."""

import subprocess
import sys

import pytest


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_the_package_alone_is_light():
    code = "import sys, rivega_spacy; print([m for m in ('torch', 'transformers', 'cv2', 'PIL') if m in sys.modules])"
    assert run(code) == "[]"


@pytest.mark.slow
def test_extensions_are_there_in_either_order_of_import():
    check = "from spacy.tokens import Doc, Span; print(Doc.has_extension('image'), Span.has_extension('mask'))"
    assert run(f"import rivega_spacy, spacy; {check}") == "True True"
    assert run(f"import spacy, rivega_spacy; {check}") == "True True"


@pytest.mark.slow
def test_a_blank_pipeline_does_not_load_opencv():
    assert run("import sys, spacy; spacy.blank('rivega'); print('cv2' in sys.modules)") == "False"
