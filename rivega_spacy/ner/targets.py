"""What the gold side of a post says of its tags, and what it leaves open.

An annotation may be partial in two ways. A corpus has no word for a type ("missing labels": the Broad Twitter Corpus knows no OTHER), so that
a token outside its entities may still belong to one of that type; or it says nothing of a token (spaCy's missing annotation, `-` in BILUO
tags). Neither is learnt as O: the loss sums over all tag sequences that agree with what is said.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from spacy.attrs import ENT_IOB, ORTH
from spacy.tokens import Doc
from spacy.training import Example
from spacy.training.iob_utils import doc_to_biluo_tags

from ..post.errors import Errors, PostError, RivegaError
from ..post.extensions import ID_KEY
from .schemes import TagScheme

# The key of a gold post's `user_data` with the entity types that its corpus does not annotate.
MISSING_LABELS_KEY = "rivega_missing_labels"


def check_missing_labels(labels: Any) -> list[str]:
    """The value of a setting or field.

    labels (Any): What was given; None is none.
    RETURNS (List[str]): Entity types.
    RAISES (RivegaError): E390 if it is not a list of names.
    """
    if labels is None:
        return []
    if not isinstance(labels, (list, tuple)) or not all(isinstance(label, str) and label for label in labels):
        raise RivegaError(Errors.E390.format(value=labels))
    return list(dict.fromkeys(labels))


def set_missing_labels(doc: Doc, labels: Sequence[str]) -> None:
    """Say which entity types the annotation of a gold post does not have.

    doc (Doc): The gold post; types that it says already stay.
    labels (Sequence[str]): Entity types.
    RAISES (PostError): E391 if the post has an entity of one of them.
    """
    labels = list(dict.fromkeys([*missing_labels(doc), *labels]))
    for entity in doc.ents:
        if entity.label_ in labels:
            raise PostError(
                Errors.E391.format(post=repr(str(doc.user_data.get(ID_KEY, ""))), entity=entity.text, label=entity.label_)
            )
    if labels:
        doc.user_data[MISSING_LABELS_KEY] = labels


def missing_labels(doc: Doc) -> list[str]:
    """The entity types that the annotation of a gold post does not have; none for most."""
    return list(doc.user_data.get(MISSING_LABELS_KEY) or ())


def gold_tags(example: Example) -> list[str | None]:
    """BILUO tags of the gold entities on the tokens of the predicted side; None for a token about which gold says nothing."""
    predicted, reference = example.predicted, example.reference
    if np.array_equal(predicted.to_array([ORTH]), reference.to_array([ORTH])):
        # The same words: aligning them token by token would take longer than the loss itself.
        said = reference.to_array([ENT_IOB]) != 0
        return [tag if known else None for tag, known in zip(doc_to_biluo_tags(reference), said)]
    return list(example.get_aligned_ner())


def targets(examples: Sequence[Example], scheme: TagScheme) -> tuple[list[int], np.ndarray]:
    """The tags that agree with the gold posts.

    examples (Sequence[Example]): Posts with at least one token each.
    scheme (TagScheme): The tagger's.
    RETURNS (Tuple[List[int], ndarray]): Which of the examples can be learnt from (R of them), and R x L x n_tags bool, True behind a
        post's length. One True a token if nothing is left open.
    RAISES (RivegaError): E392 if a post's missing labels are types that the tagger does not have.
    """
    found = []
    for example in examples:
        missing = missing_labels(example.reference)
        unknown = [label for label in missing if label not in scheme.labels]
        if unknown:
            raise RivegaError(Errors.E392.format(labels=", ".join(unknown), known=", ".join(scheme.labels)))
        found.append(scheme.agreeing(gold_tags(example), missing))
    learnt = [(row, allowed) for row, allowed in enumerate(found) if allowed is not None]
    width = max((len(allowed) for _, allowed in learnt), default=0)
    agreeing = np.ones((len(learnt), width, len(scheme)), dtype=bool)
    for place, (_, allowed) in enumerate(learnt):
        agreeing[place, : len(allowed)] = allowed
    return [row for row, _ in learnt], agreeing


__all__ = ["MISSING_LABELS_KEY", "check_missing_labels", "gold_tags", "missing_labels", "set_missing_labels", "targets"]
