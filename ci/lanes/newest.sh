#!/bin/bash
# The newest transformers that setup.cfg admits; spacy-transformers is set aside.
exec "$(dirname "$0")/lane.sh" newest "--upgrade transformers<6" "" "$@"
