#!/bin/bash
# The newest of everything that setup.cfg admits, but torch's; spacy-transformers is set aside beside a transformers of version 5.
cd "$(dirname "$0")/../.."
TORCH=$(grep ^torch== constraints.txt)
exec ci/lanes/lane.sh newest "--upgrade --upgrade-strategy eager $TORCH" "--upgrade transformers<6 $TORCH" "$@"
