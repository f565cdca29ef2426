"""The language class `rivega`: English with a tokenizer for social posts.

Registered as a language so that a package of it is called `rivega_<name>` and loads by that name (`rivega_twitter`).
The published Twitter data sets split "@" and "#" from the name after them and keep the rest of a handle, a hashtag, a URL
or an emoji in one piece; the tokenizer does the same, so that what was learned there carries over to raw text.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from spacy.lang.char_classes import ALPHA_LOWER, ALPHA_UPPER
from spacy.lang.en import English
from spacy.tokens import Doc
from spacy.util import SimpleFrozenDict, ensure_path, get_lang_class
from spacy.vocab import Vocab, create_vocab
from thinc.api import Config

from .digests import DIGESTS, check_digests, find_unreadable, write_digests
from .errors import Errors, RivegaError, SetupError
from .extensions import adopt_context, post_name, record_error
from .long_words import tokenize
from .pipeline_files import check_pipeline_files, remove_links
from .saved_paths import in_folder, keep_paths, needs_folder
from .text import replace_surrogates

# Zero-width and direction marks, soft hyphens: at the rim of a word, if nobody sees them, they are no part of it.
_INVISIBLE = "[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]"
# One emoji as a reader counts them: a base with its variation selector, skin tone and zero-width joiners, or two regional
# indicators (a flag).
_PICTOGRAPH = "[\u2190-\u21ff\u2300-\u27bf\u2b00-\u2bff\U0001f300-\U0001faff]"
_MODIFIER = "[\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff]*"
EMOJI = rf"(?:[\U0001F1E6-\U0001F1FF]{{2}}|{_PICTOGRAPH}{_MODIFIER}(?:\u200D{_PICTOGRAPH}{_MODIFIER})*)"


def _prefixes() -> list[Any]:
    # "_" begins handles ("@_user"), so it may not be cut off.
    kept = [p for p in English.Defaults.prefixes or () if p != "_"]
    return [EMOJI, "@(?=\\w)", "#(?=\\w)", _INVISIBLE, *kept]


def _suffixes() -> list[Any]:
    kept = [s for s in English.Defaults.suffixes or () if s != "_"]
    return [EMOJI, _INVISIBLE, *kept]


def _infixes() -> list[Any]:
    # A name glued to an emoji, a hashtag or a mention ("Rome#travel", "Go🇺🇸Team") is three things, not one.
    glued = [EMOJI, "(?<=\\w)[#@](?=\\w)", "\u200b"]
    glued += [rf"(?<=[{ALPHA_LOWER}{ALPHA_UPPER}])[…/:](?=[{ALPHA_UPPER}@#])"]
    return [*glued, *(English.Defaults.infixes or ())]


class RivegaDefaults(English.Defaults):  # type: ignore[valid-type,misc]  # a class, which spaCy's types call a variable
    prefixes = _prefixes()
    suffixes = _suffixes()
    infixes = _infixes()


def _names(value: str | Iterable[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


class Rivega(English):
    """English for posts of social media (`spacy.blank("rivega")`)."""

    lang = "rivega"
    Defaults = RivegaDefaults
    # Components that name files in the pipeline's folder, until `from_disk` says which folder that is: name -> config.
    _waiting: dict[str, dict[str, Any]] = {}
    # All components in order, and those that are disabled and enabled.
    _order: list[str] = []
    _status: tuple[list[str], list[str]] = ([], [])

    @classmethod
    def from_config(cls, config: dict[str, Any] | Config = {}, *, exclude: str | Iterable[str] = (), **options: Any) -> "Rivega":  # noqa: B006
        """As spaCy's own. Components that name files in the pipeline's folder (saved_paths.py) are made by `from_disk`, which knows that folder."""
        left_out = _names(exclude)
        if not needs_folder(config):
            return cast("Rivega", super().from_config(config, exclude=left_out, **options))
        whole = Config(config).interpolate()
        order = list(whole["nlp"]["pipeline"])
        waiting = {
            name: whole["components"][name] for name in order if name not in left_out and needs_folder(whole["components"][name])
        }
        nlp: Any = super().from_config(config, exclude=[*left_out, *waiting], **options)
        nlp._waiting, nlp._order = waiting, order
        nlp._status = ([*_names(options.get("disable", ())), *whole["nlp"].get("disabled", [])], _names(options.get("enable", ())))
        return nlp

    def _make_waiting(self, folder: Path, exclude: Iterable[str]) -> None:
        """Make the components that name files in the folder, each in its place."""
        waiting, self._waiting = self._waiting, {}
        for name, section in waiting.items():
            if name in exclude:
                continue
            config = in_folder(section, folder)
            before = [other for other in self._order[: self._order.index(name)] if other in self.component_names]
            place: dict[str, Any] = {"after": before[-1]} if before else {"first": True}
            self.add_pipe(config.pop("factory"), name=name, config=config, **place)
            disable, enable = self._status
            if name in disable or (enable and name not in enable):
                self.disable_pipe(name)

    def _check_whole(self) -> None:
        if self._waiting:
            raise SetupError(Errors.E870.format(names=", ".join(self._waiting)))

    def _check_names(self) -> None:
        """What a component has on a disk lies in the pipeline's folder by its name."""
        for name in (*self.component_names, *self._waiting):
            if Path(name).name != name or "\\" in name:
                raise SetupError(Errors.E978.format(name=name))

    def initialize(self, *arguments: Any, **options: Any) -> Any:
        """As spaCy's own. RAISES (SetupError): E870 if components wait for the pipeline's folder."""
        self._check_whole()
        return super().initialize(*arguments, **options)

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """As spaCy's own. RAISES (SetupError): E870 if components wait for the pipeline's folder."""
        self._check_whole()
        return super().to_bytes(exclude=exclude)

    def make_doc(self, text: str) -> Doc:
        """Tokenize a post, whatever is in it.

        text (str): Halves of characters (lone surrogates) become U+FFFD, with a note on the post.
        RETURNS (Doc): Not yet processed.
        RAISES (ValueError): E088 of spaCy if the text is longer than `max_length`.
        RAISES (SetupError): E870 if components wait for the pipeline's folder.
        """
        self._check_whole()
        if len(text) > self.max_length:
            return super().make_doc(text)  # which says so
        clean = replace_surrogates(text)
        doc = tokenize(self.tokenizer, self.vocab, clean)
        if clean != text:
            record_error(doc, "post", Errors.E061.format(post=post_name(doc), fields="`text`"))
        return doc

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """As spaCy's own, with paths that hold from any folder (saved_paths.py), and digests of all files beside them, by which `from_disk` knows what was damaged since.

        Over a pipeline of links, such as a model hub's cache, files are put in their places, and what they led to stays as it is.

        RAISES (SetupError): E870 if components wait for the pipeline's folder, E976 where a device or pipe has a file's place, E978 for a
            component whose name leads elsewhere.
        """
        self._check_whole()
        self._check_names()
        left_out = set(exclude)
        written = ["meta.json", "config.cfg", "tokenizer", "vocab"]
        # Some of spaCy's components write one file, with an ending.
        written += [f"{name}{ending}" for name in self.component_names for ending in ("", ".json", ".jsonl")]
        remove_links(ensure_path(path), [DIGESTS, *(name for name in written if name.split(".")[0] not in left_out)])
        super().to_disk(path, exclude=exclude)
        if "config" not in left_out:
            keep_paths(ensure_path(path) / "config.cfg")
        write_digests(ensure_path(path))

    def from_disk(
        self, path: str | Path, *, exclude: Iterable[str] = (), overrides: dict[str, Any] = SimpleFrozenDict()
    ) -> "Rivega":
        """As spaCy's own.

        RAISES (SetupError): E950 names a file that is missing or damaged, if the pipeline was saved with digests; E952 the part that cannot be
            read, where it was not; E976 what is no file, or a link that leads to none; E978 a component whose name leads elsewhere.
        """
        self._check_names()
        folder, left_out = ensure_path(path), list(exclude)
        check_pipeline_files(folder, exclude=left_out)
        check_digests(folder, exclude=left_out)
        self._make_waiting(folder.resolve(), left_out)
        try:
            super().from_disk(path, exclude=exclude, overrides=overrides)
            return self
        except RivegaError:
            raise
        except Exception as error:  # a damaged file is unpacked by many libraries, which raise anything
            unreadable = find_unreadable(folder)
            if unreadable is None:
                raise
            raise SetupError(Errors.E952.format(path=unreadable, reason=f"{type(error).__name__}: {error}")) from error

    def _ensure_doc_with_context(self, doc_like: str | Doc | bytes, context: Any) -> Doc:
        # Called by `nlp.pipe(as_tuples=True)`; the context is taken over here because spaCy drops it from the doc afterwards.
        doc = super()._ensure_doc_with_context(doc_like, context)
        adopt_context(doc)
        return doc


def reading_vocab(lang: str = Rivega.lang) -> Vocab:
    """What stored docs are read with: the vocabulary of an empty pipeline, without its tokenizer, whose exceptions take longer to set up than
    many files to read.

    lang (str): The language's code.
    """
    return create_vocab(lang, get_lang_class(lang).Defaults)


__all__ = ["EMOJI", "Rivega", "reading_vocab"]
