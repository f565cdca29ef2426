#!/bin/bash
# The last transformers of version 4, beside spacy-transformers 1.4.
exec "$(dirname "$0")/lane.sh" 4.57 "-c constraints.txt" "transformers>=4.57,<4.58" "$@"
