"""`rivega.RecordedExpander.v1`: expansions that were written earlier, for the entities that a tagger finds now."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ..expansion.component import Expander, Expansion, ExpansionRequest
from ..post.errors import Errors, SetupError
from ..post.extensions import ID_KEY
from ..post.language import reading_vocab
from .docbin import read_docbin
from .formats.dirt import Dirt
from .formats.riveg import read_riveg
from .sources import SOURCES_KEY

# (post, name, type) -> expansion; with "" for the type, of whatever type.
Recorded = dict[tuple[str, str, str], str]


def make_recorded_expander(
    path: str | list[str], source: str | None = None, fallback: Expander | None = None
) -> "RecordedExpander":
    """`rivega.RecordedExpander.v1`, for `rivega_expander` and for the reader's `expander`.

    path (Union[str, List[str]]): Files: RiVEG's VE or VG table (.tsv), its ### text, JSON lines with `id`, `text`, `type` and `expansion`, or
        posts that `rivega convert` wrote (.spacy). They are read, and must be there, when the first entity is expanded.
    source (Optional[str]): Of posts with several models' expansions, whose; None takes what the post came with.
    fallback (Optional[Expander]): Asked about entities that no file has, for example `rivega.NounPhraseExpander.v1`; None leaves them without.
    """
    return RecordedExpander([path] if isinstance(path, str) else path, source=source, fallback=fallback)


class RecordedExpander:
    """Expansions by post, name and type; where a post has the name under another type, that one's."""

    def __init__(self, paths: Sequence[str], *, source: str | None = None, fallback: Expander | None = None) -> None:
        self.paths = [Path(path) for path in paths]
        self.source = source
        self.fallback = fallback
        self._recorded: Recorded | None = None

    def __call__(self, requests: Sequence[ExpansionRequest]) -> list[Expansion]:
        """One expansion for each request."""
        return self.start(requests)()

    def start(self, requests: Sequence[ExpansionRequest]) -> Callable[[], list[Expansion]]:
        """Look up at once; what is not there is asked of the fallback, and calling what this returns waits for it."""
        found: list[Expansion] = [self._find(request) for request in requests]
        open_places = [place for place, expansion in enumerate(found) if expansion is None]
        wait: Callable[[], list[Expansion]] | None = None
        if self.fallback is not None and open_places:
            asked = [requests[place] for place in open_places]
            begin = getattr(self.fallback, "start", None)
            wait = begin(asked) if begin is not None else lambda fallback=self.fallback: fallback(asked)

        def result() -> list[Expansion]:
            for place, expansion in zip(open_places, wait() if wait is not None else ()):
                found[place] = expansion
            return found

        return result

    def _find(self, request: ExpansionRequest) -> str | None:
        if self._recorded is None:
            missing = next((path for path in self.paths if not path.is_file()), None)
            if missing is not None:
                raise SetupError(Errors.E020.format(path=missing))
            self._recorded = read_recorded(self.paths, self.source)
        name = request.text[request.start : request.end]
        known = self._recorded
        return known.get((request.post, name, request.label)) or known.get((request.post, name, ""))


def read_recorded(paths: Sequence[Path], source: str | None) -> Recorded:
    """The expansions of files; of several for one entity the first. paths, source: As above."""
    found: Recorded = {}

    def note(post: str, name: str, label: str, expansion: str | None) -> None:
        if expansion:
            found.setdefault((post, name, label), expansion)
            found.setdefault((post, name, ""), expansion)

    for path in paths:
        if path.suffix != ".spacy":
            for row in read_riveg(path, Dirt()):
                note(row.post, row.name, row.type, row.expansion)
            continue
        for doc in read_docbin(path, reading_vocab()):
            named = doc.user_data.get(SOURCES_KEY, {}).get("expansions", {})
            own = named.get(source) if source is not None else None
            for place, ent in enumerate(doc.ents):
                expansion = own[place] if own is not None and len(own) == len(doc.ents) else None
                expansion = expansion if source is not None and named else ent._.expansion
                note(str(doc.user_data.get(ID_KEY) or ""), ent.text, ent.label_, expansion)
    return found


__all__ = ["RecordedExpander", "make_recorded_expander"]
