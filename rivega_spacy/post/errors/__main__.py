"""Writes the page of all messages: `python -m rivega_spacy.post.errors [FILE]`, by default docs/errors.md."""

import sys
from pathlib import Path

from .page import error_page

if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else "docs/errors.md").write_text(error_page(), encoding="utf8")
