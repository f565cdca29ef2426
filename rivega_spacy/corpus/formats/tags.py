"""The tags of a file, whatever scheme they are of, as BIO; what they do not say is counted."""

from ...ner.schemes import UNSAID, bio_tags, parse_tag, read_tags
from .dirt import Dirt


class TagReader:
    """Reads the tags of the posts of one file, one post after the other.

    In BIO an I- that continues nothing is a fault; in IOB1 it is how entities begin, and B- only parts two of one type. Which of them
    a file is written in shows at its first B- that parts nothing; what may be a fault is held back until then.

    dirt (Dirt): Takes what does not fit.
    """

    def __init__(self, dirt: Dirt) -> None:
        self.dirt = dirt
        self.iob1 = True
        self.waiting: list[str] = []

    def read(self, name: str, tokens: list[str], tags: list[str]) -> list[str]:
        """The tags of a post as BIO.

        name (str): The post.
        tokens (List[str]), tags (List[str]): Of equal length.
        RETURNS (List[str]): Of the same length; a tag of no scheme is O, "-" (nothing is said of the token) stays.
        """
        before = None
        for token, written in zip(tokens, tags):
            tag = parse_tag(written)
            if tag is None and written != UNSAID:
                self.dirt.note("unknown_tag", f"{name} {token!r} {written!r}")
            elif tag is not None and tag.label:
                if written not in (f"B-{tag.label}", f"I-{tag.label}"):
                    self.dirt.note("other_scheme", f"{name} {token!r} {written!r}")
                follows = before is not None and before.label == tag.label
                if tag.prefix in "IE" and not (follows and before is not None and before.prefix in "BI"):
                    self._orphan(f"{name} {token!r}")
                elif tag.prefix == "S" or (tag.prefix == "B" and not follows):
                    self._not_iob1()
            before = tag
        return [UNSAID if written == UNSAID else tag for written, tag in zip(tags, bio_tags(read_tags(tags), len(tags)))]

    def close(self) -> None:
        """Say at the end of the file what its entities that begin with I- are."""
        for where in self.waiting:
            self.dirt.note("iob1", where)
        self.waiting = []

    def _orphan(self, where: str) -> None:
        if self.iob1:
            self.waiting.append(where)
        else:
            self.dirt.note("orphan_tag", where)

    def _not_iob1(self) -> None:
        self.iob1 = False
        waiting, self.waiting = self.waiting, []
        for where in waiting:
            self.dirt.note("orphan_tag", where)
