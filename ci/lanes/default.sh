#!/bin/bash
# The versions of constraints.txt.
exec "$(dirname "$0")/lane.sh" default "-c constraints.txt" "" "$@"
