"""Asking: the store first, then the model; every answer kept as it comes, an unusable one asked again once."""

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from ..post.errors import Errors, RivegaError
from .base import Answer, ChatRequest, LanguageModel, answer_key, prompt_key
from .choices import dump_choices
from .safety import InvalidAnswer, shorten
from .store import LEASE, AnswerStore, Claim, Record

# Where another process asks the same question, its answer is looked for at this interval.
POLL_SECONDS = 0.05
# It is looked at this often whether that process still shows signs of life; somebody who watches is told after a while what is waited for.
SIGN_SECONDS = 1.0
TELL_SECONDS = 30.0
logger = logging.getLogger(__name__)
# From an answer to what is kept of it; raises InvalidAnswer.
Validator = Callable[[Answer], str]


class Result(NamedTuple):
    """What asking came to.

    text (Optional[str]): The validated answer, or None.
    reason (str): Why there is none.
    unusable (bool): The model did answer, and no answer could be used: neither of two, or one that was final.
    """

    text: str | None
    reason: str = ""
    unusable: bool = False


@dataclass
class AnswerCounts:
    """What was done so far, for the summary of a run."""

    questions: int = 0
    stored: int = 0
    asked: int = 0
    failed: int = 0
    unusable: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, **values: int) -> None:
        """Count."""
        with self.lock:
            for name, value in values.items():
                setattr(self, name, getattr(self, name) + value)


class Asker:
    """A model with its store.

    model (LanguageModel): Who is asked.
    store (Optional[AnswerStore]): Where answers are kept; None keeps none.
    reminder (str): Said after an answer that could not be used.
    """

    def __init__(self, model: LanguageModel, store: AnswerStore | None, reminder: str) -> None:
        self.model = model
        self.store = None if model.recorded else store
        self.reminder = reminder
        self.counts = AnswerCounts()

    def __getstate__(self) -> dict[str, object]:
        return {"model": self.model, "store": self.store, "reminder": self.reminder}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self.counts = AnswerCounts()

    def start(self, requests: Sequence[ChatRequest | None], validate: Validator) -> "Pending":
        """Begin to answer; what the store knows is not asked.

        requests (Sequence[Optional[ChatRequest]]): Questions; None if there is nothing to ask.
        validate (Validator): From an answer to what is kept of it.
        RETURNS (Pending): Its `results` waits.
        """
        return Pending(self, list(requests), validate)


class Pending:
    """Questions under way."""

    def __init__(self, asker: Asker, requests: list[ChatRequest | None], validate: Validator) -> None:
        self.asker = asker
        self.requests = requests
        self.validate = validate
        self.round = _Round(asker, [request for request in requests if request is not None])

    def results(self) -> list[Result | None]:
        """Wait for all answers.

        RETURNS (List[Optional[Result]]): In the order of the requests; None if there was none.
        """
        first = self.round.answers()
        results: dict[str, Result] = {}
        again: dict[str, ChatRequest] = {}
        for key, answer in first.items():
            result, worth_a_reminder = self._judge(answer)
            if worth_a_reminder:
                again[key] = self.round.requests[key].again(self.asker.reminder)
            results[key] = result
        if again:
            self.round, former = _Round(self.asker, list(again.values())), self.round
            second = self.round.answers()
            for key, request in again.items():
                result, _ = self._judge(second[self.round.key(request)])
                if result.text is not None or not result.unusable:
                    results[key] = result
            self.round = former
        counts = self.asker.counts
        counts.add(failed=sum(r.text is None and not r.unusable for r in results.values()))
        counts.add(unusable=sum(r.unusable for r in results.values()))
        return [None if request is None else results[self.round.key(request)] for request in self.requests]

    def cancel(self) -> None:
        """Drop the questions that nobody has begun to answer."""
        self.round.cancel()

    def _judge(self, answer: Answer) -> tuple[Result, bool]:
        """What an answer comes to, and whether the question is worth asking once more with a reminder."""
        if answer.text is None:
            return Result(None, shorten(answer.error), unusable=answer.final), False
        try:
            return Result(self.validate(answer)), False
        except InvalidAnswer as error:
            return Result(None, shorten(str(error)), unusable=True), not error.final
        except (
            Exception
        ) as error:  # an answer that breaks what reads it is paid for: the others of its batch must not be asked again for it
            return Result(None, shorten(f"{type(error).__name__}: {error}"), unusable=True), False


class _Round:
    """One question each: looked up, claimed, asked, kept."""

    def __init__(self, asker: Asker, requests: list[ChatRequest]) -> None:
        self.asker = asker
        self.identity = asker.model.identity()
        self.keys: dict[int, str] = {}
        # The same question of several posts is one question.
        self.requests: dict[str, ChatRequest] = {}
        self.questions: dict[str, str] = {}
        for request in requests:
            question = prompt_key(request)
            key = answer_key(self.identity, question)
            self.keys[id(request)] = key
            self.requests.setdefault(key, request)
            self.questions[key] = question
        asker.counts.add(questions=len(self.requests))
        self.found: dict[str, Answer] = {}
        self.futures: dict[str, Future[Answer]] = {}
        self.elsewhere: list[str] = []
        missing = list(self.requests)
        if asker.store is not None and missing:
            self.found = asker.store.get_many(missing)
            asker.counts.add(stored=len(self.found))
            missing = [key for key in missing if key not in self.found]
            mine = set(asker.store.claim(missing)) if missing else set()
            self.elsewhere = [key for key in missing if key not in mine]
            missing = [key for key in missing if key in mine]
        self._submit(missing)

    def key(self, request: ChatRequest) -> str:
        """The key of one of the requests given."""
        return self.keys[id(request)]

    def answers(self) -> dict[str, Answer]:
        """Wait for all of them."""
        answers = dict(self.found)
        for key in list(self.futures):
            answers[key] = self._wait(key)
        store = self.asker.store
        watch = _Watch(self.asker)
        while self.elsewhere and store is not None:
            found = store.get_many(self.elsewhere)
            self.asker.counts.add(stored=len(found))
            answers.update(found)
            left = [key for key in self.elsewhere if key not in found]
            # What another process gave up, by failing or by dying, is ours now.
            mine = store.claim(left) if left else []
            given_up = watch.given_up([key for key in left if key not in set(mine)])
            answers.update({key: Answer(None, error=reason) for key, reason in given_up.items()})
            self.elsewhere = [key for key in left if key not in set(mine) and key not in given_up]
            self._submit(mine)
            for key in mine:
                answers[key] = self._wait(key)
            if self.elsewhere:
                time.sleep(POLL_SECONDS)
        return answers

    def cancel(self) -> None:
        """Drop what has not begun."""
        for future in self.futures.values():
            future.cancel()

    def _wait(self, key: str) -> Answer:
        try:
            return self.futures[key].result()
        except CancelledError:
            return Answer(None, error="it was cancelled")

    def _submit(self, keys: list[str]) -> None:
        if not keys:
            return
        try:
            futures = self.asker.model.submit([self.requests[key] for key in keys])
        except BaseException:
            if self.asker.store is not None:
                self.asker.store.release(keys)
            raise
        for key, future in zip(keys, futures):
            self.futures[key] = self._kept(key, future)

    def _kept(self, key: str, future: "Future[Answer]") -> "Future[Answer]":
        """The future of the answer once it is in the store."""
        kept = _Chained(future)

        def done(source: "Future[Answer]") -> None:
            # Runs in the model's thread: the answer is on disk before anybody sees it.
            try:
                answer = Answer(None, error="it was cancelled") if source.cancelled() else source.result()
                answer = self._keep(key, answer)
            except Exception as error:  # a future without a result would make its reader wait for ever
                answer = Answer(None, error=f"{type(error).__name__}: {error}")
                if self.asker.store is not None:
                    # Nor may a claim stay whose answer will not come.
                    with suppress(RivegaError):
                        self.asker.store.release([key])
            kept.set_result(answer)

        future.add_done_callback(done)
        return kept

    def _keep(self, key: str, answer: Answer) -> Answer:
        store, counts = self.asker.store, self.asker.counts
        if answer.text is None and not answer.final:
            # What failed may have cost tokens all the same.
            counts.add(input_tokens=answer.input_tokens, output_tokens=answer.output_tokens)
            if store is not None:
                store.release([key])
            return answer
        if self.asker.model.recorded:
            counts.add(stored=1)
        else:
            counts.add(asked=1, input_tokens=answer.input_tokens, output_tokens=answer.output_tokens)
        if store is not None:
            request = self.requests[key]
            record = Record(
                key=key,
                question=self.questions[key],
                model=self.asker.model.name,
                identity=json.dumps(self.identity, sort_keys=True),
                prompt=request.prompt,
                version=request.version,
                post=request.post,
                entity=request.entity,
                attempt=request.attempt,
                text=answer.text or "",
                finish=answer.finish,
                input_tokens=answer.input_tokens,
                output_tokens=answer.output_tokens,
                created=time.time(),
                choices=dump_choices(answer.choices),
            )
            store.put(record)
        return answer


class _Watch:
    """Whether those who ask what we wait for are still at work: by our own clock, since theirs may be set at any time.

    asker (Asker): Who waits.
    """

    def __init__(self, asker: Asker) -> None:
        self.asker = asker
        self.began = self.looked = time.monotonic()
        self.told = False
        # What was last seen of the claim on a question, and when.
        self.signs: dict[str, tuple[Claim | None, float]] = {}

    def given_up(self, keys: list[str]) -> dict[str, str]:
        """Questions that are waited for no longer, because whoever asks them has shown no sign of life for `LEASE` seconds.

        keys (List[str]): What is waited for.
        RETURNS (Dict[str, str]): Key -> why there is no answer.
        """
        store, now = self.asker.store, time.monotonic()
        if store is None or not keys or (self.signs and now - self.looked < SIGN_SECONDS):
            return {}
        self.looked = now
        claims = store.claims(keys)
        for key in keys:
            claim = claims.get(key)
            if key not in self.signs or self.signs[key][0] != claim:
                self.signs[key] = claim, now
        if not self.told and now - self.began > TELL_SECONDS:
            self.told = True
            whom = sorted({claim.who for claim in claims.values()})
            logger.warning(
                "%s: waiting for %d answers that %s asks for", self.asker.model.name, len(keys), ", ".join(whom) or "nobody"
            )
        silent = [key for key in keys if now - self.signs[key][1] >= LEASE]
        return {key: _silent(self.signs[key][0], store) for key in silent}


def _silent(claim: Claim | None, store: AnswerStore) -> str:
    who = "another process" if claim is None else claim.who
    return Errors.E972.format(who=who, path=store.path, minutes=LEASE / 60)


class _Chained(Future):
    """A future that follows another one; cancelling it cancels that."""

    def __init__(self, source: "Future[Answer]") -> None:
        super().__init__()
        self.source = source

    def cancel(self) -> bool:
        return self.source.cancel()
