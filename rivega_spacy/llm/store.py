"""`rivega.AnswerStore.v1`: every answer once, in one SQLite file that several processes may share and `kill -9` cannot damage.

An answer is committed the moment it arrives (write-ahead log, so a killed process loses nothing that was committed). Before a
question is asked it is claimed; another process that wants the same answer waits for it instead of paying twice. A claim of a
process that died counts for nothing.
"""

import json
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ..post.errors import Errors, RivegaError
from ..post.jsonl import write_lines
from ..post.sqlite_files import check_journal, check_schema
from .base import Answer, kept_answer
from .choices import load_choices

APPLICATION_ID = 0x52695645
# 2 has the answers' `choices` as well.
LAYOUT = 2
# A process that works on its claims renews them with its answers. One that shows no sign for so long is waited for no longer; claims of
# another machine, which cannot be checked, lapse.
LEASE = 15 * 60.0
_CHUNK = 400
_NEW = (
    """CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, question TEXT NOT NULL, model TEXT NOT NULL, identity TEXT NOT NULL, prompt TEXT NOT NULL,
    version TEXT NOT NULL, post TEXT NOT NULL, entity TEXT NOT NULL, attempt INTEGER NOT NULL, text TEXT NOT NULL,
    finish TEXT NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, created REAL NOT NULL,
    choices TEXT NOT NULL DEFAULT '')""",
    "CREATE INDEX IF NOT EXISTS by_question ON answers (question, model)",
    "CREATE TABLE IF NOT EXISTS claims (key TEXT PRIMARY KEY, owner TEXT NOT NULL, since REAL NOT NULL) WITHOUT ROWID",
)
_OF_1 = (_NEW[0].replace(",\n    choices TEXT NOT NULL DEFAULT ''", ""), *_NEW[1:])
_FROM_1 = ("ALTER TABLE answers ADD COLUMN choices TEXT NOT NULL DEFAULT ''",)


class Claim(NamedTuple):
    """Who asks a question at present.

    owner (str): Machine, number of the process, when that began.
    since (float): When it claimed the question or last kept an answer, seconds since the epoch by its own clock.
    """

    owner: str
    since: float

    @property
    def who(self) -> str:
        """For people: "process 4711 on host"."""
        host, pid, _ = [*self.owner.rsplit(":", 2), "", ""][:3]
        return f"process {pid} on {host}"


class Record(NamedTuple):
    """One row: an answer and what it answers."""

    key: str
    question: str
    model: str
    identity: str
    prompt: str
    version: str
    post: str
    entity: str
    attempt: int
    text: str
    finish: str
    input_tokens: int
    output_tokens: int
    created: float
    choices: str = ""

    def answer(self) -> Answer:
        """As the store gives it back."""
        return kept_answer(
            self.text,
            self.finish,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cached=True,
            choices=load_choices(self.choices),
        )


# Without types: a file of others may hold anything.
_CLAIM = "CAST(owner AS TEXT), CAST(since AS REAL)"
_FIELDS = ", ".join(Record._fields)
_MARKS = ", ".join("?" * len(Record._fields))


def make_store(path: str) -> "AnswerStore":
    """`rivega.AnswerStore.v1`.

    path (str): The file; made if there is none.
    """
    return AnswerStore(path)


@contextmanager
def open_store(path: Path, *, make: bool = False) -> "Iterator[AnswerStore]":
    """A store for as long as it is used.

    path (Path): Its file.
    make (bool): Make it if there is none.
    YIELDS (AnswerStore): Closed afterwards.
    RAISES (RivegaError): E020 if there is none and none is made.
    """
    if not make and not path.is_file():
        raise RivegaError(Errors.E020.format(path=path))
    store = AnswerStore(path)
    try:
        yield store
    finally:
        store.close()


class AnswerStore:
    """Answers by the hash of all that shaped them.

    path (Union[str, Path]): The SQLite file. It is opened when first used, once a process.
    patience (float): Seconds to wait for another process that is writing.
    """

    def __init__(self, path: str | Path, *, patience: float = 60.0) -> None:
        self.path = str(path)
        self.patience = patience
        self._connection: sqlite3.Connection | None = None
        self._pid = 0
        self._lock = threading.RLock()
        # Claims that could not be given up, because the file could not be written then.
        self._left: set[str] = set()
        self._renewed = -LEASE

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "patience": self.patience}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"], patience=state["patience"])  # type: ignore[misc]

    def get_many(self, keys: Sequence[str]) -> dict[str, Answer]:
        """The answers that are there.

        keys (Sequence[str]): From `answer_key`.
        RETURNS (Dict[str, Answer]): Only of those that have one.
        """
        found: dict[str, Answer] = {}
        with self._open() as connection:
            for start in range(0, len(keys), _CHUNK):
                chunk = list(keys[start : start + _CHUNK])
                marks = ", ".join("?" * len(chunk))
                for row in connection.execute(f"SELECT {_FIELDS} FROM answers WHERE key IN ({marks})", chunk):
                    record = self._record(row)
                    found[record.key] = record.answer()
        return found

    def claim(self, keys: Iterable[str]) -> list[str]:
        """Say that this process asks these questions.

        keys (Iterable[str]): Questions without an answer.
        RETURNS (List[str]): Those that are ours to ask; the others were answered or claimed meanwhile.
        """
        mine, me, now = [], _owner(), time.time()
        with self._write() as connection:
            for key in keys:
                if connection.execute("SELECT 1 FROM answers WHERE key = ?", (key,)).fetchone():
                    continue
                row = connection.execute(f"SELECT {_CLAIM} FROM claims WHERE key = ?", (key,)).fetchone()
                if row is not None and _holds(_claim(row), now):
                    continue
                connection.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", (key, me, now))
                mine.append(key)
        return mine

    def claims(self, keys: Sequence[str]) -> dict[str, Claim]:
        """Who asks these questions.

        keys (Sequence[str]): Questions that `claim` did not give us.
        RETURNS (Dict[str, Claim]): Only of those that are claimed.
        """
        found: dict[str, Claim] = {}
        with self._open() as connection:
            for key in keys:
                for row in connection.execute(f"SELECT {_CLAIM} FROM claims WHERE key = ?", (key,)):
                    found[key] = _claim(row)
        return found

    def put(self, record: Record) -> None:
        """Keep an answer; it is on disk when this returns, and its claim is gone."""
        with self._write() as connection:
            if time.monotonic() - self._renewed > LEASE / 10:
                connection.execute("UPDATE claims SET since = ? WHERE owner = ?", (time.time(), _owner()))
                self._renewed = time.monotonic()
            connection.execute(f"INSERT OR IGNORE INTO answers ({_FIELDS}) VALUES ({_MARKS})", _clean(record))
            connection.execute("DELETE FROM claims WHERE key = ?", (record.key,))

    def release(self, keys: Iterable[str]) -> None:
        """Give up claims that came to nothing; where the file cannot be written, as soon as it can be."""
        self._left.update(keys)
        with self._write():
            pass

    def find(self, questions: Sequence[str], model: str | None) -> dict[str, Answer]:
        """Recorded answers by the question alone, whatever the parameters were.

        questions (Sequence[str]): From `prompt_key`.
        model (Optional[str]): Name of the source; None takes any, the latest first.
        """
        found: dict[str, Answer] = {}
        with self._open() as connection:
            for question in questions:
                rows = connection.execute(
                    f"SELECT {_FIELDS} FROM answers WHERE question = ? AND (? IS NULL OR model = ?) ORDER BY created DESC LIMIT 1",
                    (question, model, model),
                )
                for row in rows:
                    found[question] = self._record(row).answer()
        return found

    def stats(self) -> list[dict[str, Any]]:
        """Answers and tokens, one row a model and prompt."""
        with self._open() as connection:
            rows = connection.execute(
                "SELECT model, prompt, COUNT(*), SUM(input_tokens), SUM(output_tokens) FROM answers GROUP BY model, prompt ORDER BY 1, 2"
            ).fetchall()
        names = ("model", "prompt", "answers", "input_tokens", "output_tokens")
        return [dict(zip(names, row)) for row in rows]

    def export(self, path: str | Path, *, model: str | None = None) -> int:
        """Write the answers as JSON lines, so that they can travel with a data set.

        path (Union[str, Path]): The file; it appears whole or not at all.
        model (Optional[str]): Only this source.
        RETURNS (int): How many.
        """
        rows = ({**record._asdict(), "identity": self._identity(record)} for record in self.records(model=model))
        return write_lines(path, rows)

    def records(self, *, model: str | None = None) -> Iterator[Record]:
        """All rows in the order they came, a few hundred at a time."""
        last = -1
        while True:
            with self._open() as connection:
                rows = connection.execute(
                    f"SELECT rowid, {_FIELDS} FROM answers WHERE rowid > ? AND (? IS NULL OR model = ?) ORDER BY rowid LIMIT ?",
                    (last, model, model, _CHUNK),
                ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            for row in rows:
                yield self._record(row[1:])

    def import_file(self, path: str | Path) -> tuple[int, int, list[str]]:
        """Take over answers that `export` wrote.

        path (Union[str, Path]): JSON lines.
        RETURNS (Tuple[int, int, List[str]]): How many were new, how many were there already (those stay as they are), and what was
            wrong with the lines that were left out.
        RAISES (RivegaError): E020 if there is no such file.
        """
        from .records import read_records

        new = known = 0
        wrong: list[str] = []
        batch: list[Record] = []

        def flush() -> None:
            nonlocal new, known
            with self._write() as connection:
                for record in batch:
                    values = _clean(record)
                    inserted = connection.execute(f"INSERT OR IGNORE INTO answers ({_FIELDS}) VALUES ({_MARKS})", values).rowcount
                    new, known = new + inserted, known + 1 - inserted
            batch.clear()

        for item in read_records(path):
            if isinstance(item, str):
                wrong.append(item)
            else:
                batch.append(item)
            if len(batch) >= _CHUNK:
                flush()
        flush()
        return new, known, wrong

    def _record(self, row: Sequence[Any]) -> Record:
        """A row, whose columns may hold anything in a file of others. RAISES (RivegaError): E410."""
        record = Record(*row)
        for name, value in record._asdict().items():
            if not isinstance(value, (int, float) if name == "created" else Record.__annotations__[name]):
                raise RivegaError(Errors.E410.format(path=self.path, reason=f"`{name}` of an answer in it is damaged"))
        return record

    def _identity(self, record: Record) -> Any:
        try:
            return json.loads(record.identity)
        except (ValueError, RecursionError) as error:
            raise RivegaError(Errors.E410.format(path=self.path, reason="`identity` of an answer in it is damaged")) from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        if self._pid != os.getpid():
            # A connection must not cross a fork, nor must a lock that another thread held then; claims are the other process's.
            self._connection, self._lock, self._pid = None, threading.RLock(), os.getpid()
            self._left, self._renewed = set(), -LEASE
        with self._lock:
            if self._connection is None:
                self._connection = _connect(self.path, self.patience)
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise RivegaError(Errors.E410.format(path=self.path, reason=error)) from error

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._open() as connection:
            # IMMEDIATE takes the write lock at once: a transaction that begins by reading could be refused later.
            connection.execute("BEGIN IMMEDIATE")
            try:
                left = list(self._left)
                connection.executemany("DELETE FROM claims WHERE key = ? AND owner = ?", [(key, _owner()) for key in left])
                yield connection
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
            self._left.difference_update(left)


def _connect(path: str, patience: float) -> sqlite3.Connection:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        check_journal(path)
        connection = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
    except (sqlite3.Error, OSError, ValueError) as error:
        raise RivegaError(Errors.E410.format(path=path, reason=error)) from error
    try:
        # Tables first: another process that is making the file commits them together with its mark.
        tables = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
        kind = connection.execute("PRAGMA application_id").fetchone()[0]
        layout = connection.execute("PRAGMA user_version").fetchone()[0]
        if kind != APPLICATION_ID and tables:
            raise RivegaError(Errors.E411.format(path=path))
        if layout > LAYOUT:
            raise RivegaError(Errors.E412.format(path=path, found=layout, known=LAYOUT))
        if tables:
            check_schema(connection, _NEW, _OF_1)
        if kind != APPLICATION_ID or layout < LAYOUT:
            _use_write_ahead_log(connection, patience)
            _make_layout(connection)
        # NORMAL: what is committed survives the death of the process; losing power may cost the last seconds, never the file.
        connection.execute("PRAGMA synchronous = NORMAL")
    except (sqlite3.Error, ValueError) as error:
        connection.close()
        raise RivegaError(Errors.E410.format(path=path, reason=error)) from error
    except RivegaError:
        connection.close()
        raise
    return connection


def _make_layout(connection: sqlite3.Connection) -> None:
    """Tables of a new file, or what a file of an earlier layout lacks; in one transaction, so that nobody sees it half made."""
    connection.execute("BEGIN IMMEDIATE")
    # Asked again: another process may have done it while this one waited for the lock.
    layout = connection.execute("PRAGMA user_version").fetchone()[0]
    for statement in _FROM_1 if layout == 1 else _NEW if layout < 1 else ():
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {LAYOUT}")
    connection.execute("COMMIT")


def _use_write_ahead_log(connection: sqlite3.Connection, patience: float) -> None:
    """SQLite does not wait by itself where two processes change the mode of a new file at once."""
    for _ in range(max(1, int(patience / 0.05))):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) and "busy" not in str(error):
                raise
            time.sleep(0.05)
    connection.execute("PRAGMA journal_mode = WAL")


def _clean(record: Record) -> tuple[Any, ...]:
    """Values that SQLite takes: lone surrogates, which it refuses, become U+FFFD."""
    return tuple(value.encode("utf8", "replace").decode("utf8") if isinstance(value, str) else value for value in record)


def _owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{_born(os.getpid())}"


def _born(pid: int) -> str:
    """When a process began, so that a new one with an old number is told apart; "" where the system does not say.

    One that has ended, of which only the number is kept for a parent that has not asked yet how it ended, began never.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rsplit(b")", 1)[1].split()
        return "never" if fields[0] in (b"Z", b"X") else fields[19].decode("ascii")
    except (OSError, IndexError):
        return ""


def _claim(row: Sequence[Any]) -> Claim:
    return Claim(str(row[0]), float(row[1] or 0))


def _holds(claim: Claim, now: float) -> bool:
    """Whether a claim still counts."""
    host, pid, born = [*claim.owner.rsplit(":", 2), "", ""][:3]
    if host != socket.gethostname():
        # Clocks of two machines may differ, but not by days: nobody waits for a claim from the far future.
        return abs(now - claim.since) < LEASE
    try:
        # 0 and below are groups of processes.
        if int(pid) <= 0:
            return False
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        pass
    return _born(int(pid)) == born
