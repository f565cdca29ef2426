"""What a doc says of its post, in values that can be compared."""

from typing import Any

from spacy.tokens import Doc


def state(doc: Doc) -> Any:
    """Entities with all their attributes, and what the doc itself carries."""
    ents = [
        (
            e.text,
            e.label_,
            e._.expansion,
            e._.groundable,
            e._.groundable_score,
            e._.boxes,
            e._.box,
            e._.box_score,
            e._.mask_rle,
            e._.mask_score,
        )
        for e in doc.ents
    ]
    return ents, doc._.image, doc._.caption, doc._.knowledge, doc._.description, doc._.rivega_errors
