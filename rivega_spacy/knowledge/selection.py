"""Which annotated examples a prompt shows (paper, section IV-B b, and Table VI): the most alike, fixed ones, or none."""

import random
from collections.abc import Callable, Sequence

import numpy as np
from spacy.tokens import Doc

from ..pipes.model_asking import doc_id
from ..post.errors import Errors, RivegaError
from .encoders import ColourEncoder, HashedTextEncoder
from .example_bank import ExampleBank, ImageEncoder, TextEncoder, encode_docs, encode_examples, load_bank
from .examples import SHIPPED, Example, Exclusion, fingerprint, read_examples, same_post

# The examples for each post, in the order they are shown.
Selector = Callable[[Sequence[Doc]], list[list[Example]]]


def make_msea(
    bank: str | None = None,
    n: int = 5,
    text_encoder: TextEncoder | None = None,
    image_encoder: ImageEncoder | None = None,
    text_weight: float = 0.5,
    exclude: list[str] | None = None,
) -> "SimilarExamples":
    """`rivega.MSEA.v1`: Multimodal Similar Example Awareness.

    bank (Optional[str]): Features that `rivega examples build` computed, made with the same encoders; None takes the few examples
        that come with the package.
    n (int): Examples a prompt; the paper's N is 5.
    text_encoder (Optional[TextEncoder]): None takes `rivega.HashedTextEncoder.v1`, which needs no weights.
    image_encoder (Optional[ImageEncoder]): None takes `rivega.ColourEncoder.v1`, which needs no weights.
    text_weight (float): The text's share of the cosine, 0 to 1; the picture has the rest.
    exclude (Optional[List[str]]): Files of posts that are measured: none of them is ever shown.
    """
    return SimilarExamples(
        load_bank(bank) if bank is not None else None,
        n=n,
        text_encoder=text_encoder if text_encoder is not None else HashedTextEncoder(),
        image_encoder=image_encoder if image_encoder is not None else ColourEncoder(),
        text_weight=text_weight,
        exclusion=Exclusion(exclude or ()),
    )


def make_fixed_examples(
    path: str | None = None, n: int = 5, seed: int | None = None, exclude: list[str] | None = None
) -> "FixedExamples":
    """`rivega.FixedExamples.v1`: the same examples for every post (Table VI).

    path (Optional[str]): Annotated examples; None takes those of the package.
    n (int): How many.
    seed (Optional[int]): Draws them; None takes the first ones.
    exclude (Optional[List[str]]): Files of posts that are measured: none of them is ever shown.
    """
    examples = Exclusion(exclude or ()).keep(read_examples(path if path is not None else SHIPPED)[0])
    if seed is not None:
        random.Random(seed).shuffle(examples)
    return FixedExamples(examples, n)


def make_no_examples() -> Selector:
    """`rivega.NoExamples.v1`: the head and the post alone (Table VI)."""
    return no_examples


def no_examples(docs: Sequence[Doc]) -> list[list[Example]]:
    """None for any post."""
    return [[] for _ in docs]


class FixedExamples:
    """The first `n` of a list; where one of them is the post itself, the next one takes its place."""

    def __init__(self, examples: Sequence[Example], n: int) -> None:
        _check_number(n)
        self.examples = list(examples)
        self.n = n

    def __call__(self, docs: Sequence[Doc]) -> list[list[Example]]:
        chosen = []
        for doc in docs:
            post, text_print = doc_id(doc), fingerprint(doc.text)
            others = (example for example in self.examples if not same_post(example, post, text_print))
            chosen.append([example for example, _ in zip(others, range(self.n))])
        return chosen


class SimilarExamples:
    """Top N by the cosine of fused features (paper, equations of section IV-B b).

    Text and picture vectors have length 1 each and are joined with the weights' roots, so that the cosine of two fused vectors is
    the weighted mean of the two cosines. Where a post or an example has no picture, the text's cosine stands alone.
    """

    def __init__(
        self,
        bank: ExampleBank | None,
        *,
        n: int = 5,
        text_encoder: TextEncoder,
        image_encoder: ImageEncoder,
        text_weight: float = 0.5,
        exclusion: Exclusion | None = None,
    ) -> None:
        _check_number(n)
        if not 0.0 <= text_weight <= 1.0:
            raise RivegaError(Errors.E416.format(field="text_weight", value=text_weight, wanted="between 0 and 1"))
        if bank is not None:
            bank.check(text_encoder, image_encoder)
        self.n = n
        self.text_encoder = text_encoder
        self.image_encoder = image_encoder
        self.text_weight = text_weight
        self.exclusion = exclusion if exclusion is not None else Exclusion()
        self._bank = None if bank is None else bank.without(self.exclusion)

    @property
    def bank(self) -> ExampleBank:
        """The examples that may be shown, with their features; those of the package are encoded when first needed."""
        if self._bank is None:
            examples = self.exclusion.keep(read_examples(SHIPPED)[0])
            self._bank = encode_examples(examples, self.text_encoder, self.image_encoder)
        return self._bank

    def __call__(self, docs: Sequence[Doc]) -> list[list[Example]]:
        if not docs or self.n == 0 or not self.bank.examples:
            return [[] for _ in docs]
        scores = self.similarities(docs)
        chosen = []
        for doc, row in zip(docs, scores):
            post, text_print = doc_id(doc), fingerprint(doc.text)
            # Ties go to the earlier example, on every machine.
            order = np.argsort(-row, kind="stable")
            examples = (self.bank.examples[index] for index in order)
            others = (example for example in examples if not same_post(example, post, text_print))
            chosen.append([example for example, _ in zip(others, range(self.n))])
        return chosen

    def similarities(self, docs: Sequence[Doc]) -> np.ndarray:
        """Cosines of fused features.

        docs (Sequence[Doc]): n posts.
        RETURNS (ndarray): n x m float32, for the m examples of the bank.
        """
        text, image, has_image = encode_docs(docs, self.text_encoder, self.image_encoder)
        bank = self.bank
        by_text = text @ bank.text.T
        if not has_image.any() or not bank.has_image.any():
            return by_text
        both = np.outer(has_image, bank.has_image)
        fused = self.text_weight * by_text + (1.0 - self.text_weight) * (image @ bank.image.T)
        return np.where(both, fused, by_text)


def _check_number(n: int) -> None:
    if n < 0:
        raise RivegaError(Errors.E416.format(field="n", value=n, wanted="0 or more"))
