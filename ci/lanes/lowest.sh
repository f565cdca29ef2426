#!/bin/bash
# The lowest versions that setup.cfg admits, of the libraries whose interfaces change.
exec "$(dirname "$0")/lane.sh" lowest "transformers==4.49.0 spacy==3.8.13" "spacy-transformers==1.3.9" "$@"
