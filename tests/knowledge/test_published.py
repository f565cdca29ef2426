"""PGIM's own files of annotated examples."""

import json

import pytest

from rivega_spacy.cli import main
from rivega_spacy.knowledge.example_bank import load_bank
from rivega_spacy.knowledge.examples import read_examples
from rivega_spacy.post.errors import RivegaError

# In the published form: Windows line ends, an answer of two lines, an unknown post, an entry without an answer, one without a reason.
FILE = (
    "563049\r\nNamed entities:1. Smash Shiba (person)Reasoning:The sentence mentions Smash Shiba.\r\n"
    "O_3127\r\nNamed entities:1. James Franco (person)\r\nReasoning: An actor.\r\n\r\n"
    "17_06_2932\r\n"
    "16_05_28_123\r\nNamed entities:1. Seattle (city)Reasoning: A city.\r\n"
    "50447\r\n['Baltimore', 'LOC'], ['O'Neill', 'PER']\r\n"
)
POSTS = [
    {"id": "563049", "tokens": ["RT", "Smash", "Shiba"], "caption_blip2": "dogs in chairs"},
    {"id": "O_3127", "text": "James Franco again"},
    {"id": "17_06_2932", "text": "no answer"},
    {"id": 50447, "text": "Two maps of Baltimore"},
]


@pytest.fixture
def files(tmp_path):
    path, posts = tmp_path / "2015train.txt", tmp_path / "posts.jsonl"
    path.write_bytes(FILE.encode())
    posts.write_text("".join(json.dumps(post) + "\n" for post in POSTS), encoding="utf8")
    return path, posts


def test_answers_find_their_posts(files):
    path, posts = files
    examples, wrong = read_examples(path, posts=[posts])
    assert [(example.id, example.text, example.caption) for example in examples] == [
        ("563049", "RT Smash Shiba", "dogs in chairs"),
        ("O_3127", "James Franco again", "no picture"),
    ]
    assert examples[1].answer == "Named entities:1. James Franco (person)\nReasoning: An actor."
    assert len(wrong) == 3
    assert any("16_05_28_123" in line and "--posts" in line for line in wrong)
    assert any("line 7" in line and "no annotation" in line for line in wrong)
    assert any("line 10" in line and "entities" in line for line in wrong)


def test_the_command_reads_them(files, tmp_path, capsys):
    path, posts = files
    assert main(["examples", "build", str(path), str(tmp_path / "out.safetensors"), "--posts", str(posts)]) == 1
    assert [example.id for example in load_bank(tmp_path / "out.safetensors").examples] == ["563049", "O_3127"]
    assert "2 examples" in capsys.readouterr().out


def test_without_posts_it_says_what_is_missing(files):
    with pytest.raises(RivegaError, match=r"E885.*--posts"):
        read_examples(files[0])


def test_the_entity_lists_of_the_same_folder_are_no_annotations(files):
    path, posts = files
    path.write_text("563049\n['Smash Shiba', 'PER']\n50447\nNone\n", encoding="utf8")
    with pytest.raises(RivegaError, match="E420"):
        read_examples(path, posts=[posts])
