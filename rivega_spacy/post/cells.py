"""Cells of tables that spreadsheets open: none of them may become a formula."""

import unicodedata
from typing import Any

# A spreadsheet takes a cell that begins so for a formula, which may call programs or send the table elsewhere; in some languages also with
# the wide forms of these signs (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def to_cell(value: Any) -> Any:
    """A value as a cell; a text that would be a formula gets an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and _is_formula(value) else value


def from_cell(text: str) -> str:
    """What a cell held before it was kept from being a formula."""
    return text[1:] if text.startswith("'") and _is_formula(text) else text


def _is_formula(text: str) -> bool:
    """Whether a text begins like a formula, behind apostrophes (else reading would take one of the text for ours) or what nobody sees."""
    for sign in text:
        if sign in _FORMULA:
            return True
        if sign != "'" and not sign.isspace() and unicodedata.category(sign) not in ("Cc", "Cf"):
            return False
    return False


__all__ = ["from_cell", "to_cell"]
