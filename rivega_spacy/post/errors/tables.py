"""Tables of experiments."""

from .messages import Messages


class TablesMessages(Messages):
    """Tables of experiments."""

    E530 = "{path} is not a list of experiments ({reason}). See docs/tables.md for its form."
    E531 = "There is no group {name!r} in {path}. Use one of: {known}."
    E532 = "{variant}: there is no {axis} {choice!r}. Use one of: {known}."
    E533 = "{variant}: {reason}. Fix its row in the list of experiments; the other rows are not affected."
    E534 = "{path} has no [{section}], which `{key}` would change. Name a section that the base config has."
    E535 = "The config {path} is not valid: {reason}. Correct it."
    E536 = "{step} ended with status {status}: {reason}. The whole output is in {log}."
    E537 = "The metrics {path} cannot be read ({reason}). Run the variant again with --force."


__all__ = ["TablesMessages"]
