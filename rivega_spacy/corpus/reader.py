"""`rivega.Corpus.v1`: examples for `spacy train` in which the predicted side keeps what the pipeline works from.

spaCy's own Corpus rebuilds the predicted posts from their words alone: the picture and the knowledge would be lost. Here they
are carried over; entities, boxes and judgements are not, they are what is to be predicted.
"""
import random
import warnings
from pathlib import Path
from typing import Callable, Iterator, List, Union

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from ..errors import Errors, RivegaError
from ..extensions import ID_KEY, IMAGE_KEY
from .docbin import docbin_files, read_docbin

KNOWLEDGE = ("present", "absent", "alternate")


def make_corpus(
    path: Union[str, Path], knowledge: str = "present", limit: int = 0, shuffle: bool = False, max_length: int = 0
) -> Callable[[Language], Iterator[Example]]:
    """Reader for `[corpora.train]` and `[corpora.dev]`.

    path (Union[str, Path]): A .spacy file or a folder of them (`rivega convert`).
    knowledge (str): "present" keeps z, "absent" takes it away, "alternate" takes it away from every second post: a dev set
        read so chooses a model that is good with and without.
    limit (int): Read so many posts at most; 0 reads all.
    shuffle (bool): In another order each time it is read.
    max_length (int): Leave out posts of more tokens; 0 leaves out none.
    RETURNS (Callable): From the pipeline to examples. Words are those of the file.
    RAISES (RivegaError): E113 for another value of `knowledge`.
    """
    if knowledge not in KNOWLEDGE:
        raise RivegaError(Errors.E113.format(known=", ".join(KNOWLEDGE), value=knowledge))
    return PostCorpus(path, knowledge=knowledge, limit=limit, shuffle=shuffle, max_length=max_length)


class PostCorpus:
    """Posts of a .spacy file as examples; see `make_corpus`."""

    def __init__(self, path: Union[str, Path], *, knowledge: str = "present", limit: int = 0, shuffle: bool = False, max_length: int = 0) -> None:
        self.path = Path(path)
        self.knowledge = knowledge
        self.limit = limit
        self.shuffle = shuffle
        self.max_length = max_length

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """YIELDS (Example): One a post that has words."""
        docbin_files(self.path)  # says at once where there is nothing to read
        docs: Iterator[Doc] = read_docbin(self.path, nlp.vocab)
        if self.shuffle:
            shuffled: List[Doc] = list(docs)
            random.shuffle(shuffled)
            docs = iter(shuffled)
        count = known = 0
        for reference in docs:
            if not len(reference) or (self.max_length and len(reference) > self.max_length):
                continue
            if self.limit and count >= self.limit:
                break
            count += 1
            known += bool(reference._.knowledge)
            if self.knowledge == "absent" or (self.knowledge == "alternate" and count % 2 == 0):
                reference._.knowledge = None
            yield Example(bare_copy(reference), reference)
        if count and not known and self.knowledge != "absent":
            warnings.warn(Errors.W115.format(path=self.path, count=count))


def bare_copy(doc: Doc) -> Doc:
    """The post as the pipeline gets it: words, picture, knowledge, caption, description and id; nothing that is predicted.

    doc (Doc): An annotated post.
    RETURNS (Doc): A new one with the same words.
    """
    copy = Doc(doc.vocab, words=[token.text for token in doc], spaces=[bool(token.whitespace_) for token in doc])
    for key in (ID_KEY, IMAGE_KEY):
        if key in doc.user_data:
            copy.user_data[key] = doc.user_data[key]
    copy._.knowledge = doc._.knowledge
    copy._.caption = doc._.caption
    copy._.description = doc._.description
    return copy


__all__ = ["KNOWLEDGE", "PostCorpus", "bare_copy", "make_corpus"]
