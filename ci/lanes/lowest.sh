#!/bin/bash
# Every floor of setup.cfg but torch's, at which the lane takes the version of constraints.txt.
cd "$(dirname "$0")/../.."
mkdir -p .lanes
grep ^torch== constraints.txt > .lanes/lowest.txt
python3 ci/lanes/floors.py test llm train >> .lanes/lowest.txt
exec ci/lanes/lane.sh lowest "-c .lanes/lowest.txt" "" "$@"
