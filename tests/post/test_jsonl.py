"""One reader of JSON lines: whatever is in a file, the other lines are read."""

import gzip
import json

import pytest

from rivega_spacy.post.errors import RivegaError
from rivega_spacy.post.jsonl import MAX_DEPTH, dump_line, read_lines

LINES = [{"id": number, "text": f"Ada {number * 7919}"} for number in range(500)]
PLAIN = "".join(json.dumps(line) + "\n" for line in LINES).encode()


def read(path, data):
    path.write_bytes(data)
    return list(read_lines(path))


@pytest.mark.parametrize(
    "name, data",
    [("a.jsonl.gz", PLAIN), ("a.jsonl", gzip.compress(PLAIN, mtime=0)), ("a.gz", gzip.compress(PLAIN, mtime=0)), ("a", PLAIN)],
)
def test_the_name_does_not_say_whether_a_file_is_compressed(tmp_path, name, data):
    assert [row for _, row in read(tmp_path / name, data)] == LINES


@pytest.mark.parametrize("share", [0.9, 0.5, 0.01])
def test_a_compressed_file_that_breaks_off_gives_what_is_there_and_one_note(tmp_path, share):
    packed = gzip.compress(PLAIN)
    *rows, (number, last) = read(tmp_path / "a.jsonl.gz", packed[: int(len(packed) * share)])
    assert [row for _, row in rows] == LINES[: len(rows)] and number == len(rows) + 1
    assert "E054" in last and (share < 0.1 or rows)


def test_damage_at_the_end_of_a_compressed_file_loses_no_line(tmp_path):
    packed = gzip.compress(PLAIN)
    for data in (packed[:-6] + b"abcdef", packed + b"junk"):
        *rows, (_, last) = read(tmp_path / "a.jsonl.gz", data)
        assert [row for _, row in rows] == LINES and "damaged" in last


def test_marks_line_ends_and_utf16(tmp_path):
    assert read(tmp_path / "a", b'\xef\xbb\xbf{"a": 1}\r\n\r\n{"b": 2}\r{"c": "\xe2\x80\xa8"}') == [
        (1, {"a": 1}),
        (3, {"b": 2}),
        (4, {"c": "\u2028"}),
    ]
    assert read(tmp_path / "b", '{"a": "é"}\n{"b": 2}\n'.encode("utf-16")) == [(1, {"a": "é"}), (2, {"b": 2})]


@pytest.mark.parametrize(
    "line, reason",
    [
        (b"{broken", "Expecting"),
        (b"[1]", "it is a list"),
        (b"\x00\x01\xff\xfe", "Expecting"),
        (b"[" * 100_000, "levels deep"),
        (b'{"a":' * 100_000, "levels deep"),
        (b'{"a": ' + b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1) + b"}", "levels deep"),
        (b'{"a": ' + b"9" * 5000 + b"}", "too many digits"),
    ],
)
def test_a_bad_line_is_named_and_the_rest_goes_on(tmp_path, line, reason):
    first, bad, last = read(tmp_path / "a", b'{"a": 1}\n' + line + b'\n{"b": 2}\n')
    assert first == (1, {"a": 1}) and last == (3, {"b": 2}) and bad[0] == 2 and reason in bad[1]


def test_a_line_that_is_too_long_is_named_and_the_rest_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("rivega_spacy.post.jsonl.MAX_LINE", 20)
    rows = read(tmp_path / "a", b'{"a": 1}\n{"b": "' + b"x" * 50 + b'"}\n{"c": "12345678901"}\n{"d": 4}')
    assert [number for number, _ in rows] == [1, 2, 3, 4] and "more than 20 characters" in rows[1][1]
    assert rows[2][1] == {"c": "12345678901"} and rows[3][1] == {"d": 4}


def test_what_utf8_cannot_write_is_replaced(tmp_path):
    rows = read(tmp_path / "a", b'{"a\\udc00": ["\\ud83d", "\\ud83d\\ude00"]}\n{"b": "\xff"}\n')
    assert rows == [(1, {"a\ufffd": ["\ufffd", "😀"]}), (2, {"b": "\ufffd"})]
    assert [row for _, row in read_lines(tmp_path / "a", repair=False)] == [{"a\udc00": ["\ud83d", "😀"]}, {"b": "\udcff"}]


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(RivegaError, match="does not exist"):
        list(read_lines(tmp_path / "none"))
    with pytest.raises(RivegaError, match="is a folder"):
        list(read_lines(tmp_path))


def test_every_line_written_is_json_in_utf8():
    line = dump_line({"a\ud800": [float("nan"), float("inf"), 1.5, 10**400], "é": "\udc80"})
    assert line.encode("utf8") and line.endswith("}\n")
    assert json.loads(line, parse_constant=pytest.fail) == {"a\ufffd": [None, None, 1.5, 10**400], "é": "\ufffd"}
