"""What several language models wrote about one post, kept on it side by side."""

from collections.abc import Iterator
from typing import Any

from spacy.tokens import Doc

# Where a post keeps {"knowledge": {source: text}, "expansions": {source: [text or null for each entity]}}.
SOURCES_KEY = "rivega_sources"
KNOWLEDGE_FIELD, EXPANSIONS_FIELD = "knowledge_by_model", "expansions_by_model"


def keep_sources(doc: Doc, row: dict[str, Any]) -> None:
    """Take over the answers of several models from a post in JSON; what is not of the form is left out.

    doc (Doc): The post.
    row (Dict[str, Any]): May have `knowledge_by_model` {name: text} and `expansions_by_model` {name: [text or null, ...]}.
    """
    kept: dict[str, dict[str, Any]] = {}
    texts = row.get(KNOWLEDGE_FIELD)
    if isinstance(texts, dict):
        kept["knowledge"] = {str(name): text for name, text in texts.items() if isinstance(text, str)}
    lists = row.get(EXPANSIONS_FIELD)
    if isinstance(lists, dict):
        kept["expansions"] = {
            str(name): values
            for name, values in lists.items()
            if isinstance(values, list) and all(value is None or isinstance(value, str) for value in values)
        }
    if any(kept.values()):
        doc.user_data[SOURCES_KEY] = kept


def source_names(doc: Doc) -> list[str]:
    """The models that wrote something about a post, sorted."""
    kept = doc.user_data.get(SOURCES_KEY, {})
    return sorted({name for field in kept.values() for name in field})


def per_source(doc: Doc, sources: list[str] | None = None) -> Iterator[Doc]:
    """A post once for each source, with that source's knowledge and expansions.

    doc (Doc): With annotation; it is not changed.
    sources (Optional[List[str]]): Their names; None takes all that the post has.
    YIELDS (Doc): Copies; the post itself where it has nothing of any source.
    """
    present = source_names(doc)
    names = present if sources is None else [name for name in sources if name in present]
    if not names:
        yield doc
    for name in names:
        yield take_source(doc, name)


def take_source(doc: Doc, name: str) -> Doc:
    """A copy of a post as one model saw it.

    doc (Doc): With answers side by side.
    name (str): The model.
    RETURNS (Doc): Its `knowledge` is that model's (None if it wrote none); entities without an expansion of its have none.
    """
    kept = doc.user_data.get(SOURCES_KEY, {})
    copy = doc.copy()
    copy._.knowledge = kept.get("knowledge", {}).get(name)
    expansions = kept.get("expansions", {}).get(name)
    if expansions is not None and len(expansions) == len(copy.ents):
        for ent, expansion in zip(copy.ents, expansions):
            ent._.expansion = expansion
    return copy
