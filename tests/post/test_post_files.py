"""Every way in gives the same posts, and what is broken in a file costs its own post alone."""

import base64
import gzip
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from blank import blank_nlp
from PIL import Image

from rivega_spacy.cli import main
from rivega_spacy.post.errors import PostError, RivegaError
from rivega_spacy.post.images import doc_image
from rivega_spacy.post.post_files import picture_root, read_posts
from rivega_spacy.post.posts import annotate

POSTS = [
    {"id": "1", "text": 'Ada, "the countess",\nin London', "image": "a.png"},
    {"id": "2", "text": "Bob; was\there | too", "image": "sub/b.jpg"},
    {"id": "3", "text": "日本 😀", "knowledge": "z"},
]
FIELDS = ("id", "text", "image", "knowledge")


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


def as_csv(posts, delimiter=",", end="\n", quote=quoted) -> str:
    rows = [delimiter.join(FIELDS), *(delimiter.join(quote(post.get(name, "")) for name in FIELDS) for post in posts)]
    return "".join(row + end for row in rows)


def read(path, data, **options):
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return list(read_posts(path, **options))


def broken(posts):
    """Places and codes of the posts that could not be read."""
    return [(place, str(post)[1:5]) for place, post in enumerate(posts) if isinstance(post, PostError)]


def parquet_bytes(rows) -> bytes:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows), buffer, row_group_size=2)
    return buffer.getvalue()


FILES = {
    "posts.jsonl": "".join(json.dumps(post) + "\n" for post in POSTS),
    "posts.json": json.dumps(POSTS),
    "indented.json": json.dumps(POSTS, indent=2, ensure_ascii=False),
    "lines.json": "".join(json.dumps(post) + "\n" for post in POSTS),
    "posts.csv": as_csv(POSTS),
    "posts.tsv": as_csv(POSTS, "\t"),
    "semicolons.csv": as_csv(POSTS, ";", "\r\n"),
    "bars.txt": as_csv(POSTS, "|"),
    "marked.csv": "\ufeff" + as_csv(POSTS),
}


@pytest.mark.parametrize("name", FILES)
def test_every_form_gives_the_same_posts(tmp_path, name):
    assert read(tmp_path / name, FILES[name]) == POSTS
    assert read(tmp_path / f"{name}.gz", gzip.compress(FILES[name].encode())) == POSTS


def test_utf16_and_parquet(tmp_path):
    assert read(tmp_path / "posts.csv", as_csv(POSTS).encode("utf-16")) == POSTS
    table = [{name: post.get(name) for name in FIELDS} for post in POSTS]
    assert read(tmp_path / "posts.parquet", parquet_bytes(table)) == POSTS
    assert read(tmp_path / "no_ending", parquet_bytes(table)) == POSTS


def test_columns_by_other_names(tmp_path):
    posts = [{"tweet": "Ada", "photo": "a.png", "text": "no", "n": "1"}]
    columns = {"text": "tweet", "image": "photo"}
    wanted = [{"text": "Ada", "image": "a.png", "n": "1"}]
    for name, data in (
        ("a.jsonl", json.dumps(posts[0])),
        ("a.json", json.dumps(posts)),
        ("a.csv", "tweet,photo,text,n\nAda,a.png,no,1\n"),
        ("a.parquet", parquet_bytes(posts)),
    ):
        assert read(tmp_path / name, data, columns=columns) == wanted
    for name, data in (("b.csv", "tweet;photo\nAda;a.png\n"), ("b.parquet", parquet_bytes(posts).replace(b"text", b"texy"))):
        with pytest.raises(RivegaError, match=r"E822.*`text`.*tweet.*--column text=NAME"):
            read(tmp_path / name, data)


@pytest.mark.parametrize(
    "row, code",
    [
        ('"an open quote,a.png', "E823"),
        ("Ada, the countess,a.png,too,many", "E823"),
        ("Caf\udce9,a.png", "E824"),
        ("Ada\udc92s,a.png", "E824"),
    ],
)
def test_a_broken_row_is_an_error_of_that_row(tmp_path, row, code):
    rows = ["text,image", '"Ada,\nBob",a.png', row, '"a ""b"" c",b.png', "Carl", ",", "Dora,d.png"]
    posts = read(tmp_path / "a.csv", "\n".join(rows).encode("utf8", "surrogateescape"))
    assert broken(posts) == [(1, code)]
    assert "line 4" in str(posts.pop(1)) and "a.csv" in str(read(tmp_path / "a.csv", (tmp_path / "a.csv").read_bytes())[1])
    assert posts == [
        {"text": "Ada,\nBob", "image": "a.png"},
        {"text": 'a "b" c', "image": "b.png"},
        {"text": "Carl"},
        {"text": "Dora", "image": "d.png"},
    ]


def test_a_quote_that_is_never_closed_takes_no_row_along(tmp_path):
    rows = ["text,image", *(f"Ada {number},{number}.png" for number in range(3000))]
    rows[10] = '"' + rows[10]
    posts = read(tmp_path / "a.csv", "\n".join(rows))
    assert broken(posts) == [(9, "E823")] and len(posts) == 3000
    assert posts[10] == {"text": "Ada 10", "image": "10.png"}


def test_a_head_that_windows_wrote(tmp_path):
    with pytest.raises(RivegaError, match=r"E824.*line 1.*0xE9.*cp1252"):
        read(tmp_path / "a.csv", "text,légende\nAda,x\n".encode("cp1252"))


def test_entities_and_pictures_within_cells(tmp_path):
    nlp = blank_nlp()
    ents, uri = '[[0, 3, ""PER""]]', "data:image/png;base64," + base64.b64encode(b"x" * 200_000).decode()
    posts = read(tmp_path / "a.csv", f'text,ents,image\nAda,"{ents}","{uri}"\nBob,"[[0",\n')
    docs = list(annotate(nlp, posts))
    assert [ent.label_ for ent in docs[0].ents] == ["PER"] and len(docs[0]._.image) == 200_000
    assert "E012" in docs[1]._.rivega_errors[0]["message"]


@pytest.mark.parametrize(
    "element, reason",
    [
        ("{broken", "E820"),
        ('{"text": "Ada}\n', "E820"),
        ("[1, 2]", "it is a list"),
        ('"text"', "it is a str"),
        ("{'text': 'Ada'}", "E820"),
        ('{"a":' * 200 + "1" + "}" * 200, "levels deep"),
    ],
)
def test_a_broken_element_of_an_array(tmp_path, element, reason):
    good = '{"text": "a \\" [ { \\\\", "ents": [[0, 1, "PER"]]}'
    closed = element + "}" * (element.count("{") - element.count("}"))
    posts = read(tmp_path / "a.json", f"[{good},\n{closed},\n{good},]")
    assert broken(posts) == [(1, "E820")] and reason in str(posts[1]) and "number 2" in str(posts[1])
    assert posts[0] == posts[2] == json.loads(good)


def test_an_array_that_breaks_off(tmp_path):
    data = json.dumps(POSTS * 2000)
    for packed in (data[:-40].encode(), gzip.compress(data.encode())[:-200]):
        posts = read(tmp_path / "a.json", packed)
        assert broken(posts) == [(len(posts) - 1, "E821")] and posts[:3] == POSTS and len(posts) > 1000


def test_elements_across_the_blocks_that_are_read(tmp_path):
    posts = [{"text": "\\" * number + '"' * (number % 7), "n": number} for number in range(700)]
    assert read(tmp_path / "a.json", json.dumps(posts)) == posts


def test_pictures_within_parquet(tmp_path, picture):
    """As data sets of Hugging Face keep them: a struct of bytes and path, of which either may be null."""
    pa = pytest.importorskip("pyarrow")
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    (tmp_path / "b.png").write_bytes(buffer.getvalue())
    images = [
        {"bytes": buffer.getvalue(), "path": "a.png"},
        {"bytes": None, "path": "b.png"},
        {"bytes": buffer.getvalue(), "path": None},
        None,
    ]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"text": ["Ada"] * 4, "image": pa.array(images, kind), "when": pa.array([0] * 4, pa.timestamp("s"))})
    posts = read(tmp_path / "a.parquet", parquet_bytes(table))
    docs = list(annotate(blank_nlp(), posts, images=tmp_path))
    assert all(np.array_equal(doc_image(doc, "test"), picture) for doc in docs[:3]) and docs[3]._.image is None
    assert not any(doc._.rivega_errors for doc in docs)
    assert main(["annotate", str(tmp_path / "a.parquet"), str(tmp_path / "out.jsonl"), "--model", str(blank(tmp_path))]) == 0
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["image"] for row in rows] == ["a.png", "b.png", None, None] and rows[0]["when"] == "1970-01-01T00:00:00"


def test_damaged_parquet(tmp_path):
    data = parquet_bytes([{"text": f"Ada {number}"} for number in range(100)])
    with pytest.raises(RivegaError, match="E825.*a.parquet"):
        read(tmp_path / "a.parquet", data[:-20])
    posts = read(tmp_path / "a.parquet", data[:600] + bytes(300) + data[900:])
    assert broken(posts) == [(len(posts) - 1, "E825")]


def test_a_folder_of_pictures_with_their_texts(tmp_path, picture):
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.png", "B.JPG", "sub/a.webp", "c.png", "d.png", "e.png", "twice.png", "twice.jpg"):
        Image.fromarray(picture).save(folder / name)
    (folder / "a.txt").write_text("Ada\nin London\n")
    (folder / "B.JPG.txt").write_text("\ufeffBob", encoding="utf8")
    (folder / "sub/a.json").write_text('{"text": "Carl", "knowledge": "z", "image": "elsewhere.jpg"}')
    (folder / "c.json").write_text("{broken")
    (folder / "e.txt").write_text("from the text")
    (folder / "e.json").write_text('{"id": 7}')
    (folder / "twice.txt").write_text("two of them")
    (folder / "alone.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"")
    posts = list(read_posts(folder))
    assert broken(posts) == [(3, "E829"), (4, "E828")] and "d.txt" in str(posts[4]) and "c.json" in str(posts[3])
    assert [post for post in posts if isinstance(post, dict)] == [
        {"id": "B", "image": "B.JPG", "text": "Bob"},
        {"id": "a", "image": "a.png", "text": "Ada\nin London"},
        {"id": "alone", "text": "no picture"},
        {"id": 7, "image": "e.png", "text": "from the text"},
        {"id": "sub/a", "image": "sub/a.webp", "text": "Carl", "knowledge": "z"},
        {"id": "twice.jpg", "image": "twice.jpg", "text": "two of them"},
        {"id": "twice.png", "image": "twice.png", "text": "two of them"},
    ]
    docs = list(annotate(blank_nlp(), posts, images=picture_root(folder)))
    assert sum(doc_image(doc, "test") is not None for doc in docs if doc._.image) == 6
    (tmp_path / "empty").mkdir()
    with pytest.raises(RivegaError, match="E827"):
        list(read_posts(tmp_path / "empty"))


def test_forms_that_are_said(tmp_path):
    assert read(tmp_path / "a.log", "text\nAda\n", form="csv") == [{"text": "Ada"}]
    with pytest.raises(RivegaError, match="E738.*csv"):
        list(read_posts(tmp_path / "a.log", form="xml"))
    with pytest.raises(RivegaError, match="E018"):
        list(read_posts(tmp_path / "a.log", form="folder"))
    with pytest.raises(RivegaError, match="E051"):
        list(read_posts(tmp_path, form="csv"))


def blank(folder):
    nlp = blank_nlp()
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": "Ada"}])
    nlp.to_disk(folder / "pipeline")
    return folder / "pipeline"


@pytest.mark.parametrize("name", ["posts.jsonl", "posts.csv", "posts.json", "posts.parquet"])
@pytest.mark.slow
def test_posts_are_piped_through(tmp_path, monkeypatch, capsysbinary, name):
    data = parquet_bytes(POSTS) if name.endswith("parquet") else FILES[name].encode()
    model = blank(tmp_path)
    for packed in (data, gzip.compress(data)):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(packed))))
        assert main(["annotate", "-", "-", "--model", str(model)]) == 0
        out, err = capsysbinary.readouterr()
        rows = [json.loads(line) for line in out.decode().splitlines()]
        assert [row["text"] for row in rows] == [post["text"] for post in POSTS] and rows[0]["ents"][0]["text"] == "Ada"
        assert b"3 posts, 1 entities" in err


@pytest.mark.slow
def test_a_shell_pipe(tmp_path):
    """A real one, whose reader goes away: no traceback, the documented status."""
    model = blank(tmp_path)
    (tmp_path / "a.csv").write_text(as_csv(POSTS * 500))
    command = [sys.executable, "-m", "rivega_spacy", "annotate", "-", "-", "--model", str(model)]
    with open(tmp_path / "a.csv") as stdin:
        process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ)
        assert json.loads(process.stdout.readline())["id"] == "1"
        process.stdout.close()
        error = process.stderr.read().decode()
    assert process.wait() == 141 and "Traceback" not in error


@pytest.mark.slow
def test_commands_name_what_is_wrong_with_the_call(tmp_path, capsys):
    model = str(blank(tmp_path))
    (tmp_path / "a.csv").write_text("tweet\nAda\n")
    out = str(tmp_path / "out.jsonl")
    assert main(["annotate", str(tmp_path / "a.csv"), out, "--model", model]) == 2
    assert "E822" in capsys.readouterr().err
    assert main(["annotate", str(tmp_path / "a.csv"), out, "--model", model, "--column", "tweet"]) == 2
    assert "FIELD=NAME" in capsys.readouterr().err
    assert main(["annotate", str(tmp_path / "a.csv"), out, "--model", model, "--column", "text=tweet"]) == 0
    (tmp_path / "b.csv").write_text('text\n"Ada\nBob\n')
    assert main(["annotate", str(tmp_path / "b.csv"), out, "--model", model]) == 1
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf8").splitlines()]
    assert [row["text"] for row in rows] == ["", "Bob"] and "E823" in rows[0]["errors"][0]["message"]
