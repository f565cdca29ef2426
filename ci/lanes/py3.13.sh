#!/bin/bash
# The versions of constraints.txt, on Python 3.13. Where PyTorch comes from the package index alone, it is CUDA's build, of some gigabytes.
PYTHON=${PYTHON:-python3.13} exec "$(dirname "$0")/lane.sh" py3.13 "-c constraints.txt" "" "$@"
