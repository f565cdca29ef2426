"""`python -m rivega_spacy` is the command `rivega`."""

import sys

from .cli import main

sys.exit(main())
