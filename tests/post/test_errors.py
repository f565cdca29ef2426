"""The table of messages: each with its code, in its room, used somewhere; loggers and exceptions of the package."""

import ast
import pickle
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest
from ci_scripts import script

import rivega_spacy
from rivega_spacy.post import errors
from rivega_spacy.post.errors import Errors, ImageError, RivegaError
from rivega_spacy.post.errors.messages import CODE

PAGE = script("errors_page")
PACKAGE = Path(rivega_spacy.__file__).parent
TABLE = Path(errors.__file__).parent
STAGES = {"captioning", "knowledge", "ner", "expansion", "entailment", "grounding", "segmentation"}
CLASSES = ["ImageError", "OutputError", "PostError", "RivegaError", "SetupError"]


def is_code(name: str) -> bool:
    return CODE.fullmatch(name) is not None


@cache
def modules() -> dict[Path, ast.Module]:
    paths = sorted(path for path in PACKAGE.rglob("*.py") if TABLE not in path.parents)
    return {path: ast.parse(path.read_text(encoding="utf8")) for path in paths}


@cache
def defined() -> dict[str, list[str]]:
    """Codes by room, as they stand in its file."""
    found = {}
    for base in Errors.__bases__:
        path = TABLE / f"{base.__module__.split('.')[-1]}.py"
        tree = ast.parse(path.read_text(encoding="utf8"))
        targets = [node.targets[0].id for node in ast.walk(tree) if isinstance(node, ast.Assign)]
        found[path.stem] = [name for name in targets if is_code(name)]
    return found


@cache
def used() -> dict[str, set[str]]:
    """Rooms that use each code."""
    found = defaultdict(set)
    for path, tree in modules().items():
        room = path.relative_to(PACKAGE).parts[0]
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Errors":
                found[node.attr].add("stages" if room in STAGES else room)
    return found


def test_every_message_begins_with_its_code():
    codes = [name for name in dir(Errors) if is_code(name)]
    assert len(codes) > 200
    assert all(re.match(rf"\[{code}\] [^\[ ]", getattr(Errors, code)) for code in codes)


def test_a_code_survives_formatting_and_pickling():
    error = ImageError(Errors.E001.format(source="{cat}.jpg"))
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) and str(error).startswith("[E001] The picture {cat}.jpg does not exist.")
    assert type(again) is ImageError and isinstance(again, RivegaError) and isinstance(again, ValueError)


def test_every_message_says_what_to_do():
    silent = [code for room in defined().values() for code in room if not all(PAGE.split(getattr(Errors, code)))]
    assert not silent, "add a sentence that says what to do (reasons within other messages: after a semicolon)"


@pytest.mark.slow
def test_each_code_is_defined_once_and_used():
    codes = [code for room in defined().values() for code in room]
    assert sorted(codes) == sorted(set(codes)), "two messages with the same code"
    # A number stands for one message, so that E115 and W115 are not confused.
    assert len({code[1:] for code in codes}) == len(codes)
    assert set(codes) - set(used()) == set(), "codes that nothing uses: delete them"
    assert set(used()) - set(codes) == set(), "codes that are not defined"


@pytest.mark.parametrize("room", [base.__module__.split(".")[-1] for base in Errors.__bases__])
def test_messages_stand_sorted_in_the_first_room_that_uses_them(room):
    order = list(defined())
    assert defined()[room] == sorted(defined()[room], key=lambda code: code[1:])
    misplaced = {code: first for code in defined()[room] if (first := min(used()[code], key=order.index)) != room}
    assert not misplaced, f"move these messages to the files in rivega_spacy/post/errors named here: {misplaced}"


@pytest.mark.slow
def test_errors_and_warnings_take_their_text_from_the_table():
    inline = []
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], (ast.Constant, ast.JoinedStr)):
                called = ast.unparse(node.func)
                if called in CLASSES or called == "warnings.warn":
                    inline.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert not inline


def test_the_tree_of_exceptions_is_complete():
    drawn = set(re.findall(r"\w+Error", errors.__doc__.split("What is wrong")[0]))
    assert drawn == {*CLASSES, "ValueError"}
    assert {name for name in errors.__all__ if name != "Errors"} == set(CLASSES)


@pytest.mark.slow
def test_loggers_lie_under_the_package():
    made = {
        f"{path.relative_to(PACKAGE)}:{node.lineno}": ast.unparse(node.value.args[0])
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        if ast.unparse(node.value.func).endswith("getLogger")
    }
    assert made and set(made.values()) == {"__name__"}


def test_the_page_of_messages_is_written_from_the_tables():
    path = PACKAGE.parent / "docs/errors.md"
    page = PAGE.error_page()
    assert path.read_text(encoding="utf8") == page, "write it again: python -m rivega_spacy.post.errors"
    assert all(f'<a id="{code.lower()}"></a>' in page for room in defined().values() for code in room)
