"""From posts to what entailment and grounding networks are asked, and from gold posts to what they should answer."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from spacy.tokens import Doc, Span
from spacy.training import Example
from thinc.api import Model, Optimizer

from ..post import images
from ..post.errors import Errors, RivegaError, SetupError
from ..post.expressions import expression_of
from ..post.extensions import all_masks
from ..post.images import doc_image, doc_view, image_digest
from .contract import promise
from .queries import VIEW_KEY, ImageQueries, QueryTarget


class Asked(NamedTuple):
    """The questions of a batch of posts.

    queries (List[ImageQueries]): One for each post that asks something about a readable picture.
    owners (List[Tuple[int, List[int]]]): For each of them the post, and which of its `doc.ents` are asked about.
    """

    queries: list[ImageQueries]
    owners: list[tuple[int, list[int]]]


def ask(
    docs: Sequence[Doc],
    component: str,
    wanted: Callable[[Span], bool],
    *,
    expression: str = "both",
    labels: Mapping[str, str] | None = None,
    side: int = 0,
) -> Asked:
    """Collect the questions of a batch.

    docs (Sequence[Doc]): Posts; they stay as they are, but for notes on pictures that cannot be read.
    component (str): Who asks, for those notes.
    wanted (Callable[[Span], bool]): Which entities to ask about.
    expression (str), labels (Optional[Mapping[str, str]]): What of each entity: see `expressions.Expression.in_form` and `expressions.expression_of`.
    side (int): So many pixels of a picture's shorter side are enough (`contract.PictureSide`); 0 takes it as it is.
    RETURNS (Asked): The questions. Posts with equal pictures have equal `image_key`s.
    """
    queries: list[ImageQueries] = []
    owners: list[tuple[int, list[int]]] = []
    for number, doc in enumerate(docs):
        spans = [(place, ent) for place, ent in enumerate(doc.ents) if wanted(ent)]
        if side and spans:
            image, frame = doc_view(doc, component, side) or (None, None)
        else:
            image, frame = doc_image(doc, component) if spans else None, None
        if image is None:
            continue
        expressions = [expression_of(ent, labels).in_form(expression) for _, ent in spans]
        queries.append(ImageQueries(image, expressions, doc._.caption or "", image_digest(doc._.image), frame))
        owners.append((number, [place for place, _ in spans]))
    return Asked(queries, owners)


def ask_in_parts(
    docs: Sequence[Doc],
    component: str,
    wanted: Callable[[Span], bool],
    use: Callable[[Asked], None],
    *,
    expression: str = "both",
    labels: Mapping[str, str] | None = None,
    masks: bool = False,
    side: int = 0,
) -> None:
    """Collect the questions of a batch, a part at a time, so that never more than `images.PART_BYTES` of decoded pictures are held.

    docs (Sequence[Doc]), component (str), wanted (Callable), expression (str), labels (Optional[Mapping[str, str]]), side (int): As in `ask`.
    use (Callable[[Asked], None]): Is given each part; of pictures of ordinary size a batch is one part.
    masks (bool): Every answer is a mask of the picture's size, which counts too.
    """
    queries: list[ImageQueries] = []
    owners: list[tuple[int, list[int]]] = []
    held = 0
    for number, doc in enumerate(docs):
        asked = ask([doc], component, wanted, expression=expression, labels=labels, side=side)
        for query, (_, places) in zip(*asked):
            height, width = query.image.shape[:2]
            need = query.image.nbytes + (height * width * len(places) if masks else 0)
            if queries and held + need > images.PART_BYTES:
                use(Asked(queries, owners))
                queries, owners, held = [], [], 0
            queries.append(query)
            owners.append((number, places))
            held += need
    if queries:
        use(Asked(queries, owners))


def side_of(model: Model) -> int:
    """What a model promises of the pictures that it needs (`contract.PictureSide`); 0 if it wants them as they are."""
    needed = promise(model, "picture_side")
    return 0 if needed is None else needed(model)


def answers_by_post(
    model: Model, docs: Sequence[Doc], asked: Asked, fail: Callable[[Sequence[Doc], Exception], None]
) -> list[np.ndarray | None]:
    """Put a batch of questions to a model; where that fails, put them one post at a time, so that one post's trouble stays its own.

    model (Model): From List[ImageQueries] to one array a picture.
    docs (Sequence[Doc]): The posts.
    asked (Asked): What `ask` returned for them.
    fail (Callable): Takes a post and what the model raised on it (`failures.Failing.fail`).
    RETURNS (List[Optional[np.ndarray]]): One for each query; None if the model failed.
    RAISES (SetupError): If the model cannot work at all.
    """
    if not asked.queries:
        return []
    try:
        return list(model.predict(asked.queries))
    except SetupError:
        raise
    except Exception as batch_error:  # whatever a network raises on a picture stays with its post below
        failure = batch_error
    results: list[np.ndarray | None] = []
    for query, (number, _) in zip(asked.queries, asked.owners):
        try:
            results.append(model.predict([query])[0] if len(asked.queries) > 1 else _raise(failure))
        except Exception as error:  # told, and the batch goes on
            fail([docs[number]], error)
            results.append(None)
    return results


def _raise(error: Exception) -> Any:
    raise error


def learn(
    model: Model,
    examples: Iterable[Example],
    component: str,
    *,
    drop: float,
    losses: dict[str, float],
    sgd: Optimizer | None,
    expression: str = "both",
    labels: Mapping[str, str] | None = None,
) -> dict[str, float]:
    """One training step of an entailment or grounding network on gold entities.

    model (Model): One that promises a `contract.TrainStep`.
    examples (Iterable[Example]): The reference docs carry picture, entities, `groundable` and `boxes`.
    component (str): Under which name the loss is kept.
    drop (float): Dropout.
    losses (Dict[str, float]): Changed in place.
    sgd (Optional[Optimizer]): Takes the step if given.
    expression (str), labels (Optional[Mapping[str, str]]): As in `ask`.
    RETURNS (Dict[str, float]): The losses.
    RAISES (RivegaError): E206 if the architecture cannot be trained, E262 if it cannot learn from views.
    """
    step = promise(model, "train_step")
    if step is None:
        raise RivegaError(Errors.E206.format(component=component, model=model.name))
    losses.setdefault(component, 0.0)
    examples = list(examples)
    views = [example.reference.user_data[VIEW_KEY] for example in examples if VIEW_KEY in example.reference.user_data]
    if views:
        learn_views = promise(model, "train_views")
        if learn_views is None:
            raise RivegaError(Errors.E262.format(component=component, model=model.name))
        losses[component] += float(learn_views(model, views, dropout=drop)["loss"])
        if sgd is not None:
            model.finish_update(sgd)
        return losses
    queries, targets = training_batch(examples, component, expression=expression, labels=labels)
    if queries:
        parts = step(model, queries, targets, dropout=drop)
        losses[component] += float(parts.get("loss", sum(parts.values())))
        if sgd is not None:
            model.finish_update(sgd)
    return losses


def training_batch(
    examples: Iterable[Example], component: str, *, expression: str = "both", labels: Mapping[str, str] | None = None
) -> tuple[list[ImageQueries], list[list[QueryTarget]]]:
    """Gold entities of examples as questions with their answers.

    examples (Iterable[Example]): See `learn`.
    component (str): Who learns, for notes on unreadable pictures.
    expression (str), labels (Optional[Mapping[str, str]]): As in `ask`.
    RETURNS (Tuple[List[ImageQueries], List[List[QueryTarget]]]): Pictures with expressions; for each
        expression its target. Posts without picture or entities are left out.
    """
    references = [example.reference for example in examples]
    asked = ask(references, component, _any, expression=expression, labels=labels)
    if expression != "name" and asked.owners and component not in _TOLD:
        expanded = any(references[number].ents[place]._.expansion for number, places in asked.owners for place in places)
        _EXPANDED.update([component] if expanded else [])
        if not expanded and component not in _EXPANDED:
            _TOLD.add(component)
            warnings.warn(Errors.W091.format(component=component), stacklevel=2)
    targets: list[list[QueryTarget]] = []
    for number, places in asked.owners:
        ents = references[number].ents
        targets.append([_target(ents[place]) for place in places])
    return asked.queries, targets


# Components of this process whose training posts have expansions, and those that were told that theirs have none.
_EXPANDED: set[str] = set()
_TOLD: set[str] = set()


def _any(ent: Span) -> bool:
    return True


def _target(ent: Span) -> QueryTarget:
    boxes = np.array(ent._.boxes, dtype="float32").reshape(-1, 4)
    # Boxes say by themselves that the picture shows the entity.
    groundable = True if len(boxes) and ent._.groundable is None else ent._.groundable
    if groundable is False:
        return QueryTarget(groundable, boxes[:0])
    return QueryTarget(groundable, boxes, tuple(all_masks(ent)))


def start_model(model: Model, component: str, *, weights: str | None, word_vectors: str | None, wordnet: str | None = None) -> None:
    """Give a network its first weights.

    model (Model): Entailment or grounding model.
    component (str): Whose it is, for the error.
    weights (Optional[str]): A file of weights, for architectures that promise `contract.LoadWeights`.
    word_vectors (Optional[str]): A sentence encoder to begin from, for architectures that promise `contract.Start`.
    wordnet (Optional[str]): Folder of WordNet's database files, for the same.
    RAISES (RivegaError): E207 if weights are given to an architecture that takes none.
    """
    load, start = promise(model, "load"), promise(model, "start")
    if weights is not None:
        if load is None:
            raise RivegaError(Errors.E207.format(component=component, model=model.name, weights=weights))
        load(model, weights)
    elif start is not None:
        start(model, word_vectors, wordnet)
    model.initialize()
