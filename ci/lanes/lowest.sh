#!/bin/bash
# Every floor of setup.cfg but torch's, at which the lane takes the version of constraints.txt.
cd "$(dirname "$0")/../.."
exec ci/lanes/lane.sh lowest "$(grep ^torch== constraints.txt) $(python3 ci/lanes/floors.py test llm train)" "" "$@"
