"""Cleaning, prompts and token ids."""

import json
from pathlib import Path

import pytest
from expressions_of import as_expression
from ofa_tiny import vocabulary, write_vocabulary

from rivega_spacy.backends.ofa.serving import published_expression
from rivega_spacy.backends.ofa.tokens import OFATokenizer, clean_text, entailment_prompt, fit_source, grounding_prompt
from rivega_spacy.post.errors import RivegaError

SUBSET = Path(__file__).parent / "gpt2_subset"


@pytest.mark.parametrize(
    "text, cleaned",
    [
        ("Jay-Z(PER)", "jay z(per)"),
        ("#BREAKING : a/b", "breaking : a b"),
        ("...,!?Hello  world\n", "hello world"),
        ("<person> in red  shirt", "person in red shirt"),
        ('say "hi" (MISC)', 'say "hi" (misc)'),
        ("", ""),
        ("  \t ", ""),
        (" ".join(f"w{i}" for i in range(100)), " ".join(f"w{i}" for i in range(80))),
    ],
)
def test_cleaning(text, cleaned):
    assert clean_text(text) == cleaned


@pytest.mark.parametrize(
    "expression, published",
    [
        (("Kevin Durant", "PER", "a basketball player"), "kevin durant(per) a basketball player"),
        (("Nike", "ORG"), "nike(org)"),
        (("The (old) Bridge", "LOC", "stone - bridge"), "the (old) bridge(loc) stone bridge"),
        ("a cat on a mat", "a cat on a mat"),
        ("", ""),
        ("\U0001f600\U0001f600", "\U0001f600\U0001f600"),
    ],
)
def test_expressions_are_asked_as_the_paper_writes_them(expression, published):
    assert published_expression(as_expression(expression)) == published


def test_prompts():
    assert grounding_prompt("a cat") == ' which region does the text " a cat " describe?'
    assert entailment_prompt("a cat") == ' does the image describe " a cat "?'
    assert entailment_prompt("a cat", "two cats") == ' can image and text1 " a cat " imply text2 " two cats "?'


@pytest.fixture
def tokenizer(tmp_path):
    return OFATokenizer.from_folder(write_vocabulary(tmp_path), size=1000)


def test_source_has_marks_and_labels_are_single_tokens(tokenizer):
    vocab, _ = vocabulary()
    assert tokenizer.source(" yes no") == [0, vocab["Ġyes"], vocab["Ġno"], 2]
    assert tokenizer.encode(" not sure") == [vocab["Ġnot"], vocab["Ġsure"]]
    assert 3 not in tokenizer.encode("北京 \U0001f600 <bin_3>"), "bytes leave nothing unknown"


def test_tokenizer_survives_saving(tokenizer):
    again = OFATokenizer.from_dict(json.loads(json.dumps(tokenizer.to_dict())))
    text = ' does the image describe " café \U0001f600 not at all "?'
    assert again.source(text) == tokenizer.source(text)


@pytest.mark.parametrize("texts", [["word " * 79 + "end"], ["\U0001f600" * 500], ["short", "x" * 3000], ["", ""]])
def test_a_source_always_fits(tokenizer, texts):
    def prompt(*parts):
        return entailment_prompt(*parts)

    limit = 200
    ids = fit_source(tokenizer, prompt, texts, limit)
    assert len(ids) <= limit and ids[0] == 0 and ids[-1] == 2
    whole = tokenizer.source(prompt(*texts))
    assert ids == whole if len(whole) <= limit else len(ids) > limit // 2, "only what is too long is cut, and not to nothing"


def test_missing_and_broken_vocabularies(tmp_path):
    with pytest.raises(RivegaError, match="encoder.json"):
        OFATokenizer.from_folder(tmp_path)
    write_vocabulary(tmp_path)
    (tmp_path / "merges.txt").write_text("only-one-part\n", encoding="utf8")
    with pytest.raises(RivegaError, match="merge"):
        OFATokenizer.from_folder(tmp_path)
    (tmp_path / "merges.txt").write_text("zz yy\n", encoding="utf8")
    with pytest.raises(RivegaError):
        OFATokenizer.from_folder(tmp_path)


def test_fairseq_files_number_by_the_dictionary(tmp_path):
    for name in ("encoder.json", "vocab.bpe"):
        (tmp_path / name).write_bytes((SUBSET / name).read_bytes())
    vocab = json.loads((SUBSET / "encoder.json").read_text())
    # The most frequent first, as fairseq sorts: " yes" then " no"; everything else is unknown.
    (tmp_path / "dict.txt").write_text(f"{vocab['Ġyes']} 20\n{vocab['Ġno']} 10\nmadeupword0000 0\n", encoding="utf8")
    tokenizer = OFATokenizer.from_folder(tmp_path)
    assert tokenizer.encode(" yes no maybe") == [4, 5, 3]


@pytest.mark.shared
def test_published_token_ids(shared_dir):
    """Splits with the published merges, and numbers: one of ours for each of theirs, the labels where the notes say."""
    told = json.loads((shared_dir / "fixtures" / "ofa_fairseq" / "tokenization.json").read_text())
    tokenizer = OFATokenizer.from_folder(SUBSET, order=[])
    pairs = {}
    for row in told["rows"]:
        if row["kind"] == "ve_caption":
            prompt = entailment_prompt(clean_text(row["text1"]), clean_text(row["text2"]))
        else:
            cleaned = clean_text(row["text"])
            assert cleaned == row.get("pre_caption", cleaned)
            prompt = grounding_prompt(cleaned) if row["kind"] == "vg" else entailment_prompt(cleaned)
        assert prompt == row["prompt"]
        ours = tokenizer._bpe.encode(prompt).ids
        assert len(ours) + 2 == len(row["source"])
        for one, two in zip(ours, row["source"][1:-1]):
            assert pairs.setdefault(one, two) == two
    assert len(set(pairs.values())) == len(pairs)
    full = OFATokenizer(tokenizer.vocab, tokenizer.merges, numbers=pairs)
    assert [full.source(row["prompt"]) for row in told["rows"]] == [row["source"] for row in told["rows"]]
