"""Cells of tables that spreadsheets open: none of them may become a formula."""

from typing import Any

# A spreadsheet takes a cell that begins so for a formula, which may call programs or send the table elsewhere.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def to_cell(value: Any) -> Any:
    """A value as a cell; a text that would be a formula gets an apostrophe before it."""
    # Also where apostrophes come first: else reading would take one for ours.
    return f"'{value}" if isinstance(value, str) and value.lstrip("'").startswith(_FORMULA) else value


def from_cell(text: str) -> str:
    """What a cell held before it was kept from being a formula."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_FORMULA) else text


__all__ = ["from_cell", "to_cell"]
