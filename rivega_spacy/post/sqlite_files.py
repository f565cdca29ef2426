"""SQLite files that somebody else may have made: what else than rows stands in them is looked at before anything is read.

A view, a trigger or a computed column of a file runs when its tables are used, for as long and with as much memory as it likes; and the journal
beside a file may name another file, which SQLite deletes once the journal is worked off (a "super-journal").
"""

import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

HEAD = b"SQLite format 3\x00"
# How a journal ends that belongs to a transaction over several files; none of ours does.
_SEVERAL_FILES = bytes.fromhex("d9d505f920a163d7")
_BLANKS = re.compile(r"\s*([(),])\s*|\s+")


def check_journal(path: str | Path) -> None:
    """To be called before a file is opened for writing.

    path (Union[str, Path]): The SQLite file.
    RAISES (ValueError): If its journal names another file.
    """
    journal = Path(f"{path}-journal")
    with suppress(FileNotFoundError), open(journal, "rb") as file:
        if file.seek(0, 2) >= len(_SEVERAL_FILES):
            file.seek(-len(_SEVERAL_FILES), 2)
            if file.read() == _SEVERAL_FILES:
                raise ValueError(f"{journal.name} beside it names another file, which SQLite would delete")


def check_schema(connection: sqlite3.Connection, *wanted: Iterable[str]) -> None:
    """That a file holds the tables that we make, and nothing else.

    connection (Connection): To the file.
    wanted (Iterable[str]): The statements that make them; several such lists where several are right.
    RAISES (ValueError): Names what is there besides, or is made otherwise.
    RAISES (sqlite3.Error): If the file is damaged.
    """
    found, made = _schema(connection), [_made(statements) for statements in wanted]
    if found in made:
        return
    known = made[0]
    strange = sorted(name for name in found if found[name] != known.get(name)) or sorted(set(known) - set(found))
    raise ValueError(f"{strange[0][:80]!r} in it is not as rivega_spacy makes it")


def _made(statements: Iterable[str]) -> dict[str, tuple[str, str]]:
    with closing(sqlite3.connect(":memory:")) as fresh:
        for statement in statements:
            fresh.execute(statement)
        return _schema(fresh)


def _schema(connection: sqlite3.Connection) -> dict[str, tuple[str, str]]:
    """Kind and text of each part by its name, without blanks that mean nothing; of the indices that SQLite makes by itself the name alone."""
    rows = connection.execute("SELECT name, type, sql FROM sqlite_master").fetchall()
    return {str(name): (str(kind), _BLANKS.sub(r"\1 ", str(sql or ""))) for name, kind, sql in rows}


__all__ = ["HEAD", "check_journal", "check_schema"]
