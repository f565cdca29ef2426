"""`rivega.LLMExpander.v1`: expansions by a language model, one call an entity, all entities of a batch in flight together."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..llm.asking import Asker, Result
from ..llm.base import Answer, ChatRequest, LanguageModel
from ..llm.prompting import load_prompt, load_reminder
from ..llm.safety import clean_answer
from ..llm.store import AnswerStore
from ..post.errors import Errors, RivegaError
from ..post.jsonl import read_lines
from .component import Expansion, ExpansionFailure, ExpansionRequest

SHIPPED = Path(__file__).with_name("examples.jsonl")
FIELDS = ("background", "text", "entity", "label")
# One sentence; the paper's have 15 words.
MOST_WORDS = 60


def make_llm_expander(
    model: LanguageModel,
    store: AnswerStore | None = None,
    prompt: str | None = None,
    examples: str | None = None,
    max_tokens: int = 80,
) -> "LLMExpander":
    """`rivega.LLMExpander.v1`.

    model (LanguageModel): Who is asked.
    store (Optional[AnswerStore]): `rivega.AnswerStore.v1`.
    prompt (Optional[str]): The user's prompt file; None takes the package's.
    examples (Optional[str]): JSON lines with `background`, `text`, `entity`, `label`, `answer`; None takes the package's.
    max_tokens (int): Length limit of an answer.
    """
    return LLMExpander(model, store=store, prompt_file=prompt, examples_file=examples, max_tokens=max_tokens)


class LLMExpander:
    """Background / Text / Question, a few fixed examples, one short sentence (paper, section IV-B 2)."""

    def __init__(
        self,
        model: LanguageModel,
        *,
        store: AnswerStore | None = None,
        prompt_file: str | None = None,
        examples_file: str | None = None,
        max_tokens: int = 80,
    ) -> None:
        if max_tokens < 1:
            raise RivegaError(Errors.E416.format(field="max_tokens", value=max_tokens, wanted="1 or more"))
        self.asker = Asker(model, store, load_reminder())
        self.prompt = load_prompt("expansion", FIELDS, prompt_file)
        self.examples = _read_examples(examples_file if examples_file is not None else SHIPPED)
        self.max_tokens = max_tokens

    def __call__(self, requests: Sequence[ExpansionRequest]) -> list[Expansion]:
        """One expansion for each request; if there is none, why."""
        return self.start(requests)()

    def start(self, requests: Sequence[ExpansionRequest]) -> Callable[[], list[Expansion]]:
        """Begin to ask; calling what it returns waits for the answers."""
        pending = self.asker.start([self._request(request) for request in requests], _validate)

        def wait() -> list[Expansion]:
            return [self._read(result) for result in pending.results()]

        return wait

    def _read(self, result: Result | None) -> Expansion:
        if result is None or result.text is not None:
            return None if result is None else result.text
        return ExpansionFailure(self.asker.model.name, result.reason, result.unusable)

    def _request(self, request: ExpansionRequest) -> ChatRequest:
        name = request.text[request.start : request.end]
        values = {
            "background": request.description or "nothing is known of the picture",
            "text": _around(request),
            "entity": name,
            "label": request.label,
        }
        # An example of the very post would give its answer away.
        examples = [example for example in self.examples if example["text"] != request.text]
        messages = self.prompt.render(values, examples=examples)
        return ChatRequest(messages, self.max_tokens, "expansion", self.prompt.version, post=request.post, entity=name)


def _validate(answer: Answer) -> str:
    return clean_answer(answer.text or "", most_words=MOST_WORDS, one_sentence=True, cut=answer.finish == "length")


def _around(request: ExpansionRequest, *, reach: int = 900) -> str:
    """The post; of a very long one the part that holds the entity."""
    start, end = request.start, request.end
    if len(request.text) <= 2 * reach:
        return request.text
    return request.text[max(0, start - reach) : end + reach]


def _read_examples(path: str | Path) -> list[dict[str, str]]:
    examples: list[dict[str, Any]] = []
    for number, row in read_lines(path):
        wanted = (*FIELDS, "answer")
        if isinstance(row, str) or not all(isinstance(row.get(name), str) for name in wanted):
            reason = row if isinstance(row, str) else f"it needs the strings {', '.join(wanted)}"
            raise RivegaError(Errors.E421.format(path=path, line=number, reason=reason))
        examples.append({name: row[name] for name in wanted})
    return examples
