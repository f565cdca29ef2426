"""Configs from files: whatever is wrong with one is a ValueError."""

import configparser
from typing import Any

from thinc.api import Config


def parse_config(text: str, *, interpolate: bool = True, overrides: dict[str, Any] | None = None) -> Config:
    """The config in a text, as `Config().from_str` reads it.

    text (str): In thinc's form. interpolate (bool), overrides (Optional[Dict]): As there.
    RAISES (ValueError): If it is none; thinc itself lets through what `configparser` raises for a section or an option that stands twice, and
        for a value that refers to itself.
    """
    try:
        return Config().from_str(text, interpolate=interpolate, overrides=overrides or {})
    except (configparser.Error, RecursionError) as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


__all__ = ["parse_config"]
