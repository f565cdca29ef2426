"""Writes the configs that ship with the project: `python -m rivega_spacy.recipes [FOLDER]`, by default configs/."""

import sys
from pathlib import Path

from ..post.files import write_text
from .fragment import compose, names
from .writing import config_text

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "configs")
for name in names():
    write_text(folder / f"{name}.cfg", config_text(compose(name)))
