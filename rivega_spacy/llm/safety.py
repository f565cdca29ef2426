"""Untrusted words on their way into a prompt, and the model's words on their way out.

A post and the caption of its picture are data, whatever they say. They enter a prompt on one line, between << and >>, which cannot
occur within them: neither can a line break, so a forged "Answer:" or "Question:" never begins a line, nor can the angle brackets
that special tokens and markup are made of.
"""

import re
import unicodedata

from ..post.errors import Errors
from .thoughts import InvalidAnswer, answer_of, holds_mark

# Bump it when `clean_untrusted` or `quote` change: it is part of every prompt's version, so what was answered before is asked anew.
# A sign more that it takes out changes the questions of those posts alone that have it, which are told by their text: that needs no bump.
# `clean_answer` may change without: the store keeps answers as the model wrote them, and they are cleaned whenever they are read.
SAFETY_VERSION = "1"
OPEN, CLOSE = "<<", ">>"
# Emoji need VS15 and VS16; the other variation selectors are invisible and can carry hidden text.
_KEPT_SELECTORS = {"\ufe0e", "\ufe0f"}
# Angles, whatever they are made of: servers may normalise what they are sent (NFKC), and Kimi's marks are triangles. Brackets likewise.
_ANGLES = str.maketrans({**dict.fromkeys("<＜﹤«⟪《◁", "‹"), **dict.fromkeys(">＞﹥»⟫》▷", "›"), "［": "(", "］": ")"})
# Control words of chat templates in square brackets: [INST], [/INST], [SYSTEM_PROMPT], [IMG], GLM's [gMASK] ...
_BRACKET_TOKEN = re.compile(r"\[(/?[a-z]?[A-Z][A-Z_]{1,30})\]")
# ... and with other signs beside the brackets: EXAONE's [|user|], MiniMax's ]~b]user and [e~[.
_BRACKET_SIGNS = (("[|", "(|"), ("|]", "|)"), ("]~", ")~"), ("~[", "~("))
_MOST_MARKS = 3


def clean_untrusted(text: str, limit: int) -> str:
    """One line of visible characters without angle brackets.

    text (str): From a post, a caption, a picture's description.
    limit (int): Longest result in characters; what is cut is marked with "…".
    RETURNS (str): Control, zero-width, bidirectional, private and unassigned characters are gone, white space is single spaces.
    """
    # Nothing beyond can reach the result but from behind invisible characters: do not work through megabytes.
    text = unicodedata.normalize("NFC", text[: 8 * limit])
    # Printable ASCII, which most of it is, has nothing to take out.
    visible = text if text.isascii() and text.isprintable() else _visible(text)
    line = " ".join(visible.split()).translate(_ANGLES)
    line = _BRACKET_TOKEN.sub(r"(\1)", line)
    for sign, harmless in _BRACKET_SIGNS:
        line = line.replace(sign, harmless)
    if len(line) > limit:
        head = line[: limit - 2]
        # At a word's end if there is one near.
        space = head.rfind(" ", max(0, limit - 80))
        line = (head[:space] if space > 0 else head) + " …"
    return line


def _visible(text: str) -> str:
    """Without control, invisible and piled-up combining characters; every kind of space is a space."""
    kept, marks = [], 0
    for character in text:
        category = unicodedata.category(character)
        if category[0] == "Z" or character in "\t\n\r\v\f":
            kept.append(" ")
            marks = 0
        elif category[0] == "C":
            continue
        elif category == "Mn":
            marks += 1
            code = ord(character)
            selector = (0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF) and character not in _KEPT_SELECTORS
            if marks <= _MOST_MARKS and not selector:
                kept.append(character)
        else:
            kept.append(character)
            marks = 0
    return "".join(kept)


def quote(text: str, limit: int) -> str:
    """Untrusted text between the delimiters: "<< the text >>"."""
    return f"{OPEN} {clean_untrusted(text, limit)} {CLOSE}"


# Thought without any mark: of a server that skips the marks, or of a template that opened the thought and a limit that cut it.
_THINKS_ALOUD = re.compile(
    r"(?i)^(?:(?:okay|ok|alright|all right|hmm+|well|right|wait|first|now)\b[,.!…\s]*)*(?:so\b[,\s]*)?(?:"
    r"the user(?:['’]s)?\s+(?:is|has|asks?|asked|asking|wants?|wanted|needs?|provided|gave|says?|said|question|request|query|seems|would)\b"
    # Titles ("Let Me Think About It") have capitals.
    r"|let(?:['’]s| me| us)\s+(?-i:see|think|analy[sz]e|break|tackle|look|start|figure|parse|identify|recall|consider|check|go through)\b"
    r"|(?:i|we)\s+(?:need|have|should|must|will|am asked|are asked|['’]ll|are given)\s+(?:to\s+)?(?-i:figure|identify|determine|find|extract|look|"
    r"analy[sz]e|provide|answer|explain|generate|come up|think|consider|respond|write|produce|output|describe|list|check)\b"
    r"|i['’]m\s+(?:asked|supposed|trying|given)\s+to\b)"
)
_FENCE = re.compile(r"(?m)^[ \t]*(?:```|~~~)[\w-]*[ \t]*$")
# A model that goes on after its answer writes the next question itself.
_CONTINUES = re.compile(r"(?im)\n[ \t]*(?:Text|Image|Background|Question|Example|User|Human|System)\s*:")
_LABEL = re.compile(r"(?i)^\s*(?:Answer|Response|Output|Assistant)\s*:\s*")
_CHATTER = re.compile(
    r"(?i)^(?:(?:sure(?: thing)?|certainly|of course|okay|ok|absolutely|great(?: question)?|no problem|gladly)(?:[.!,]|\b[^.!?:\n]{0,80}:)"
    r"|(?:here(?: is|'s|’s| are)|below (?:is|are)|based on the (?:provided|given)|i(?:'d| would) be happy)\b[^.:!\n]{0,120}:"
    r"|i hope this helps[.!]?)\s*"
)
_FAREWELL = re.compile(
    r"(?i)(?:let me know if|i hope this helps|is there anything else|feel free to|please let me know|if you (?:have|need) (?:any|more)|"
    r"would you like me to)[^.!?\n]{0,200}[.!?]?\s*$"
)
_REFUSAL = re.compile(
    r"(?i)^(?:i['’]?m (?:very |really )?sorry|i am sorry|sorry[,.!]|i apologi[sz]e|as an? (?:ai|large language|language)\b|"
    r"i (?:can(?:not|['’]t| not)|am (?:not able|unable)|['’]m (?:not able|unable)|won['’]t)\b)"
)
_IMAGE_LINK = re.compile(r"!\[([^\]\n]*)\]\([^)\n]*\)")
_LINK = re.compile(r"\[([^\]\n]*)\]\((?:https?:|mailto:|/|#)[^)\n]*\)")
_URL = re.compile(r"(?i)\bhttps?://\S+")
_TAG = re.compile(r"<[/!?A-Za-z|]|\|>|<<|>>|\[/?INST\]")
_ENTITY_TAG = re.compile(r"(?i)&(?:lt|gt|#0*6[02]|#x0*3[ce]);")
_SENTENCE_END = re.compile(r"[.!?]+[\"'”’)\]]*(?=\s+[\"'“‘(]*[A-Z0-9]|\s*$)")
_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Prof|Sen|Gov|Rep|Gen|Lt|Col|Sgt|Jr|Sr|vs|No|Inc|Ltd|Co|Corp|e\.g|i\.e)|\b[A-Z])\.$"
)


def clean_answer(text: str, *, most_words: int, one_sentence: bool = False, cut: bool = False) -> str:
    """A model's answer, fit to be kept.

    text (str): As the model wrote it.
    most_words (int): An answer of more words is refused (after it was trimmed to one sentence, where that is asked).
    one_sentence (bool): Keep the first sentence only.
    cut (bool): The model was stopped by its length limit: an unfinished last sentence is dropped.
    RETURNS (str): One line of plain text: no chatter around it, no Markdown, no control characters.
    RAISES (InvalidAnswer): If nothing is left, it is too long, a refusal, holds markup, or only repeats itself.
    """
    text = answer_of(text, cut=cut)[:50_000]
    if not (text.isascii() and text.isprintable()):
        text = "".join(c for c in text if c in "\n\t\r" or (unicodedata.category(c)[0] != "C" and c != "\ufffd"))
    text = _FENCE.sub("", text.replace("\r", "\n")).strip()
    text = _LABEL.sub("", text)
    if _THINKS_ALOUD.match(text):
        raise InvalidAnswer(Errors.E764 if cut else Errors.E765, final=cut)
    text = _CONTINUES.split("\n" + text if _CONTINUES.match("\n" + text) else text)[0].strip()
    for _ in range(3):
        text = _LABEL.sub("", _CHATTER.sub("", text)).strip()
    text = _FAREWELL.sub("", text).strip()
    if holds_mark(text):
        raise InvalidAnswer("it holds marks of thought")
    if _REFUSAL.match(text):
        raise InvalidAnswer("it is a refusal")
    text = _plain(text)
    if _TAG.search(text) or _ENTITY_TAG.search(text):
        raise InvalidAnswer("it holds markup")
    if cut and not one_sentence:
        text = _whole_sentences(text)
    if one_sentence:
        text = first_sentence(text)
    text = _unquote(text)
    words = text.split()
    if not any(c.isalpha() for c in text):
        raise InvalidAnswer("it is empty")
    if len(words) > most_words or len(text) > 12 * most_words + 40:
        raise InvalidAnswer(f"it has {len(words)} words and {len(text)} characters, more than {most_words} words may have")
    if len(words) >= 24 and len({word.lower() for word in words}) * 6 < len(words):
        raise InvalidAnswer("it repeats itself")
    return text


def first_sentence(text: str) -> str:
    """The first sentence of a line; all of it where it has no end. "Mr.", "U.S." and initials end none."""
    for match in _SENTENCE_END.finditer(text):
        end = match.end()
        # The last characters are enough: a long text of abbreviations must not be gone through again for each.
        if end == len(text) or not _ABBREVIATION.search(text, max(0, end - 12), end):
            return text[:end].strip()
    return text.strip()


def _whole_sentences(text: str) -> str:
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]].strip() if ends else text


def _plain(text: str) -> str:
    """Markdown taken off, everything on one line."""
    text = _IMAGE_LINK.sub(r"\1", text)
    text = _LINK.sub(r"\1", text)
    text = _URL.sub("", text)
    lines = []
    for line in text.split("\n"):
        line = re.sub(r"^\s*(?:#{1,6}\s+|[-*•+]\s+|>\s+)", "", line)
        lines.append(line)
    text = " ".join(" ".join(lines).split())
    text = re.sub(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1", r"\2", text)
    text = re.sub(r"(?<![\w*])\*(?=\S)([^*]+?)(?<=\S)\*(?![\w*])", r"\1", text)
    return " ".join(text.replace("`", "").split())


def _unquote(text: str) -> str:
    pairs = {'"': '"', "“": "”", "'": "'", "«": "»"}
    while len(text) >= 2 and pairs.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    return text


def shorten(reason: str | None) -> str:
    """A reason short enough for a note on a post."""
    return clean_untrusted(reason or "", 300)
