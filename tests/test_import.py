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
    # The order has nothing to do with PyTorch, which takes seconds to import; thinc does without it.
    start = "import sys; sys.modules['torch'] = None; "
    check = "from spacy.tokens import Doc, Span; print(Doc.has_extension('image'), Span.has_extension('mask'))"
    assert run(f"{start}import rivega_spacy, spacy; {check}") == "True True"
    assert run(f"{start}import spacy, rivega_spacy; {check}") == "True True"
