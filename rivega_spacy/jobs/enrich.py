"""Captions, knowledge and expansions for files of posts, of several models side by side."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.util import minibatch, registry
from thinc.api import Config, ConfigValidationError

from ..captioning.component import Captioner
from ..corpus.sources import EXPANSIONS_FIELD, KNOWLEDGE_FIELD
from ..expansion.component import EntityExpander
from ..expansion.llm import LLMExpander
from ..knowledge.component import KnowledgeRefiner
from ..knowledge.selection import no_examples
from ..llm.asking import Asker
from ..llm.base import LanguageModel
from ..llm.store import AnswerStore
from ..ner.schemes import UNSAID, parse_tag, read_tags
from ..post.config_files import parse_config
from ..post.errors import Errors, PostError, RivegaError
from ..post.extensions import post_name, record_error
from ..post.failures import note_failure
from ..post.given_ents import entity_place
from ..post.posts import Post, post_to_doc, tidy_post
from ..post.textfiles import read_text

SECTION = "enrich"
# What a config may have besides; the last two hold values that others refer to.
SECTIONS = {SECTION, "models", "store", "examples", "prompts", "paths", "vars"}
PROMPTS = {"caption", "description", "knowledge", "expansion"}


@dataclass
class EnrichSettings:
    """What a config says.

    models (Dict[str, LanguageModel]): Name -> model; the names are those of the enriched file.
    knowledge (List[str]), expansions (List[str]): Which of them write knowledge, and expansions.
    captions (Optional[str]), descriptions (Optional[str]): Which of them describes pictures.
    main (Optional[str]): Whose answers also become `knowledge` and `expansions` themselves; None takes the first one.
    store (Optional[AnswerStore]): Where answers are kept.
    examples (Callable): Selector of in-context examples.
    prompts (Dict[str, str]): The user's prompt files, by prompt.
    max_tokens (Optional[int]): Length limit of every answer, for reasoning models, whose thoughts count; None takes each stage's own.
    """

    models: dict[str, LanguageModel]
    knowledge: list[str] = field(default_factory=list)
    expansions: list[str] = field(default_factory=list)
    captions: str | None = None
    descriptions: str | None = None
    main: str | None = None
    store: AnswerStore | None = None
    examples: Callable[[Sequence[Doc]], Any] = no_examples
    prompts: dict[str, str] = field(default_factory=dict)
    batch_size: int = 64
    max_tokens: int | None = None


def read_settings(path: str | Path, *, measured: Sequence[Path] = (), overrides: dict[str, Any] | None = None) -> EnrichSettings:
    """The settings of a config file.

    path (Union[str, Path]): See configs/enrich_openai.cfg.
    measured (Sequence[Path]): Files of posts that are measured; they are added to `exclude` of the example selector.
    overrides (Optional[Dict[str, Any]]): For example {"store.path": "answers.sqlite"}.
    RAISES (RivegaError): E020, E427.
    """
    config = read_config(path, measured=measured, overrides=overrides)
    with _config_at_fault(path):
        resolved = registry.resolve(config)
    unknown = set(resolved) - SECTIONS
    if unknown:
        raise RivegaError(
            Errors.E427.format(path=path, section=sorted(unknown)[0], reason=f"there are only {', '.join(sorted(SECTIONS))}")
        )
    prompts = resolved.get("prompts") or {}
    if set(prompts) - PROMPTS:
        reason = f"unknown {sorted(set(prompts) - PROMPTS)}; there are only {', '.join(sorted(PROMPTS))}"
        raise RivegaError(Errors.E427.format(path=path, section="prompts", reason=reason))
    section = dict(resolved.get(SECTION) or {})
    models = resolved.get("models")
    if not isinstance(models, dict) or not models:
        raise RivegaError(Errors.E427.format(path=path, section="models", reason="at least one model is needed"))
    known = {"knowledge", "expansions", "captions", "descriptions", "main", "batch_size", "max_tokens"}
    if set(section) - known:
        raise RivegaError(Errors.E427.format(path=path, section=SECTION, reason=f"unknown {sorted(set(section) - known)}"))
    for name, model in models.items():
        # One name each, in the store as in the enriched file.
        model.name = name
    settings = EnrichSettings(
        models,
        store=resolved.get("store"),
        examples=resolved.get("examples") or no_examples,
        prompts=prompts,
        **section,
    )
    named = [*settings.knowledge, *settings.expansions, settings.captions, settings.descriptions, settings.main]
    for name in named:
        if name is not None and name not in models:
            raise RivegaError(Errors.E426.format(name=name, known=", ".join(models)))
    return settings


def read_config(path: str | Path, *, measured: Sequence[Path] = (), overrides: dict[str, Any] | None = None) -> Config:
    """A config file as `read_settings` resolves it, with what is excluded from the examples. RAISES (RivegaError): E020, E427."""
    if not Path(path).is_file():
        raise RivegaError(Errors.E020.format(path=path))
    with _config_at_fault(path):
        config = parse_config(read_text(path), overrides=overrides)
    examples = config.get("examples")
    if measured and isinstance(examples, dict) and examples.get("@misc") != "rivega.NoExamples.v1":
        examples["exclude"] = [*(examples.get("exclude") or []), *(str(file) for file in measured)]
    return config


@contextmanager
def _config_at_fault(path: str | Path) -> Iterator[None]:
    """What a config cannot be read or resolved for, as E427 with its name; this package's own errors as they are."""
    try:
        yield
    except ConfigValidationError as error:
        raise RivegaError(Errors.E427.format(path=path, section="...", reason=str(error).strip().replace("\n", "; "))) from error
    except ValueError as error:
        if isinstance(error, RivegaError):
            raise
        raise RivegaError(Errors.E427.format(path=path, section="...", reason=error)) from error


class Enricher:
    """Several models over one stream of posts; all their questions of two batches are in flight together.

    nlp (Language): Makes the docs; its components, where it has some, find the entities of posts that come without.
    settings (EnrichSettings): What is asked of whom.
    """

    def __init__(self, nlp: Language, settings: EnrichSettings) -> None:
        self.nlp = nlp
        self.settings = settings
        prompts, models, store = settings.prompts, settings.models, settings.store
        limit: dict[str, Any] = {} if settings.max_tokens is None else {"max_tokens": settings.max_tokens}
        self.describers: list[Captioner] = []
        for kind, name in (("caption", settings.captions), ("description", settings.descriptions)):
            if name is not None:
                component = Captioner(
                    nlp.vocab, models[name], "rivega_captioner", store=store, fields=[kind], prompt_files={**prompts}, **limit
                )
                self.describers.append(component)
        self.refiners = {
            name: KnowledgeRefiner(
                nlp.vocab,
                models[name],
                settings.examples,
                store=store,
                prompt_file=prompts.get("knowledge"),
                overwrite=True,
                **limit,
            )
            for name in settings.knowledge
        }
        self.expanders = {
            name: EntityExpander(
                nlp.vocab, LLMExpander(models[name], store=store, prompt_file=prompts.get("expansion"), **limit), overwrite=True
            )
            for name in settings.expansions
        }

    def askers(self) -> dict[str, Asker]:
        """Who asked, by what for: their counts say what a run did."""
        found = {f"{next(iter(component.prompts))}s": component.asker for component in self.describers}
        found.update({f"knowledge of {name}": component.asker for name, component in self.refiners.items()})
        found.update({f"expansions of {name}": cast(Any, component.model).asker for name, component in self.expanders.items()})
        return found

    def prompt_sources(self) -> dict[str, str]:
        """The prompts that are asked with, by name."""
        components: list[Any] = [*self.describers, *self.refiners.values(), *(one.model for one in self.expanders.values())]
        found: dict[str, str] = {}
        for component in components:
            prompts = {"expansion": component.prompt} if isinstance(component, LLMExpander) else component.prompts
            found.update({name: prompt.source for name, prompt in prompts.items()})
        return found

    def run(self, posts: Iterable[Post | PostError], *, images: Path | None = None) -> Iterator[Post]:
        """Enrich a stream.

        posts (Iterable[Union[Post, PostError]]): With `text`, or with `tokens` and `tags`.
        images (Optional[Path]): Folder that relative image paths start from.
        YIELDS (Post): Each post as it was, with what was written for it: `caption`, `description`, `knowledge_by_model`,
            `expansions_by_model` (one entry for each of `ents`), and those of the main model as `knowledge` and `expansions`.
        """
        waiting: deque[tuple[list[tuple[Any, Doc]], dict[str, Any]]] = deque()
        for batch in minibatch(posts, size=self.settings.batch_size):
            pairs = [self._pair(post, images) for post in batch]
            docs = [doc for _, doc in pairs]
            # Knowledge needs the caption, expansions the description: those come first.
            for component in self.describers:
                component.annotate(docs)
            waiting.append((pairs, self._start(docs)))
            if len(waiting) > 1:
                yield from self._finish(*waiting.popleft())
        while waiting:
            yield from self._finish(*waiting.popleft())

    def close(self) -> None:
        """Let go of what the models hold."""
        for model in self.settings.models.values():
            model.close()
        if self.settings.store is not None:
            self.settings.store.close()

    def _pair(self, post: Post | PostError, images: Path | None) -> tuple[Any, Doc]:
        """A post, as it can be written, with its doc."""
        if isinstance(post, PostError):
            return post, post_to_doc(self.nlp, post)
        post, notes = tidy_post(post)
        doc = self._doc(post, images)
        for note in notes:
            record_error(doc, "post", note)
        return post, doc

    def _doc(self, post: Post, images: Path | None) -> Doc:
        if not isinstance(post.get("text"), str) and isinstance(post.get("tokens"), list):
            return self._tagged_doc(post, images)
        doc = post_to_doc(self.nlp, post, images=images)
        if post.get("ents") is None and self.nlp.pipe_names:
            try:
                doc = self.nlp(doc)
            except Exception as error:  # a pipeline may raise anything; the post still gets its knowledge
                note_failure("pipeline", self.nlp, [doc], error)
        return doc

    def _tagged_doc(self, post: Post, images: Path | None) -> Doc:
        """A post in the form of annotated corpora: the tokens are its words, the tags its entities."""
        tokens, tags = post["tokens"], post.get("tags")
        words = [token for token in tokens if isinstance(token, str) and token]
        head = {"id": post.get("id"), "text": "", "image": post.get("image")}
        head["caption"] = post.get("caption", post.get("caption_blip2"))
        head["description"] = post.get("description", post.get("description_owl"))
        shell = post_to_doc(self.nlp, head, images=images)
        doc = Doc(self.nlp.vocab, words=words, spaces=[True] * (len(words) - 1) + [False] if words else [])
        doc.user_data.update(shell.user_data)
        if isinstance(tags, list) and len(tags) == len(words) and all(isinstance(tag, str) for tag in tags):
            doc.ents = [Span(doc, start, end, label=label) for start, end, label in read_tags(tags)]
            for tag in tags:
                if tag != UNSAID and parse_tag(tag) is None:
                    record_error(doc, "post", Errors.E444.format(post=post_name(doc), tag=tag))
        elif tags is not None:
            record_error(doc, "post", Errors.E428.format(post=post_name(doc)))
        return doc

    def _start(self, docs: list[Doc]) -> dict[str, Any]:
        kinds: dict[str, dict[str, Any]] = {"knowledge": self.refiners, "expansions": self.expanders}
        return {kind: {name: component.begin(docs) for name, component in found.items()} for kind, found in kinds.items()}

    def _finish(self, pairs: list[tuple[Any, Doc]], waits: dict[str, Any]) -> Iterator[Post]:
        docs = [doc for _, doc in pairs]
        knowledge: list[dict[str, str]] = [{} for _ in docs]
        expansions: list[dict[str, list[str | None]]] = [{} for _ in docs]
        for name, component in self.refiners.items():
            for doc in docs:
                doc._.knowledge = None
            component.finish(docs, waits["knowledge"][name])
            for doc, found in zip(docs, knowledge):
                if doc._.knowledge:
                    found[name] = doc._.knowledge
        for name, expander in self.expanders.items():
            for doc in docs:
                for ent in doc.ents:
                    ent._.expansion = None
            expander.finish(docs, waits["expansions"][name])
            for doc, lists in zip(docs, expansions):
                if any(ent._.expansion for ent in doc.ents):
                    lists[name] = [ent._.expansion for ent in doc.ents]
        for (post, doc), texts, named in zip(pairs, knowledge, expansions):
            yield self._enriched(post, doc, texts, named)

    def _enriched(self, post: Any, doc: Doc, texts: dict[str, str], lists: dict[str, list[str | None]]) -> Post:
        row: Post = {} if isinstance(post, PostError) else dict(post)
        for name in ("caption", "description"):
            if doc._.get(name):
                row[name] = doc._.get(name)
        main = self.settings.main
        for names, found, field_name, by_model in (
            (self.settings.knowledge, texts, "knowledge", KNOWLEDGE_FIELD),
            (self.settings.expansions, lists, "expansions", EXPANSIONS_FIELD),
        ):
            if not names:
                continue
            former = row.get(by_model)
            row[by_model] = {**(former if isinstance(former, dict) else {}), **found}
            chosen = main if main in names else names[0]
            if chosen in found:
                row[field_name] = found[chosen]
        if self.settings.expansions:
            ents = [[ent.start_char, ent.end_char, ent.label_] for ent in doc.ents]
            found_ents = row.get("ents")
            given = found_ents if isinstance(found_ents, list) else []
            places = [entity_place(value, doc.text) for value in given]
            # Objects of the same entities hold more than offsets (boxes, masks): they stay.
            if [None if place is None else list(place[:3]) for place in places] != ents:
                row["ents"] = ents
        if doc._.rivega_errors:
            row["errors"] = doc._.rivega_errors
        else:
            row.pop("errors", None)
        return row
