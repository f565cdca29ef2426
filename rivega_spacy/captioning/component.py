"""`rivega_captioner`: writes `doc._.caption` and `doc._.description`."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc
from thinc.api import Config

from ..llm.asking import Asker, Pending, Result
from ..llm.base import Answer, ChatRequest, LanguageModel, image_ref
from ..llm.prompting import load_prompt, load_reminder
from ..llm.safety import clean_answer
from ..llm.store import AnswerStore
from ..pipes.model_asking import AskingPipe, doc_id, note_failure
from ..post.errors import Errors, ImageError, RivegaError
from ..post.extensions import WRITTEN_KEY, record_error

default_captioner_config = """
[model]
@misc = "rivega.OpenAIChat.v1"
model = "gpt-4o-mini"
"""
DEFAULT_CAPTIONER_MODEL = Config().from_str(default_captioner_config)["model"]

# What is written: its field, the longest answer in tokens, the most words that are taken.
KINDS: dict[str, tuple[int, int]] = {"caption": (60, 40), "description": (350, 300)}


@Language.factory(
    "rivega_captioner",
    assigns=["doc._.caption", "doc._.description"],
    default_config={
        "model": DEFAULT_CAPTIONER_MODEL,
        "store": None,
        "fields": ["caption", "description"],
        "caption_prompt": None,
        "description_prompt": None,
        "max_tokens": None,
        "overwrite": False,
    },
)
def make_captioner(
    nlp: Language,
    name: str,
    model: LanguageModel,
    store: AnswerStore | None,
    fields: list[str],
    caption_prompt: str | None,
    description_prompt: str | None,
    max_tokens: int | None,
    overwrite: bool,
) -> "Captioner":
    """Construct the component.

    model (LanguageModel): One that reads pictures: a vision-language model, or `rivega.TransformersCaptioner.v1`.
    store (Optional[AnswerStore]): `rivega.AnswerStore.v1`.
    fields (List[str]): "caption" (one line), "description" (a paragraph), or both.
    caption_prompt (Optional[str]), description_prompt (Optional[str]): The user's prompt files; None means the package's.
    max_tokens (Optional[int]): Length limit of an answer; None means 60 for a caption and 350 for a description. The thoughts of reasoning
        models count too, so they need more.
    overwrite (bool): Replace what came with the post.
    """
    overrides = {"caption": caption_prompt, "description": description_prompt}
    return Captioner(
        nlp.vocab, model, name, store=store, fields=fields, prompt_files=overrides, max_tokens=max_tokens, overwrite=overwrite
    )


class Captioner(AskingPipe):
    """Captions and descriptions of pictures."""

    settings = ("overwrite", "max_tokens")
    positive = ("max_tokens",)

    def __init__(
        self,
        vocab: Any,
        model: LanguageModel,
        name: str = "rivega_captioner",
        *,
        store: AnswerStore | None = None,
        fields: Sequence[str] = ("caption", "description"),
        prompt_files: dict[str, str | None] | None = None,
        max_tokens: int | None = None,
        overwrite: bool = False,
    ) -> None:
        wrong = [field for field in fields if field not in KINDS]
        if wrong or not fields:
            raise RivegaError(Errors.E416.format(field="fields", value=list(fields), wanted=f"some of {', '.join(KINDS)}"))
        self.vocab = vocab
        self.name = name
        self.asker = Asker(model, store, load_reminder())
        self.prompt_files = {field: (prompt_files or {}).get(field) for field in fields}
        self.prompts = {field: load_prompt(field, (), file) for field, file in self.prompt_files.items()}
        self.cfg: dict[str, Any] = {"overwrite": overwrite, "max_tokens": max_tokens}
        self.remember_settings()

    def start(self, docs: Sequence[Doc]) -> Callable[[], dict[str, list[Any]]]:
        """Begin to ask about the pictures of these posts; no post is changed."""
        images = [self._image(doc) for doc in docs]
        waiting: dict[str, Pending] = {}
        for field in self.prompts:
            requests = [
                None
                if image is None or isinstance(image, str) or not self._wanted(doc, field)
                else self._request(field, doc, image)
                for doc, image in zip(docs, images)
            ]
            waiting[field] = self.asker.start(requests, partial(_validate, KINDS[field][1]))
        failures = [image if isinstance(image, str) else None for image in images]

        def wait() -> dict[str, list[Any]]:
            return {"failures": failures, **{field: pending.results() for field, pending in waiting.items()}}

        return wait

    def set_annotations(self, docs: Sequence[Doc], answers: dict[str, list[Any]]) -> None:
        """Write captions and descriptions; if there is none, the reason."""
        for doc, failure in zip(docs, answers["failures"]):
            if failure is not None:
                record_error(doc, self.name, failure)
        for field in self.prompts:
            results: list[Result | None] = answers[field]
            for doc, result in zip(docs, results):
                if result is None:
                    continue
                if result.text is None:
                    note_failure(doc, self.name, self.asker, field, result)
                else:
                    doc._.set(field, result.text)
                    doc.user_data[WRITTEN_KEY] = [*doc.user_data.get(WRITTEN_KEY, []), field]

    def _wanted(self, doc: Doc, field: str) -> bool:
        return self.cfg["overwrite"] or not doc._.get(field)

    def _image(self, doc: Doc) -> Any:
        """The picture to ask about, why it cannot be read, or None if there is none or nothing to ask."""
        source = doc._.image
        if source is None or not any(self._wanted(doc, field) for field in self.prompts):
            return None
        try:
            return image_ref(source)
        except ImageError as error:
            return str(error)

    def _request(self, field: str, doc: Doc, image: Any) -> ChatRequest:
        prompt = self.prompts[field]
        most = self.cfg["max_tokens"] or KINDS[field][0]
        return ChatRequest(prompt.render({}, image=image), most, field, prompt.version, post=doc_id(doc))


def _validate(most_words: int, answer: Answer) -> str:
    return clean_answer(answer.text or "", most_words=most_words, cut=answer.finish == "length")
