"""Knowledge without a language model: passages of the user's own collection, or the caption, as z.

Retrieved text (and the passages of pictures that look alike) helps multimodal named entity recognition as MoRe showed (Wang et al. 2022,
"Named Entity and Relation Extraction with Multi-Modal Retrieval"); a caption in the text's window as ITA did (Wang et al. 2022).
"""

from collections.abc import Callable, Sequence

import numpy as np
from spacy.tokens import Doc

from ..pipes.model_asking import doc_id
from ..post.errors import Errors, RivegaError
from ..post.images import doc_image
from .collection import Collection, Passage
from .example_bank import ImageEncoder, unit_rows
from .examples import fingerprint

# So many more are looked up than are shown: the collection may hold the post itself, or what was written about it, in several passages.
_SPARE = 4
# From posts to what becomes their knowledge; "" if there is none.
Source = Callable[[Sequence[Doc]], list[str]]


class RetrievedKnowledge:
    """`rivega.RetrievedKnowledge.v1`: the passages most like a post, joined until `max_words` is reached.

    path (str): A collection that `rivega index` built.
    n (int): Passages by the words of the post (BM25).
    image_encoder (Optional[ImageEncoder]): The one that the collection was built with; None leaves pictures out.
    n_image (int): Passages by the picture, where there is an encoder; they come after those by the words.
    max_words (int): Words of z; the recorded answers of the paper's model have 90.

    A passage with the id or the text of the post itself is never taken.
    """

    def __init__(
        self, path: str, *, n: int = 3, image_encoder: ImageEncoder | None = None, n_image: int = 1, max_words: int = 120
    ) -> None:
        for name, value, least in (("n", n, 0), ("n_image", n_image, 0), ("max_words", max_words, 1)):
            if value < least:
                raise RivegaError(Errors.E416.format(field=name, value=value, wanted=f"{least} or more"))
        if image_encoder is None and n_image not in (0, 1):
            raise RivegaError(Errors.E849.format(option="n_image", where="without `image_encoder`", remedy="name one"))
        if not n and (image_encoder is None or not n_image):
            raise RivegaError(
                Errors.E416.format(field="n", value=n, wanted="1 or more, unless passages are looked for by the picture")
            )
        self.collection = Collection(path)
        if image_encoder is not None and self.collection.encoder != image_encoder.name:
            built = self.collection.encoder or "no image encoder"
            raise RivegaError(Errors.E888.format(path=path, reason=f"it was built with {built}, not with {image_encoder.name}"))
        self.n, self.n_image, self.max_words = n, n_image, max_words
        self.image_encoder = image_encoder

    def __call__(self, docs: Sequence[Doc]) -> list[str]:
        by_text = self.collection.by_text([doc.text for doc in docs], self.n + _SPARE if self.n else 0)
        by_picture = self._by_picture(docs)
        return [self._join(doc, found, seen) for doc, found, seen in zip(docs, by_text, by_picture)]

    def _by_picture(self, docs: Sequence[Doc]) -> list[list[Passage]]:
        found: list[list[Passage]] = [[] for _ in docs]
        if self.image_encoder is None or not self.n_image:
            return found
        for row, doc in enumerate(docs):
            image = doc_image(doc, "rivega_retriever")
            if image is not None:
                vector = unit_rows(np.asarray(self.image_encoder([image])))
                found[row] = self.collection.by_picture(vector, self.n_image + _SPARE)[0]
        return found

    def _join(self, doc: Doc, by_text: Sequence[Passage], by_picture: Sequence[Passage]) -> str:
        own, name = fingerprint(doc.text), doc_id(doc)
        parts: list[str] = []
        used: set[int] = set()
        left = self.max_words
        for passages, most in ((by_text, self.n), (by_picture, self.n_image)):
            # A post that is its own knowledge would teach a tagger to copy.
            others = [one for one in passages if one.id not in used and not _same(one, doc.text, own, name)]
            for passage in others[:most]:
                words = passage.text.split()[:left]
                if words:
                    parts.append(" ".join(words))
                    used.add(passage.id)
                    left -= len(words)
        return "\n".join(parts)


def _same(passage: Passage, text: str, own: str, name: str) -> bool:
    return passage.text == text or bool(own and passage.print == own) or bool(name and passage.name == name)


class CaptionKnowledge:
    """`rivega.CaptionKnowledge.v1`: the post's caption, from the post or from `rivega_captioner`."""

    def __call__(self, docs: Sequence[Doc]) -> list[str]:
        return [doc._.caption or "" for doc in docs]


def make_retrieved_knowledge(
    path: str, n: int = 3, image_encoder: ImageEncoder | None = None, n_image: int = 1, max_words: int = 120
) -> RetrievedKnowledge:
    """`rivega.RetrievedKnowledge.v1`: see `RetrievedKnowledge`."""
    return RetrievedKnowledge(path, n=n, image_encoder=image_encoder, n_image=n_image, max_words=max_words)


def make_caption_knowledge() -> CaptionKnowledge:
    """`rivega.CaptionKnowledge.v1`: see `CaptionKnowledge`."""
    return CaptionKnowledge()
