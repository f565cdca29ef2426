"""A collection of passages that knowledge is retrieved from: one SQLite file with a full-text index and, where asked for, picture vectors."""

import hashlib
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..post.errors import Errors, ImageError, OutputError, RivegaError
from ..post.image_sources import locate_image
from ..post.images import read_image
from ..post.jsonl import parse_object, read_text_lines
from ..post.sqlite_files import HEAD, check_journal, check_schema
from ..post.text import replace_surrogates
from .example_bank import ImageEncoder, unit_rows
from .examples import fingerprint

# Words of a passage; a longer one becomes several, as in the collections of open question answering (Karpukhin et al. 2020, section 4.1).
PASSAGE_WORDS = 100
# Passages that are written together; a run that is killed begins again at the last such step.
BATCH = 500
# Distinct words of a post that are looked up.
QUERY_WORDS = 48
VERSION = "1"
_URL = re.compile(r"(?i)\bhttps?\s*:\s*//\s*\S+(?:\s*\.?\s*co\s*/\s*\S+)?")
_WORD = re.compile(r"[^\W_]+")
# What nearly every passage has says nothing about a post, and costs most of the time.
STOP_WORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "for",
        "from",
        "had",
        "has",
        "have",
        "he",
        "her",
        "his",
        "i",
        "in",
        "is",
        "it",
        "its",
        "me",
        "my",
        "not",
        "of",
        "on",
        "or",
        "our",
        "she",
        "so",
        "that",
        "the",
        "their",
        "them",
        "they",
        "this",
        "to",
        "up",
        "was",
        "we",
        "were",
        "what",
        "when",
        "which",
        "who",
        "will",
        "with",
        "you",
        "your",
        "rt",
        "amp",
        "via",
    ]
)
_SCHEMA = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE sources (name TEXT PRIMARY KEY, lines INTEGER NOT NULL, digest TEXT NOT NULL)",
    "CREATE TABLE passages (id INTEGER PRIMARY KEY, name TEXT NOT NULL, text TEXT NOT NULL, print TEXT NOT NULL, digest BLOB NOT NULL UNIQUE)",
    "CREATE VIRTUAL TABLE words USING fts5(text, content='passages', content_rowid='id', tokenize='unicode61 remove_diacritics 2')",
    "CREATE TABLE vectors (id INTEGER PRIMARY KEY, vector BLOB NOT NULL)",
)


class Passage(NamedTuple):
    """A passage of a collection.

    id (int): Its number. name (str): Its id or title in the source. text (str): The passage. print (str): `examples.fingerprint` of it.
    """

    id: int
    name: str
    text: str
    print: str


class Indexed(NamedTuple):
    """What `build` did: passages that are new, passages that were there, and what was wrong with lines left out."""

    added: int
    known: int
    wrong: list[str]


def build(
    sources: Iterable[str | Path],
    path: str | Path,
    *,
    image_encoder: ImageEncoder | None = None,
    passage_words: int = PASSAGE_WORDS,
    restart: bool = False,
) -> Indexed:
    """Make a collection, or go on with one: what was indexed before is not indexed again.

    sources (Iterable[Union[str, Path]]): JSON lines with `text`, optional `id`, `title` and `image`; or plain text (.txt), a paragraph
        a passage. Lines may have been added to a source since.
    path (Union[str, Path]): The collection, a SQLite file.
    image_encoder (Optional[ImageEncoder]): Makes vectors of the passages' pictures.
    passage_words (int): Words of a passage; longer texts are cut.
    restart (bool): Begin again.
    RETURNS (Indexed): Counts, and problems.
    RAISES (RivegaError): E887 if the file is no collection, E888 if it was built otherwise or a source has changed.
    RAISES (OutputError): E052 if the file system will not have more; what was indexed before stays, and it can be gone on with.
    """
    settings = {
        "version": VERSION,
        "encoder": image_encoder.name if image_encoder is not None else "",
        "passage_words": str(passage_words),
    }
    wrong: list[str] = []
    seen = 0
    with _told(path, writing=True), closing(_open_for_writing(Path(path), settings, restart)) as db:
        before = _count(db)
        for source in sources:
            seen += _index(db, Path(source), image_encoder, passage_words, wrong)
        added = _count(db) - before
        db.execute("INSERT INTO words(words) VALUES ('optimize')")
        db.commit()
    return Indexed(added, seen - added, wrong)


@contextmanager
def _told(path: str | Path, *, writing: bool = False) -> Iterator[None]:
    """What SQLite says of a damaged file, or of a full disk, as one of our errors."""
    try:
        yield
    except sqlite3.Error as error:
        if writing and ("disk is full" in str(error) or "disk I/O" in str(error)):
            raise OutputError(Errors.E052.format(path=path, reason=error)) from error
        raise RivegaError(Errors.E887.format(path=path, reason=error)) from error


def _open_for_writing(path: Path, settings: dict[str, str], restart: bool) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    if restart and path.exists():
        _remove(path)
    try:
        check_journal(path)
    except ValueError as error:
        raise RivegaError(Errors.E887.format(path=path, reason=error)) from error
    # Of one that was killed as it began, an empty file is left.
    new = not path.exists() or not path.stat().st_size
    db = sqlite3.connect(path)
    try:
        if new:
            with db:
                # In one transaction, so that nobody finds half of it.
                db.execute("BEGIN")
                for statement in _SCHEMA:
                    db.execute(statement)
                db.executemany("INSERT INTO meta VALUES (?, ?)", settings.items())
        found = _meta(db, path)
        if found != settings:
            raise RivegaError(Errors.E888.format(path=path, reason=f"it was built with {found}, not with {settings}"))
    except BaseException:
        db.close()
        if new:
            path.unlink(missing_ok=True)
        raise
    return db


def _remove(path: Path) -> None:
    """Remove a collection that is to be built anew. RAISES (RivegaError): E887 if the file is something else."""
    with open(path, "rb") as file:
        head = file.read(len(HEAD))
    if head not in (HEAD, b""):
        raise RivegaError(Errors.E887.format(path=path, reason="it is no SQLite file, and stays as it is"))
    for end in ("", "-journal"):
        Path(f"{path}{end}").unlink(missing_ok=True)


def _meta(db: sqlite3.Connection, path: str | Path) -> dict[str, str]:
    """RAISES (RivegaError): E887 if the file is no collection, or holds more than one."""
    try:
        check_schema(db, _SCHEMA)
        return dict(db.execute("SELECT key, value FROM meta WHERE key IN ('version', 'encoder', 'passage_words')"))
    except (sqlite3.Error, ValueError) as error:
        raise RivegaError(Errors.E887.format(path=path, reason=error)) from error


def _count(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT count(*) FROM passages").fetchone()[0])


def _index(db: sqlite3.Connection, source: Path, encoder: ImageEncoder | None, words: int, wrong: list[str]) -> int:
    """RETURNS (int): Passages of the lines that had not been read before."""
    name = str(source.resolve())
    row = db.execute("SELECT lines, digest FROM sources WHERE name = ?", (name,)).fetchone()
    done, digest = row if row is not None else (0, "")
    if not isinstance(done, int):
        raise sqlite3.DatabaseError(f"how far {source.name} was read is damaged")
    hasher = hashlib.blake2b(digest_size=16)
    waiting: list[tuple[str, str, str | None]] = []
    number = count = 0
    paragraph: list[str] = []
    plain = source.suffix.lower() in (".txt", ".text") or source.name.lower().endswith(".txt.gz")
    for number, line in read_text_lines(source):
        text = str(line)
        hasher.update(text.encode("utf8", "surrogatepass") + b"\n")
        if number <= done:
            if number == done and hasher.hexdigest() != digest:
                raise RivegaError(Errors.E888.format(path=source, reason=f"its first {done} lines have changed"))
            continue
        if plain:
            # A paragraph counts when it has ended: one that grows later would stand twice.
            if text.strip():
                paragraph.append(text.strip())
            elif paragraph:
                waiting += [("", part, None) for part in _cut(" ".join(paragraph), words)]
                paragraph = []
        else:
            waiting += _passages(line, source, number, words, wrong)
        if len(waiting) >= BATCH and not paragraph:
            count += _write(db, waiting, encoder, wrong)
            _mark(db, name, number, hasher.hexdigest())
            waiting = []
    if number < done:
        raise RivegaError(Errors.E888.format(path=source, reason=f"it had {done} lines and now has {number}"))
    if paragraph:
        waiting += [("", part, None) for part in _cut(" ".join(paragraph), words)]
    count += _write(db, waiting, encoder, wrong)
    _mark(db, name, number, hasher.hexdigest())
    return count


def _mark(db: sqlite3.Connection, name: str, lines: int, digest: str) -> None:
    db.execute("INSERT OR REPLACE INTO sources VALUES (?, ?, ?)", (name, lines, digest))
    db.commit()


def _passages(
    line: str | RivegaError, source: Path, number: int, words: int, wrong: list[str]
) -> Iterator[tuple[str, str, str | None]]:
    """Name, text and picture of the passages of a JSON line."""
    if isinstance(line, str) and not line.strip():
        return
    row: dict[str, Any] | str = str(line) if isinstance(line, RivegaError) else parse_object(line)
    if isinstance(row, dict) and not (isinstance(row.get("text"), str) and row["text"].strip()):
        row = "it has no `text`"
    if isinstance(row, str):
        wrong.append(Errors.E889.format(path=source, line=number, reason=row))
        return
    title = row.get("title")
    name = str(row.get("id") if row.get("id") is not None else title or "")
    head = f"{title}: " if isinstance(title, str) and title.strip() else ""
    image = row.get("image")
    picture = locate_image(image, source.resolve().parent) if isinstance(image, str) and image.strip() else None
    for part in _cut(row["text"], words):
        yield name, head + part, picture


def _cut(text: str, words: int) -> list[str]:
    parts = replace_surrogates(text).split()
    return [" ".join(parts[start : start + words]) for start in range(0, len(parts), words)]


def _write(
    db: sqlite3.Connection, waiting: Sequence[tuple[str, str, str | None]], encoder: ImageEncoder | None, wrong: list[str]
) -> int:
    images: list[tuple[int, str]] = []
    for name, text, image in waiting:
        # Equal passages stand once, unless their pictures differ.
        key = hashlib.blake2b(f"{text}\0{image or ''}".encode("utf8", "surrogatepass"), digest_size=16).digest()
        row = db.execute(
            "INSERT OR IGNORE INTO passages (name, text, print, digest) VALUES (?, ?, ?, ?)", (name, text, fingerprint(text), key)
        )
        if row.rowcount:
            db.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (row.lastrowid, text))
            if image is not None and encoder is not None and row.lastrowid is not None:
                images.append((row.lastrowid, image))
    if encoder is not None:
        for number, image in images:
            try:
                vector = unit_rows(encoder([read_image(image)]))[0]
            except ImageError as error:
                wrong.append(str(error))
                continue
            db.execute("INSERT INTO vectors VALUES (?, ?)", (number, vector.astype("<f2").tobytes()))
    return len(waiting)


class Collection:
    """A collection, opened for reading; safe to use from several threads and processes.

    path (Union[str, Path]): The file that `build` wrote.
    RAISES (RivegaError): E020 missing, E887 no collection.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise RivegaError(Errors.E020.format(path=path))
        with closing(self._connect()) as db:
            meta = _meta(db, self.path)
        if meta.get("version") != VERSION:
            raise RivegaError(Errors.E887.format(path=path, reason=f"its version is {meta.get('version')}, not {VERSION}"))
        self.encoder = meta.get("encoder", "")
        self._vectors: tuple[np.ndarray, np.ndarray] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_vectors": None}

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with _told(self.path), closing(self._connect()) as db:
            yield db

    def by_text(self, texts: Sequence[str], n: int) -> list[list[Passage]]:
        """The n passages with the best BM25 score for each text; fewer where fewer share a word with it.

        texts (Sequence[str]): Of posts.
        RAISES (RivegaError): E887 if the file is damaged.
        """
        with self._reading() as db:
            return [self._match(db, text, n) for text in texts]

    def _match(self, db: sqlite3.Connection, text: str, n: int) -> list[Passage]:
        words = dict.fromkeys(word.lower() for word in _WORD.findall(_URL.sub(" ", replace_surrogates(text))))
        asked = [word for word in words if word not in STOP_WORDS][:QUERY_WORDS]
        if not asked or n < 1:
            return []
        # Quoted, a word is a word, whatever it means in SQLite's query language. Of equal passages the earlier one comes first.
        query = " OR ".join(f'"{word}"' for word in asked)
        rows = db.execute(
            "SELECT p.id, p.name, p.text, p.print FROM words JOIN passages p ON p.id = words.rowid WHERE words MATCH ? "
            "ORDER BY bm25(words), p.id LIMIT ?",
            (query, n),
        )
        return [_passage(row) for row in rows]

    def by_picture(self, vectors: np.ndarray, n: int) -> list[list[Passage]]:
        """The n passages whose pictures are most alike.

        vectors (ndarray): m x d float32, rows of length 1, of the encoder that the collection was built with.
        RAISES (RivegaError): E887 if the file is damaged.
        """
        with self._reading() as db:
            numbers, matrix = self._pictures(db)
            if n < 1 or not len(numbers):
                return [[] for _ in vectors]
            if matrix.shape[1] != vectors.shape[1]:
                raise sqlite3.DatabaseError(f"its pictures have {matrix.shape[1]} numbers, not {vectors.shape[1]}")
            return [[self._numbered(db, int(numbers[row])) for row in order] for order in self._nearest(vectors, matrix, n)]

    @staticmethod
    def _nearest(vectors: np.ndarray, matrix: np.ndarray, n: int) -> Iterator[np.ndarray]:
        for vector in vectors:
            yield np.argsort(-(matrix @ vector), kind="stable")[:n]

    @staticmethod
    def _numbered(db: sqlite3.Connection, number: int) -> Passage:
        return _passage(db.execute("SELECT id, name, text, print FROM passages WHERE id = ?", (number,)).fetchone())

    def _pictures(self, db: sqlite3.Connection) -> tuple[np.ndarray, np.ndarray]:
        if self._vectors is None:
            rows = db.execute("SELECT id, vector FROM vectors ORDER BY id").fetchall()
            numbers = np.array([number for number, _ in rows], dtype="int64")
            lengths = {len(blob) if isinstance(blob, bytes) else -1 for _, blob in rows}
            if len(lengths) > 1 or any(length < 2 or length % 2 for length in lengths):
                raise sqlite3.DatabaseError("its pictures are not all encoded alike")
            matrix = np.zeros((0, 1), "<f2")
            if rows:
                matrix = np.frombuffer(b"".join(blob for _, blob in rows), dtype="<f2").reshape(len(rows), -1)
            if not np.isfinite(matrix).all():
                raise sqlite3.DatabaseError("not all numbers of its pictures are finite")
            self._vectors = (numbers, matrix.astype("float32"))
        return self._vectors


def _passage(row: tuple[Any, ...] | None) -> Passage:
    """RAISES (sqlite3.DatabaseError): If what stands in the file is none."""
    if row is None or not all(isinstance(value, str) for value in row[1:]):
        raise sqlite3.DatabaseError("a passage in it is damaged")
    return Passage(*row)


__all__ = ["Collection", "Indexed", "Passage", "build"]
