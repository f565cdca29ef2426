"""From what a chat model wrote to what it answered: its thoughts, control tokens, wrappers and code fences are taken off.

Reasoning models think before they answer. Whether a server's reasoning parser takes the thoughts out, whether the chat template opened
them in the prompt (so that only the closing mark is in the reply) and whether special tokens are shown differs from server to server
and from start to start; the answer must be the same. What cannot be told apart for certain is refused: thought is never an answer.
"""

import re

from ..post.errors import Errors


class InvalidAnswer(ValueError):
    """An answer that cannot be used; its text says why.

    final (bool): The same question would meet the same fate: asking once more, with a reminder, would only be paid for.
    """

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


# <think> (DeepSeek, Qwen, GLM, Nemotron, Phi ...), <thought> (EXAONE), <seed:think>, <thinking>, <reasoning>, <scratchpad> ...
_NAMES = r"(?:[a-z]+:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|scratchpad|analysis|inner_monologue|思考)"
_EMPTY = re.compile(rf"(?i)<{_NAMES}\s*/>")
_OPEN = (
    rf"(?i:<{_NAMES}(?:\s[^<>\n]{{0,80}})?>)|(?i:<\|(?:begin_of_thought|start_thinking|start_of_thought|inner_prefix|think)\|>)"
    r"|<\|channel>(?:thought|analysis)?|<unused94>(?:thought\b)?|\[(?:THINK|THINKING|REASONING)\]|◁think▷"
)
_CLOSE = (
    rf"(?i:</{_NAMES}\s*>)|(?i:<\|(?:end_of_thought|end_thinking|inner_suffix|/think)\|>)"
    r"|<channel\|>|<unused95>|\[/(?:THINK|THINKING|REASONING)\]|◁/think▷"
)
_MARK = re.compile(rf"(?P<open>{_OPEN})|(?P<close>{_CLOSE})")
# A mark that is spoken of, "the `<think>` tag", opens and closes nothing.
_QUOTED = re.compile(r"(?s)(?:.*`\Z)|(?:.*“\Z)|(?:.*(?:\s|\()[\"']\Z)")
_UNQUOTED = re.compile(r"`|”|[\"'](?:[\s.,;:!?)]|\Z)")
_BETWEEN = re.compile(r"(?i)\s*(?:and|or|to|\.\.\.|…|[,/&–-])?\s*")

_LONGEST_BETWEEN = 12

_NAME_OF_END = (
    r"im_end|im_sep|eot_id|eom_id|eot|eos|eod|end|end_of_text|endoftext|end_of_turn|endofturn|end_of_sentence|end▁of▁sentence|return|call|"
    r"END_OF_TURN_TOKEN|END_RESPONSE|assistant_end|role_end|pad|padding|user|observation|User"
)
# What ends a turn: nothing behind it belongs to this answer.
_END = re.compile(
    rf"<[|｜](?:{_NAME_OF_END})[|｜]>|</s>|<(?:eos|EOS|pad|PAD|end_of_turn|end_of_utterance|seed:eos)>|<turn\|>|\[EOS\]"
    # Cut off within such a token.
    r"|<[|｜][a-zA-Z_]{0,20}\Z"
)
# What opens one: beginnings of text, and headers of the assistant's turn.
_BEGIN = re.compile(
    rf"(?:\s+|{_END.pattern}|<s>|<bos>|<seed:bos>(?:assistant)?|<\|(?:begin_of_text|startoftext|START_RESPONSE|CHATBOT_TOKEN|START_OF_TURN_TOKEN)\|>"
    r"|<｜begin▁of▁sentence｜>|<｜Assistant｜>|<\|im_start\|>\s*(?:assistant\b)?|<\|(?:assistant|im_assistant)\|>(?:\s*assistant\b)?(?:<\|im_middle\|>)?"
    r"|<\|start_header_id\|>\s*assistant\s*<\|end_header_id\|>|<\|start_of_role\|>\s*assistant\s*<\|end_of_role\|>"
    r"|<start_of_turn>\s*model\b|<\|turn>\s*model\b|\[/INST\])+"
)
# OpenAI's Harmony: <|channel|>analysis<|message|>...<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>...<|return|>
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w{1,20})[^<]{0,60}(?:<\|constrain\|>[^<]{0,40})?<\|message\|>")
_HARMONY = re.compile(r"<\|(?:channel|message|constrain)\|>")
_HARMONY_END = re.compile(r"<\|(?:end|return|call|start|channel)\|>")
# The same with its tokens skipped: analysisWe need to ...assistantfinalThe answer.
_BARE_FINAL = re.compile(r"assistant\n{1,2}final\n|assistantfinal")
_BARE_CHANNEL = re.compile(r"assistant(?:analysis|commentary)(?![a-z])")
_BARE_THOUGHT = re.compile(r"(?:analysis|commentary)(?=[^\Wa-z_]|[\n\"'“(\[{¿¡])")
_BARE_ANSWER = re.compile(r"(?:assistant)?final(?=[A-Z\"“{\[])")
# Granite 3.2: "Here is my thought process: ... Here is my response: ..."; and headings such as "Thinking Process:" and "**Answer:**".
_SAID_THOUGHT = re.compile(
    r"(?i)\A[*#_ ]{0,6}(?:(?:here\s+is|here['’]s)\s+my\s+thought\s+process|(?:my )?(?:thinking|thought) process|thinking|my thoughts?|thought)[*_ ]{0,4}:"
)
_SAID_ANSWER = re.compile(
    r"(?i)(?:here\s+is|here['’]s)\s+my\s+response\s*:[*_]{0,3}|\n[*#_ ]{0,6}(?:my |the )?(?:final )?(?:answer|response)[*_ ]{0,4}:[*_]{0,3}"
)
# <answer> (Hunyuan, GLM), <response> (ERNIE, Granite), <CONCLUSION> (LLaVA-CoT) ...
_ANSWER_NAMES = r"(?:answer|response|output|final|final_answer|conclusion|result)"
_ANSWER_OPEN = re.compile(rf"(?i:<{_ANSWER_NAMES}>)|<\|(?:begin_of_solution|START_RESPONSE)\|>")
_ANSWER_CLOSE = re.compile(rf"(?i:</{_ANSWER_NAMES}>)|<\|(?:end_of_solution|END_RESPONSE)\|>")
_BOX = re.compile(r"(?s)<\|begin_of_box\|>(.*?)(?:<\|end_of_box\|>|\Z)")
_BOX_MARK = re.compile(r"<\|(?:begin|end)_of_box\|>")
_LANGUAGE = r"(?:json[c5l]?|geojson|text|txt|plain|plaintext|markdown|md|html|xml|yaml|python|py|javascript|js)"
_FENCE = re.compile(rf"(?i)(```+|~~~+)[ \t]*(?:[\w+-]*[ \t]*\r?\n|{_LANGUAGE}(?=[\s{{\[\"]))?")


def answer_of(text: str, *, cut: bool = False, boxed: bool = False) -> str:
    """The answer in what a model wrote.

    text (str): As the server sent it.
    cut (bool): The length limit ended it.
    boxed (bool): Where the model marks its result (GLM's <|begin_of_box|>), that alone is the answer; else the marks alone go.
    RETURNS (str): Without thoughts, control tokens, a wrapper around it and a code fence around all of it.
    RAISES (InvalidAnswer): If there is thought and no answer, and if thought and answer cannot be told apart.
    """
    text = _after_begin(_EMPTY.sub("", text))
    text = _harmony(text, cut) if _HARMONY.search(text) else _bare_harmony(text, cut)
    if _SAID_THOUGHT.match(text):
        answers = list(_SAID_ANSWER.finditer(text))
        if not answers and _MARK.search(text) is None:
            raise _unfinished(cut)
        text = text[answers[-1].end() :] if answers else text
    end = _END.search(text)
    if end is not None:
        text = text[: end.start()]
    text = _after_begin(_without_thoughts(text, cut))
    text = _unwrapped(text)
    if boxed:
        boxes = _BOX.findall(text)
        text = boxes[-1] if boxes else text
    text = _BOX_MARK.sub("", text).strip()
    return _unfenced(text)


def is_mark(token: str) -> bool:
    """Whether a special token marks thoughts or an answer: a tokenizer that skips it would run thought and answer together."""
    marks = (
        _MARK,
        _ANSWER_OPEN,
        _ANSWER_CLOSE,
        _BOX_MARK,
        re.compile(r"<\|(?:channel|message|constrain|start|end|return|call)\|>"),
    )
    return any(mark.fullmatch(token) for mark in marks) or token == "<|channel>"


def open_mark(prompt: str) -> str:
    """The mark of thought that a prompt ends with, "" where it ends with none: the chat template began the model's thought."""
    prompt = prompt.rstrip()
    last = None
    for last in _MARK.finditer(prompt, max(0, len(prompt) - 100)):  # noqa: B007  the last one is what counts
        pass
    return last[0] if last is not None and last["open"] and last.end() == len(prompt) else ""


def _unfinished(cut: bool) -> InvalidAnswer:
    return InvalidAnswer(Errors.E764, final=True) if cut else InvalidAnswer(Errors.E765)


def _after_begin(text: str) -> str:
    begin = _BEGIN.match(text)
    return text[begin.end() :].strip() if begin else text.strip()


def _harmony(text: str, cut: bool) -> str:
    """What stands in the last final channel."""
    channels = list(_CHANNEL.finditer(text))
    finals = [channel for channel in channels if channel[1].startswith("final")]
    if finals:
        body = text[finals[-1].end() :]
    elif not channels and "<|message|>" in text and "<|channel|>" not in text:
        body = text.rsplit("<|message|>", 1)[1]
    else:
        raise _unfinished(cut)
    end = _HARMONY_END.search(body)
    return body[: end.start()] if end else body


def _bare_harmony(text: str, cut: bool) -> str:
    finals = list(_BARE_FINAL.finditer(text))
    if finals:
        return _BARE_CHANNEL.split(text[finals[-1].end() :])[0]
    if _BARE_THOUGHT.match(text) or _BARE_CHANNEL.search(text):
        raise _unfinished(cut)
    begin = _BARE_ANSWER.match(text)
    return text[begin.end() :] if begin else text


def _without_thoughts(text: str, cut: bool) -> str:
    kept: list[str] = []
    start, opened, prose = 0, None, False
    for mark in _MARK.finditer(text):
        if _is_quoted(text, mark):
            continue
        if mark["open"]:
            if opened is None:
                kept.append(text[start : mark.start()])
                opened, prose = mark, prose or bool(kept[-1].strip())
        elif opened is None:
            # The thought began in the prompt, or its end was named within it.
            kept, start, prose = [], mark.end(), False
        else:
            short = mark.start() - opened.end() <= _LONGEST_BETWEEN
            if short and prose and _BETWEEN.fullmatch(text, opened.end(), mark.start()):
                raise InvalidAnswer(Errors.E766)
            start, opened = mark.end(), None
    if opened is not None:
        raise _unfinished(cut)
    return "".join(kept) + text[start:]


def _is_quoted(text: str, mark: "re.Match[str]") -> bool:
    before = text[max(0, mark.start() - 2) : mark.start()]
    return bool(_QUOTED.match(" " + before if len(before) < 2 else before)) and bool(_UNQUOTED.match(text, mark.end()))


def _unwrapped(text: str) -> str:
    """What stands in the last wrapper; a closing mark alone was opened in the prompt."""
    opens = list(_ANSWER_OPEN.finditer(text))
    if opens:
        text = text[opens[-1].end() :]
    close = _ANSWER_CLOSE.search(text)
    return text if close is None else text[: close.start()]


def _unfenced(text: str) -> str:
    """What stands in a code fence that is around all of the text."""
    fence = _FENCE.match(text)
    if fence is None or not text.endswith(fence[1]) or len(text) < fence.end() + len(fence[1]):
        return text
    body = text[fence.end() : -len(fence[1])]
    return text if "```" in body or "~~~" in body else body.strip()


def holds_mark(text: str) -> bool:
    """Whether a mark of thought is left in an answer."""
    return _MARK.search(text) is not None or _HARMONY.search(text) is not None


def named_thought(value: object) -> tuple[str, ...]:
    """The fields of a reply's message in which servers put thoughts, as far as they hold some.

    value (object): `choices[0].message`: `reasoning_content` (vLLM, llama.cpp, SGLang, DeepSeek), `reasoning` (vLLM, Ollama, LM Studio,
        OpenRouter), `thinking`.
    """
    names = ("reasoning_content", "reasoning", "thinking")
    return tuple(name for name in names if isinstance(value, dict) and isinstance(value.get(name), str) and value[name].strip())
