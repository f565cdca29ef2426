"""Our wordpieces against those of the `tokenizers` library."""

from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from rivega_spacy.backends.small.wordpiece import WordPieces

VOCAB = ["[UNK]", *"abcdefghijklmnopqrstuvwxyz0123456789", *("##" + c for c in "abcdefghijklmnopqrstuvwxyz0123456789")]
VOCAB += ["mid", "##field", "##er", "midfield", "foot", "##ball", "cat", "(", ")", "-", ".", "'", "—", "#", "@", "中", "é"]
REFERENCE = Tokenizer(WordPiece({piece: i for i, piece in enumerate(VOCAB)}, unk_token="[UNK]", max_input_chars_per_word=60))
REFERENCE.normalizer = BertNormalizer(lowercase=True)
REFERENCE.pre_tokenizer = BertPreTokenizer()
OURS = WordPieces(VOCAB)


def test_known_words():
    assert [VOCAB[i] for i in OURS.encode("Midfielders, cats!")] == ["midfield", "##er", "##s", "[UNK]", "cat", "##s", "[UNK]"]


def test_as_the_library_on_posts():
    for text in [
        "RT @Nkosi_M: café  Zoë's (PER) — a footballer",
        "北中\tx",
        "a" * 61,
        "a\u200bb",
        "\ufffd é É",
        "",
        "don't-stop...#OK",
    ]:
        assert OURS.encode(text) == REFERENCE.encode(text).ids, text


@examples(200)
@given(st.text(alphabet="aZé 中#-'()\t\u0301\x92☕0ß", max_size=30))
def test_as_the_library_on_anything(text):
    assert OURS.encode(text) == REFERENCE.encode(text).ids
