"""`python -m rivega_spacy.recipes [FOLDER]`: as `rivega init-config FOLDER --all --force`, by default into configs/."""

import sys
from pathlib import Path

from .writing import write_all

write_all(Path(sys.argv[1] if len(sys.argv) > 1 else "configs"), force=True)
