"""What is compared: the entities of posts with what of the picture each one claims, wherever they came from."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from spacy.tokens import Doc, Span

from ..post.boxes import box_area
from ..post.extensions import ID_KEY, all_masks
from ..post.rle import RLE, rle_area

Box = list[float]
Offsets = tuple[int, int]


@dataclass(frozen=True)
class Mention:
    """One entity of one post, gold or predicted.

    post (str): Id of the post (of its picture).
    text (str): Its surface text.
    type (str): PER, LOC, ORG, OTHER or whatever the data calls it.
    tokens (Optional[Tuple[int, int]]): First token and the one after the last, where known.
    chars (Optional[Tuple[int, int]]): The same in characters.
    groundable (Optional[bool]): Whether the picture shows it; None if nobody said.
    groundable_score (Optional[float]): How sure a system is that it does, 0..1.
    boxes (Tuple[Box, ...]): XYXY pixels; gold may have several.
    masks (Tuple[RLE, ...]): COCO RLE; gold may have several.
    """

    post: str
    text: str
    type: str
    tokens: Offsets | None = None
    chars: Offsets | None = None
    groundable: bool | None = None
    groundable_score: float | None = None
    boxes: tuple[Box, ...] = ()
    masks: tuple[RLE, ...] = ()

    @property
    def box(self) -> Box | None:
        """The largest box, as `Span._.box`: what a prediction with several is judged by."""
        return max(self.boxes, key=box_area) if self.boxes else None

    @property
    def mask(self) -> RLE | None:
        """The largest mask: what a prediction with several is judged by."""
        if len(self.masks) < 2:
            return self.masks[0] if self.masks else None
        return max(self.masks, key=rle_area)


@dataclass
class Annotations:
    """The entities of a set of posts, and what is known about all of them.

    posts (Dict[str, List[Mention]]): Entities by post id; posts without entities are there too.
    groundability (bool), boxes (bool), masks (bool): Whether the source says anything about them at all. A source whose
        entities carry none of it differs from one that says "not shown" of each.
    name (str): For messages, usually a file name.
    notes (List[str]): What a reader of the scores should know about the source.
    twice (List[str]): Ids of posts that came again and were left out.
    refused (List[str]): Lines of the source that were left out, and why.
    images (Dict[str, str]): References to pictures by post id, where the source has them.
    texts (Dict[str, str]): What the offsets in characters are places in, by post id, where the source has it.
    """

    posts: dict[str, list[Mention]] = field(default_factory=dict)
    groundability: bool = False
    boxes: bool = False
    masks: bool = False
    name: str = ""
    notes: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    images: dict[str, str] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)

    def add_post(self, post: str) -> None:
        """Note that the post exists, with or without entities."""
        self.posts.setdefault(post, [])

    def add(self, mention: Mention) -> None:
        """Add one entity to its post."""
        self.posts.setdefault(mention.post, []).append(mention)

    def add_doc(self, doc: Doc, post: str) -> None:
        """Add the entities of a doc, gold or processed, under the given id."""
        self.add_post(post)
        self.texts[post] = doc.text
        if isinstance(doc._.image, str):
            self.images[post] = doc._.image
        for ent in doc.ents:
            mention = span_mention(ent, post)
            self.groundability |= mention.groundable is not None
            self.boxes |= bool(mention.boxes)
            self.masks |= bool(mention.masks)
            self.add(mention)

    def take(self, other: "Annotations") -> None:
        """Add everything that other annotations hold."""
        for post, mentions in other.posts.items():
            self.posts.setdefault(post, []).extend(mentions)
        for name in ("groundability", "boxes", "masks"):
            setattr(self, name, getattr(self, name) or getattr(other, name))
        self.notes += other.notes
        self.refused += other.refused
        self.twice += other.twice
        self.images.update(other.images)
        self.texts.update(other.texts)

    @property
    def mentions(self) -> list[Mention]:
        """All entities, post by post."""
        return [mention for mentions in self.posts.values() for mention in mentions]

    def units(self) -> list[str]:
        """Which offsets every located entity has: "tokens", "chars", both or none."""
        mentions = self.mentions
        units = []
        for unit in ("tokens", "chars"):
            if not mentions or any(getattr(mention, unit) is not None for mention in mentions):
                units.append(unit)
        return units


def doc_annotations(docs: Iterable[Doc], *, name: str = "") -> Annotations:
    """The entities of docs, gold or processed.

    docs (Iterable[Doc]): Posts; one without an id is called by its place in the stream.
    name (str): For messages.
    RETURNS (Annotations): With offsets in tokens and characters.
    """
    result = Annotations(name=name)
    for number, doc in enumerate(docs):
        post = str(doc.user_data.get(ID_KEY, number))
        result.add_doc(doc, post)
    return result


def span_mention(ent: Span, post: str) -> Mention:
    """The mention that an entity of a doc is.

    ent (Span): The entity.
    post (str): Id of its post.
    """
    masks = all_masks(ent)
    groundable = ent._.groundable
    boxes = ent._.boxes
    if groundable is None and (boxes or masks):
        groundable = True
    return Mention(
        post=post,
        text=ent.text,
        type=ent.label_,
        tokens=(ent.start, ent.end),
        chars=(ent.start_char, ent.end_char),
        groundable=groundable,
        groundable_score=ent._.groundable_score,
        boxes=tuple(boxes) if groundable is not False else (),
        masks=tuple(masks) if groundable is not False else (),
    )
