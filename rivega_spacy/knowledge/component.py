"""`rivega_knowledge`: writes `doc._.knowledge`, the paper's auxiliary refined knowledge z."""

from collections.abc import Callable, Sequence
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc
from thinc.api import Config

from ..llm.asking import Asker, Result
from ..llm.base import Answer, ChatRequest, LanguageModel
from ..llm.prompting import load_prompt, load_reminder
from ..llm.safety import clean_answer
from ..llm.store import AnswerStore
from ..pipes.model_asking import AskingPipe, doc_id, note_failure
from ..post.errors import Errors, SetupError
from ..post.extensions import post_name, record_error
from .examples import Example
from .selection import Selector

default_knowledge_config = """
[model]
@misc = "rivega.OpenAIChat.v1"
model = "gpt-4o-mini"

[examples]
@misc = "rivega.MSEA.v1"
n = 5
"""
_DEFAULTS = Config().from_str(default_knowledge_config)
DEFAULT_KNOWLEDGE_MODEL = _DEFAULTS["model"]
DEFAULT_EXAMPLES = _DEFAULTS["examples"]

FIELDS = ("text", "caption")
# The recorded answers of the paper's model have 90 words, 210 at most.
MOST_WORDS = 400


@Language.factory(
    "rivega_knowledge",
    assigns=["doc._.knowledge"],
    default_config={
        "model": DEFAULT_KNOWLEDGE_MODEL,
        "examples": DEFAULT_EXAMPLES,
        "store": None,
        "prompt": None,
        "max_tokens": 512,
        "overwrite": False,
    },
)
def make_knowledge(
    nlp: Language,
    name: str,
    model: LanguageModel,
    examples: Selector,
    store: AnswerStore | None,
    prompt: str | None,
    max_tokens: int,
    overwrite: bool,
) -> "KnowledgeRefiner":
    """Construct the component.

    model (LanguageModel): The language model to ask.
    examples (Selector): `rivega.MSEA.v1`, `rivega.FixedExamples.v1` or `rivega.NoExamples.v1` (Table VI).
    store (Optional[AnswerStore]): `rivega.AnswerStore.v1`.
    prompt (Optional[str]): The user's prompt file; None means the package's.
    max_tokens (int): Length limit of an answer.
    overwrite (bool): Replace knowledge that came with the post.
    """
    return KnowledgeRefiner(
        nlp.vocab, model, examples, name, store=store, prompt_file=prompt, max_tokens=max_tokens, overwrite=overwrite
    )


class KnowledgeRefiner(AskingPipe):
    """Heuristic enhanced generation: head, in-context examples, the post (paper, section IV-B c)."""

    settings = ("overwrite", "max_tokens")
    positive = ("max_tokens",)

    def __init__(
        self,
        vocab: Any,
        model: LanguageModel,
        examples: Selector,
        name: str = "rivega_knowledge",
        *,
        store: AnswerStore | None = None,
        prompt_file: str | None = None,
        max_tokens: int = 512,
        overwrite: bool = False,
    ) -> None:
        self.vocab = vocab
        self.name = name
        self.examples = examples
        self.asker = Asker(model, store, load_reminder())
        self.prompt_files = {"knowledge": prompt_file}
        self.prompts = {"knowledge": load_prompt("knowledge", FIELDS, prompt_file)}
        self.cfg: dict[str, Any] = {"overwrite": overwrite, "max_tokens": max_tokens}
        self.remember_settings()

    def start(self, docs: Sequence[Doc]) -> Callable[[], tuple[list[Result | None], list[str]]]:
        """Begin to ask about these posts; no post is changed."""
        asked = [doc for doc in docs if self._wanted(doc)]
        chosen, problem = self._choose(asked)
        by_doc = {id(doc): examples for doc, examples in zip(asked, chosen)}
        requests = [self._request(doc, by_doc[id(doc)]) if id(doc) in by_doc else None for doc in docs]
        pending = self.asker.start(requests, _validate)
        problems = [problem if id(doc) in by_doc else "" for doc in docs]

        def wait() -> tuple[list[Result | None], list[str]]:
            return pending.results(), problems

        return wait

    def set_annotations(self, docs: Sequence[Doc], answers: tuple[list[Result | None], list[str]]) -> None:
        """Write the knowledge; if there is none, the reason."""
        for doc, result, problem in zip(docs, *answers):
            if problem:
                record_error(doc, self.name, Errors.E425.format(post=post_name(doc), reason=problem))
            if result is None:
                continue
            if result.text is None:
                note_failure(doc, self.name, self.asker, "knowledge", result)
            else:
                doc._.knowledge = result.text

    def _wanted(self, doc: Doc) -> bool:
        return bool(doc.text.strip()) and (self.cfg["overwrite"] or not doc._.knowledge)

    def _choose(self, docs: Sequence[Doc]) -> tuple[list[list[Example]], str]:
        """In-context examples for each post; none, with the reason, if they cannot be selected."""
        try:
            return self.examples(docs), ""
        except SetupError:
            raise
        except Exception as error:  # encoders run foreign code; a prompt without examples is better than no prompt
            return [[] for _ in docs], f"{type(error).__name__}: {error}"

    def _request(self, doc: Doc, examples: Sequence[Example]) -> ChatRequest:
        prompt = self.prompts["knowledge"]
        values = {"text": doc.text, "caption": doc._.caption or "no picture"}
        shown = [{"text": example.text, "caption": example.caption, "answer": example.answer} for example in examples]
        messages = prompt.render(values, examples=shown)
        return ChatRequest(messages, self.cfg["max_tokens"], "knowledge", prompt.version, post=doc_id(doc))


def _validate(answer: Answer) -> str:
    return clean_answer(answer.text or "", most_words=MOST_WORDS, cut=answer.finish == "length")
