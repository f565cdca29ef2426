"""SQLite files made by others: recorded answers and collections of passages.

What stands in a file's schema runs when its tables are used, and a journal beside it can make SQLite delete any file of the user.
"""

import os
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rivega_spacy.cli import main
from rivega_spacy.knowledge.collection import Collection, build
from rivega_spacy.knowledge.encoders import ColourEncoder
from rivega_spacy.llm.replay import make_replay
from rivega_spacy.llm.store import AnswerStore, Record
from rivega_spacy.post.errors import RivegaError

KEY = "0" * 64
RECORD = Record(KEY, "1" * 64, "m", "{}", "knowledge", "v", "1", "", 0, "an answer", "stop", 1, 2, 3.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A store with an answer and a collection with two passages, one of them with a picture."""
    folder = tmp_path_factory.mktemp("made")
    store = AnswerStore(folder / "answers.sqlite")
    store.put(RECORD)
    store.close()
    Image.new("RGB", (20, 20), (200, 10, 10)).save(folder / "a.png")
    (folder / "p.jsonl").write_text('{"id": "1", "text": "the arena of Oakland", "image": "a.png"}\n{"text": "a bridge"}\n')
    build([folder / "p.jsonl"], folder / "passages.sqlite", image_encoder=ColourEncoder())
    return folder


def use_store(path: Path) -> None:
    """All that is done with a store."""
    store = AnswerStore(path, patience=1.0)
    try:
        store.get_many([KEY])
        store.find(["1" * 64], None)
        store.claim([KEY, "2" * 64])
        store.put(RECORD._replace(key="2" * 64))
        store.release(["2" * 64])
        store.stats()
        store.export(path.with_suffix(".jsonl"))
    finally:
        store.close()


def use_collection(path: Path) -> None:
    """All that is done with a collection."""
    found = Collection(path)
    for passages in found.by_text(["Oakland arena", "bridge"], 3):
        assert all(isinstance(value, str) for passage in passages for value in passage[1:])
    found.by_picture(ColourEncoder()([np.zeros((20, 20, 3), "uint8")]), 2)
    more = path.with_name("more.jsonl")
    more.write_text('{"text": "one more passage"}\n')
    build([more], path, image_encoder=ColourEncoder())


USES = {"answers.sqlite": use_store, "passages.sqlite": use_collection}


def copy(made: Path, name: str, folder: Path) -> Path:
    (folder / name).write_bytes((made / name).read_bytes())
    return folder / name


@pytest.mark.parametrize("name", USES)
def test_whole_files_are_used(name, made, tmp_path):
    USES[name](copy(made, name, tmp_path))


ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT "
HOSTILE = {
    "answers.sqlite": {
        "a view": f"DROP TABLE answers; CREATE VIEW answers AS {ENDLESS} " + ", ".join(f"x AS {name}" for name in Record._fields) + " FROM n",
        "a trigger": "CREATE TRIGGER t AFTER INSERT ON claims BEGIN INSERT INTO answers SELECT * FROM answers; END",
        "a column that is worked out": "ALTER TABLE answers ADD COLUMN big AS (zeroblob(900000000))",
        "a check": "DROP TABLE claims; CREATE TABLE claims (key TEXT PRIMARY KEY, owner TEXT NOT NULL, since REAL NOT NULL CHECK (length(zeroblob(900000000)) > since)) WITHOUT ROWID",
        "an index that is worked out": "CREATE INDEX i ON claims (length(zeroblob(900000000)))",
        "another table": "CREATE TABLE more (x)",
        "a table that is missing": "DROP TABLE claims",
    },
    "passages.sqlite": {
        "a view": f"DROP TABLE passages; CREATE VIEW passages AS {ENDLESS} x AS id, x AS name, x AS text, x AS print, x AS digest FROM n",
        "a view of words": f"DROP TABLE words; CREATE VIEW words AS {ENDLESS} x AS rowid, x AS text FROM n",
        "a trigger": "CREATE TRIGGER t AFTER INSERT ON passages BEGIN DELETE FROM passages; END",
        "a column that is worked out": "ALTER TABLE vectors ADD COLUMN big AS (zeroblob(900000000))",
        "an index that is worked out": "CREATE INDEX i ON sources (length(zeroblob(900000000)))",
        "words of another kind": "DROP TABLE words; CREATE VIRTUAL TABLE words USING fts5(text, content='meta')",
        "another virtual table": "CREATE VIRTUAL TABLE more USING fts5(x)",
        "a table that is missing": "DROP TABLE sources",
    },
}  # fmt: skip


@pytest.mark.parametrize("name, kind", [(name, kind) for name, kinds in HOSTILE.items() for kind in kinds])
def test_what_runs_within_a_file_is_refused_before_it_runs(name, kind, made, tmp_path):
    path = copy(made, name, tmp_path)
    with closing(sqlite3.connect(path)) as db:
        db.executescript(HOSTILE[name][kind])
    readers: list[Callable[[], Any]] = [lambda: USES[name](path)]
    if name == "answers.sqlite":
        readers.append(lambda: make_replay(str(path)).submit([]))
    else:
        readers.append(lambda: build([made / "p.jsonl"], path, image_encoder=ColourEncoder()))
    for reader in readers:
        with pytest.raises(RivegaError, match=rf"E(410|887).*{name}.*not as rivega_spacy makes it"):
            reader()


def journal(path: Path, victim: Path) -> None:
    """A journal that is worked off when its file is opened, and says that the transaction went over several files, of which one is the victim."""
    magic = bytes.fromhex("d9d505f920a163d7")
    head = magic + struct.pack(">IIIII", 0, 1, path.stat().st_size // 4096, 512, 4096)
    name = os.fsencode(victim)
    summed = sum(struct.unpack(f"{len(name)}b", name)) & 0xFFFFFFFF
    tail = struct.pack(">I", 0x40000000 // 4096 + 1) + name + struct.pack(">II", len(name), summed) + magic
    Path(f"{path}-journal").write_bytes(head.ljust(512, b"\0") + tail)


def test_a_journal_makes_sqlite_delete_a_file(tmp_path):
    """What the next test is about: should SQLite ever stop to do this, `check_journal` has no use any more."""
    victim = tmp_path / "victim"
    victim.write_text("somebody's words")
    with closing(sqlite3.connect(tmp_path / "x.sqlite")) as db:
        db.execute("CREATE TABLE t (x)")
    journal(tmp_path / "x.sqlite", victim)
    with closing(sqlite3.connect(tmp_path / "x.sqlite")) as db:
        db.execute("SELECT * FROM t").fetchall()
    assert not victim.exists()


@pytest.mark.parametrize("name", USES)
def test_no_journal_of_others_deletes_a_file(name, made, tmp_path):
    path, victim = copy(made, name, tmp_path), tmp_path / "victim"
    victim.write_text("somebody's words")
    uses = {
        "answers.sqlite": [use_store, lambda path: make_replay(str(path)).submit([])],
        "passages.sqlite": [use_collection, lambda path: build([made / "p.jsonl"], path, image_encoder=ColourEncoder())],
    }
    for use in uses[name]:
        journal(path, victim)
        with pytest.raises(RivegaError, match="E410|E887"):
            use(path)
        assert victim.read_text() == "somebody's words"
    # Begun anew, the journal goes with the file.
    if name == "passages.sqlite":
        build([made / "p.jsonl"], path, image_encoder=ColourEncoder(), restart=True)
        assert victim.exists() and not Path(f"{path}-journal").exists()
    # A journal of one's own, which names nobody, is no trouble.
    Path(f"{path}-journal").write_bytes(b"")
    USES[name](path)


VALUES = [
    None,
    b"\xff",
    b"",
    10**18,
    -1.5,
    float("inf"),
    "\ud800".encode("utf8", "surrogatepass"),
    "[" * 100_000,
    '{"a": 1e999}',
    "x" * 1_000_000,
]
CELLS = [
    *(("answers.sqlite", "answers", column) for column in Record._fields),
    *(("answers.sqlite", "claims", column) for column in ("owner", "since")),
    *(("passages.sqlite", "passages", column) for column in ("name", "text", "print")),
    *(("passages.sqlite", table, column) for table, column in (("vectors", "vector"), ("sources", "lines"), ("sources", "digest"), ("meta", "value"))),
]  # fmt: skip


@pytest.mark.parametrize("name, table, column", CELLS, ids=lambda value: str(value))
def test_a_cell_of_any_kind_ends_in_a_reason(name, table, column, made, tmp_path):
    for value in VALUES:
        path = copy(made, name, tmp_path)
        with closing(sqlite3.connect(path)) as db:
            if table == "claims":
                db.execute("INSERT INTO claims VALUES (?, ?, ?)", ("2" * 64, "elsewhere:1:1", 1.0))
            db.execute("PRAGMA ignore_check_constraints = ON")
            try:
                db.execute(f"UPDATE {table} SET {column} = ?", (value,))
                if isinstance(value, bytes):
                    # Letters that are none: SQLite does not look.
                    db.execute(f"UPDATE {table} SET {column} = CAST({column} AS TEXT)")
            except sqlite3.IntegrityError:
                continue
            db.commit()
        said = ""
        try:
            USES[name](path)
        except RivegaError as error:
            said = str(error)
        assert not said or name in said or "more.jsonl" in said


@pytest.mark.parametrize(
    "owner, since",
    [
        ("elsewhere:1:1", 1e18), ("elsewhere:1:1", -1e18), ("elsewhere", 0.0), ("", 0.0), (f"{os.uname().nodename}:-1:", 0.0),
        (f"{os.uname().nodename}:0:", 0.0), (f"{os.uname().nodename}:{10**30}:", 0.0), (f"{os.uname().nodename}:{os.getppid()}:x", 0.0),
    ],
)  # fmt: skip
def test_nobody_waits_for_a_claim_that_was_made_up(owner, since, tmp_path):
    store = AnswerStore(tmp_path / "answers.sqlite")
    store.claim([])
    with closing(sqlite3.connect(store.path)) as db:
        db.execute("INSERT INTO claims VALUES (?, ?, ?)", (KEY, owner, since))
        db.commit()
    assert store.claim([KEY]) == [KEY]


def test_a_store_of_the_first_layout_is_brought_up_to_date(made, tmp_path):
    path = copy(made, "answers.sqlite", tmp_path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("ALTER TABLE answers DROP COLUMN choices")
        db.execute("PRAGMA user_version = 1")
        db.commit()
    for _ in range(2):
        assert AnswerStore(path).get_many([KEY])[KEY].text == "an answer"


@pytest.mark.parametrize("name", USES)
def test_damaged_files_end_in_a_reason_or_in_rows(name, made, tmp_path_factory):
    whole = (made / name).read_bytes()
    folder = tmp_path_factory.mktemp("damaged")

    @examples(60)
    @given(
        st.lists(st.tuples(st.integers(0, len(whole) - 1), st.binary(min_size=1, max_size=6)), min_size=1, max_size=6),
        st.booleans(),
    )
    def check(changes: list[tuple[int, bytes]], cut: bool) -> None:
        data = bytearray(whole)
        for place, part in changes:
            data[place : place + len(part)] = part
        for end in ("-wal", "-shm", "-journal"):
            (folder / f"{name}{end}").unlink(missing_ok=True)
        (folder / name).write_bytes(data[: changes[0][0]] if cut else data)
        try:
            USES[name](folder / name)
        except RivegaError:
            pass

    check()


def test_only_a_collection_is_begun_anew(made, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("my words")
    assert main(["index", str(made / "p.jsonl"), str(tmp_path / "mine.txt"), "--restart"]) == 2
    assert "E887" in capsys.readouterr().err and (tmp_path / "mine.txt").read_text() == "my words"
    path = copy(made, "passages.sqlite", tmp_path)
    path.write_bytes(path.read_bytes()[:5000])
    assert main(["index", str(made / "p.jsonl"), str(path)]) == 2
    assert main(["index", str(made / "p.jsonl"), str(path), "--restart"]) == 0
    (tmp_path / "empty.sqlite").write_bytes(b"")
    assert main(["index", str(made / "p.jsonl"), str(tmp_path / "empty.sqlite")]) == 0
