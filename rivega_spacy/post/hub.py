"""The one rule about the model hub: names on it stand for what was downloaded before; something is downloaded only if the user says so."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "RIVEGA_HUB"
_TELEMETRY = "HF_HUB_DISABLE_TELEMETRY"
_YES = ("1", "true", "yes", "on")


def local_only() -> bool:
    """Whether only files of this machine may be used, the hub client's downloads among them: unless RIVEGA_HUB=1.

    Asked before anything is loaded by a name. Where it holds, the client says nothing about its user either: version 2.4 asks the hub which
    programs it should recognize for that, also when it looks for files of this machine alone.
    """
    local = os.environ.get(VARIABLE, "").strip().lower() not in _YES
    if local:
        os.environ[_TELEMETRY] = "1"  # for a client that is not imported yet, here or in a process started from this one
        if client := sys.modules.get("huggingface_hub.constants"):
            setattr(client, _TELEMETRY, True)
    return local


@contextmanager
def hub_allowed(allowed: bool) -> Iterator[None]:
    """Within it, and in the processes started from it, names on the hub may be downloaded. allowed (bool): False changes nothing."""
    before = os.environ.get(VARIABLE)
    if allowed:
        os.environ[VARIABLE] = "1"
    try:
        yield
    finally:
        if allowed and before is None:
            os.environ.pop(VARIABLE, None)
        elif allowed and before is not None:
            os.environ[VARIABLE] = before


__all__ = ["VARIABLE", "hub_allowed", "local_only"]
