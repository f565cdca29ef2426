"""Writes the configs that ship with the project: `python -m rivega_spacy.recipes [FOLDER]`, by default configs/."""

import sys
from pathlib import Path

from .fragment import compose, names
from .writing import config_text

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "configs")
for name in names():
    (folder / f"{name}.cfg").write_text(config_text(compose(name)), encoding="utf8")
