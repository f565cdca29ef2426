"""Thoughts of reasoning models: what servers show of them, with their parsers on or off, never becomes an answer; the answer does."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy

from rivega_spacy.backends.chat.entailment import read_answer
from rivega_spacy.backends.chat.grounder import read_boxes
from rivega_spacy.llm.asking import Asker, Result
from rivega_spacy.llm.base import Answer, ChatRequest
from rivega_spacy.llm.openai_chat import OpenAIChat
from rivega_spacy.llm.pictures import strict_json
from rivega_spacy.llm.replay import Replay
from rivega_spacy.llm.safety import InvalidAnswer, clean_answer
from rivega_spacy.llm.store import AnswerStore
from rivega_spacy.llm.thoughts import answer_of, is_mark, open_mark

from .servers import FaultProxy, completion

THOUGHT = "Which bridge?\n\nThe harbour's, I think: yes or no?"
WRAPPERS: dict[str, str] = {
    "R1, Qwen, GLM": "<think>\n{thought}\n</think>\n\n{answer}",
    "opened in the prompt": "{thought}\n</think>\n\n{answer}",
    "its end named within": "<think>I end with </think> soon. {thought}</think>{answer}",
    "spoken of within": "<think>I must end with `</think>`. {thought}</think>{answer}",
    "an empty thought": "<think></think>{answer}",
    "an empty thought on lines": "<think>\n\n</think>\n\n{answer}",
    "two thoughts": "<think>{thought}</think><think>{thought}</think>{answer}",
    "capitals": "<THINKING>{thought}</THINKING>{answer}",
    "an attribute": '<thinking type="deep">{thought}</thinking>{answer}',
    "EXAONE": "<thought>{thought}</thought>{answer}",
    "Seed": "<seed:think>{thought}<seed:cot_budget_reflect></seed:think>{answer}<seed:eos>",
    "reasoning": "<reasoning>{thought}</reasoning>\n<output>{answer}</output>",
    "Magistral": "[THINK]{thought}[/THINK]{answer}</s>",
    "Magistral, opened in the prompt": "{thought}[/THINK]{answer}",
    "Kimi": "◁think▷{thought}◁/think▷{answer}<|im_end|>",
    "Kimi, opened in the prompt": "{thought}◁/think▷{answer}",
    "Hunyuan": "<think>\n{thought}\n</think>\n<answer>\n{answer}\n</answer>",
    "ERNIE": "{thought}\n</think>\n\n<response>\n{answer}\n</response>\n",
    "an answer's tag alone": "I looked closely. <answer>{answer}</answer>",
    "a closing answer's tag": "{thought}</think>{answer}</answer>",
    "GLM-4.5V": "<think>{thought}</think>\n<|begin_of_box|>{answer}<|end_of_box|>",
    "OpenThoughts": "<|begin_of_thought|>{thought}<|end_of_thought|><|begin_of_solution|>{answer}<|end_of_solution|>",
    "Command": "<|START_THINKING|>{thought}<|END_THINKING|><|START_RESPONSE|>{answer}<|END_RESPONSE|>",
    "Gemma": "<|channel>thought\n{thought}<channel|>{answer}<turn|>",
    "Granite 3.2": "Here is my thought process:\n{thought}\nHere is my response: {answer}",
    "Granite 3.2, shorter": "Here's my thought process: {thought} Here's my response:\n{answer}",
    "MedGemma": "<unused94>thought\n{thought}<unused95>{answer}",
    "a closed tag": "<think/>\n{answer}",
    "a heading": "Thinking Process:\n\n1. **Analyze:** {thought}\n\n**Answer:** {answer}",
    "a heading and a mark": "Thinking Process:\n\n1. {thought}\n</think>\n\n{answer}",
    "Harmony": "<|channel|>analysis<|message|>{thought}<|end|><|start|>assistant<|channel|>final<|message|>{answer}<|return|>",
    "Harmony, JSON": "<|channel|>analysis<|message|>{thought}<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>{answer}",
    "Harmony, begun in the prompt": "{thought}<|end|><|start|>assistant<|channel|>final<|message|>{answer}<|end|>",
    "Harmony, commentary between": "<|channel|>analysis<|message|>{thought}<|end|><|start|>assistant<|channel|>commentary<|message|>Wait."
    "<|end|><|start|>assistant<|channel|>final<|message|>{answer}",
    "Harmony without its tokens": "analysis{thought}assistantfinal{answer}",
    "Harmony without, begun in the prompt": "{thought}assistantfinal{answer}",
    "Harmony without, commentary between": "analysis{thought}assistantcommentaryWait.assistantfinal{answer}",
    "the final channel alone": "assistantfinal{answer}",
    "ChatML": "{answer}<|im_end|>\n<|im_start|>user\nAnd </think> who?",
    "Llama 3": "<|start_header_id|>assistant<|end_header_id|>\n\n{answer}<|eot_id|>",
    "Llama 2": "<s>{answer}</s>",
    "Gemma 2": "{answer}<end_of_turn>\n<start_of_turn>user\n",
    "Phi": "<|assistant|>{answer}<|end|>",
    "DeepSeek": "<think>{thought}</think>{answer}<｜end▁of▁sentence｜>",
    "GPT": "{answer}<|endoftext|>What else?",
    "cut within a token": "{answer}<|im_e",
}


@pytest.mark.parametrize("form", WRAPPERS.values(), ids=WRAPPERS)
def test_text_and_json_answers_lose_their_thoughts_alike(form: str) -> None:
    sentence = "The harbour bridge is a steel arch over the bay."
    assert clean_answer(form.format(thought=THOUGHT, answer=sentence), most_words=60) == sentence
    for json_text in ('{"shown": "no", "probability": 0.25}', '```json\n{"shown": "no", "probability": 0.25}\n```'):
        assert read_answer(Answer(form.format(thought=THOUGHT, answer=json_text))) == 0.25
    assert read_answer(Answer(form.format(thought=THOUGHT, answer="Yes."))) == 1.0
    boxes = form.format(thought=THOUGHT, answer='[{"bbox_2d": [1, 2, 30, 40]}]')
    assert read_boxes(strict_json(Answer(boxes))) == [[1, 2, 30, 40]]


@pytest.mark.parametrize(
    "fenced",
    ['```json\n{}\n```', '```JSON\n{}\n```', '```Json {} ```', '```json{}```', '``` {} ```', '```\r\n{}\r\n```', '~~~json\n{}\n~~~', '````\n{}\n````', '```jsonc\n{}```'],
)  # fmt: skip
def test_fences_in_any_form(fenced: str) -> None:
    assert strict_json(Answer(fenced.replace("{}", '{"a": [1]}'))) == {"a": [1]}
    assert clean_answer(fenced.replace("{}", " The bridge is old."), most_words=9) == "The bridge is old."


def test_a_box_in_a_sentence_is_the_answer_where_json_is_asked_for_and_its_words_stay_in_a_text() -> None:
    text = "The bounding box of the bridge is <|begin_of_box|>[8, 16, 38, 72]<|end_of_box|>."
    assert strict_json(Answer(text)) == [8, 16, 38, 72]
    assert clean_answer(text, most_words=20) == "The bounding box of the bridge is [8, 16, 38, 72]."


UNFINISHED = [
    "<think>The user asks for facts",
    "[THINK]Which bridge",
    "◁think▷Which bridge",
    "<seed:think>Which bridge",
    "Let me see. <think>Which bridge",
    "<|channel|>analysis<|message|>Which bridge",
    "analysisWe need to say which bridge.",
    "Here is my thought process: which bridge",
    "<|START_THINKING|>Which bridge",
    "<|channel>thought\nWhich bridge",
    "<think>Which bridge<|im_end|>",
    "Thinking Process:\n\n1.  **Analyze the request:** which bridge",
]


@pytest.mark.parametrize("text", UNFINISHED)
def test_thought_without_an_answer_is_none(text: str) -> None:
    for read in (lambda answer: clean_answer(answer.text, most_words=60, cut=answer.finish == "length"), strict_json):
        with pytest.raises(InvalidAnswer, match="thought") as caught:
            read(Answer(text))
        assert not caught.value.final
        with pytest.raises(InvalidAnswer, match="max_tokens") as caught:
            read(Answer(text, finish="length"))
        assert caught.value.final


@pytest.mark.parametrize(
    "text",
    [
        # A server that skips the marks, and a template that opened the thought which the limit then cut.
        "Okay, the user wants facts about a bridge. The harbour bridge is a steel arch.",
        "Hmm, let me think about which bridge this is. It is old.",
        "The user asks which bridge is meant.",
        "We need to identify the bridge. It is",
        "Alright, so I need to figure out the names in this post. First",
    ],
)
def test_thinking_aloud_is_no_answer(text: str) -> None:
    for cut in (False, True):
        with pytest.raises(InvalidAnswer, match="thought"):
            clean_answer(text, most_words=60, cut=cut)


@pytest.mark.parametrize(
    "text",
    [
        "Rodin's Thinker shows a man lost in thought.",
        "Analysis of the picture: a man at a desk, thinking.",
        "analysis of the match follows.",
        "THINK is a magazine of IBM; its motto is Think.",
        "I Need to Know is a song by Marc Anthony.",
        "We Will Rock You is a song by Queen.",
        "The assistant, a finalist, thinks aloud [thinking].",
        "Let Me Think About It is a song by Ida Corr.",
        "Here is my thought: the bridge is old.",
        "The answer is a bridge, and the final is in Rome.",
        "The user interface of the phone.",
        "First, the bridge; then the tower.",
        "Thinking, Fast and Slow is a book by Daniel Kahneman.",
    ],
)
def test_text_that_speaks_of_thinking_is_left_as_it_is(text: str) -> None:
    assert answer_of(text) == text
    assert clean_answer(text, most_words=60).split()[-2:] == text.split()[-2:]


@pytest.mark.parametrize(
    "text",
    [
        "R1 writes between <think> and </think> before it answers.",
        "The `<think>` tag opens a thought.",
        "It ends in “</think>” here.",
    ],
)
def test_what_speaks_of_the_marks_is_refused_rather_than_damaged(text: str) -> None:
    with pytest.raises(InvalidAnswer):
        clean_answer(text, most_words=60)


@pytest.mark.parametrize("finish", ["stop", "length"])
@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("content", [None, "", " \n"])
@pytest.mark.slow
def test_thoughts_in_a_field_of_their_own_are_no_answer_either(
    field: str, finish: str, content: Any, ask: Callable[..., ChatRequest]
) -> None:
    reply = completion(content, finish=finish)
    reply["choices"][0]["message"][field] = THOUGHT
    with FaultProxy(lambda body: reply) as proxy:
        chat = OpenAIChat("m", base_url=proxy.url)
        (result,) = (
            Asker(chat, None, "again").start([ask()], lambda answer: clean_answer(answer.text or "", most_words=60)).results()
        )
        chat.close()
    assert result is not None and result.text is None and result.unusable and len(proxy.requests) == 1
    assert ("max_tokens" if finish == "length" else "reasoning parser") in result.reason


def test_an_answer_beside_its_thoughts_is_the_answer(ask: Callable[..., ChatRequest]) -> None:
    reply = completion("A bridge.")
    reply["choices"][0]["message"].update(reasoning_content=THOUGHT, reasoning=THOUGHT)
    parts = completion(None)
    parts["choices"][0]["message"]["content"] = [
        {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]},
        {"type": "text", "text": "A "},
        {"type": "output_text", "text": "bridge."},
    ]
    for answer in (reply, parts):
        with FaultProxy(lambda body: answer) as proxy:
            chat = OpenAIChat("m", base_url=proxy.url)
            assert chat.submit([ask()])[0].result(30).text == "A bridge."
            chat.close()


@pytest.mark.slow
def test_answers_stored_with_their_thoughts_come_back_without(tmp_path: Path, ask: Callable[..., ChatRequest]) -> None:
    """The store keeps what the model wrote; what an earlier version took for knowledge is cleaned when it is read."""
    store = AnswerStore(tmp_path / "answers.sqlite")
    texts = {"a": f"[THINK]{THOUGHT}[/THINK]A bridge.", "b": f"analysis{THOUGHT}assistantfinalA bridge.", "c": "[THINK]cut"}
    with FaultProxy(lambda body: texts[body["messages"][-1]["content"]]) as proxy:
        chat = OpenAIChat("m", base_url=proxy.url)
        Asker(chat, store, "again").start([ask(name) for name in texts], lambda answer: answer.text or "").results()
        asked = len(proxy.requests)
        results = (
            Asker(chat, store, "again")
            .start([ask(name) for name in texts], lambda answer: clean_answer(answer.text or "", most_words=60))
            .results()
        )
        # The unusable one is asked again once, with the reminder, which this server has no answer for.
        assert results[:2] == [Result("A bridge.")] * 2 and results[2].text is None and asked == 3
        chat.close()
    store.export(tmp_path / "answers.jsonl")
    for name in ("answers.sqlite", "answers.jsonl"):
        replayed = Asker(Replay(str(tmp_path / name)), None, "again")
        found = replayed.start(
            [ask(name) for name in texts], lambda answer: clean_answer(answer.text or "", most_words=60)
        ).results()
        assert [result.text for result in found] == ["A bridge.", "A bridge.", None]


def test_posts_that_hold_thoughts_of_an_earlier_version_are_replayed_without(
    tmp_path: Path, ask: Callable[..., ChatRequest]
) -> None:
    path = tmp_path / "posts.jsonl"
    rows = [{"id": "1", "knowledge": f"{THOUGHT}</think>A bridge."}, {"id": "2", "knowledge": "analysisWe need to say which."}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")
    asker = Asker(Replay(str(path)), None, "again")
    found = asker.start(
        [ask("a", post="1"), ask("b", post="2")], lambda answer: clean_answer(answer.text or "", most_words=60)
    ).results()
    assert [result.text for result in found] == ["A bridge.", None]


@pytest.mark.parametrize("stage", ["caption", "knowledge", "expansion"])
def test_no_stage_writes_thoughts_on_a_post(stage: str) -> None:
    import numpy as np
    from spacy.tokens import Span

    def reply(body: dict[str, Any]) -> str:
        return f"[THINK]{THOUGHT}[/THINK]A bridge in the bay."

    with FaultProxy(reply) as proxy:
        model = {"@misc": "rivega.OpenAIChat.v1", "model": "m", "base_url": proxy.url, "max_retries": 0}
        nlp = spacy.blank("rivega")
        if stage == "caption":
            nlp.add_pipe("rivega_captioner", config={"model": model, "max_tokens": 900})
        elif stage == "knowledge":
            nlp.add_pipe("rivega_knowledge", config={"model": model, "examples": {"@misc": "rivega.NoExamples.v1"}})
        else:
            nlp.add_pipe("rivega_expander", config={"model": {"@misc": "rivega.LLMExpander.v1", "model": model}})
        doc = nlp.make_doc("The bridge")
        doc.ents = [Span(doc, 1, 2, label="LOC")]
        doc._.image = np.zeros((20, 20, 3), dtype="uint8")
        doc = nlp(doc)
    written = {
        "caption": [doc._.caption, doc._.description],
        "knowledge": [doc._.knowledge],
        "expansion": [doc.ents[0]._.expansion],
    }[stage]
    assert written == ["A bridge in the bay."] * len(written) and doc._.rivega_errors == []
    # A reasoning model needs room: the captioner's limit can be raised.
    assert stage != "caption" or {body["max_tokens"] for body in proxy.requests} == {900}


@pytest.mark.parametrize(
    "prompt, mark",
    [
        ("<|im_start|>assistant\n<think>\n", "<think>"),
        ("<｜Assistant｜><think>", "<think>"),
        ("user: what is <think>?\nassistant:", ""),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", ""),
        ("[THINK]", "[THINK]"),
        ("", ""),
    ],
)
def test_a_prompt_that_begins_the_thought(prompt: str, mark: str) -> None:
    assert open_mark(prompt) == mark


def test_marks_that_are_special_tokens_are_not_skipped() -> None:
    assert all(
        map(
            is_mark,
            [
                "[THINK]",
                "[/THINK]",
                "<think>",
                "</think>",
                "<|channel|>",
                "<|message|>",
                "◁think▷",
                "<|begin_of_box|>",
                "<|channel>",
            ],
        )
    )
    assert not any(map(is_mark, ["<s>", "</s>", "<pad>", "<|im_start|>", "[INST]", "<image>"]))
