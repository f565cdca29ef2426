"""The work of `rivega enrich`: what language models say of posts, a shard at a time, each answer paid once."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...post.errors import Errors, PostError
from ...post.jsonl import dump_line
from ...post.posts import describe_post, json_fields
from ..enrich import Enricher
from .annotating import pipeline_identity
from .tally import Tally
from .work import Given, Outcome

# Settings of a model that say how it is asked, not what: they may change while a job is under way.
RUNNING = frozenset(
    ("api_key_env", "budget", "concurrency", "max_retries", "requests_per_minute", "timeout", "tokens_per_minute", "total_timeout")
)


@dataclass
class EnrichWork:
    """Posts through several language models.

    enricher (Enricher): Asks them; it stays in this process, so that its pace and budget hold for the job as a whole.
    config (Dict[str, Any]): What it was made of (`enrich.read_config`).
    model (Optional[str]): Pipeline that finds the entities.
    images (Optional[str]): Folder that relative image paths start from.
    """

    enricher: Enricher
    config: dict[str, Any]
    model: str | None = None
    images: str | None = None

    @property
    def device(self) -> int:
        return -1

    def identity(self) -> dict[str, Any]:
        models = {
            name: {key: value for key, value in settings.items() if key not in RUNNING}
            for name, settings in self.config["models"].items()
        }
        prompts = {name: _digest(source) for name, source in self.enricher.prompt_sources().items()}
        asked = {key: value for key, value in self.config["enrich"].items() if key != "batch_size"}
        return {
            "task": "enrich",
            "models": models,
            "enrich": asked,
            "examples": self.config.get("examples") or {},
            "prompts": prompts,
            "pipeline": None if self.model is None else pipeline_identity(self.model),
            "options": {"images": self.images},
        }

    def load(self) -> Callable[[Sequence[Given]], Outcome]:
        return self._enrich

    def lost(self, post: Given, reason: str) -> Outcome:
        name = "which could not be read" if isinstance(post, PostError) else describe_post(post)
        row = {} if isinstance(post, PostError) else json_fields(post)
        return _outcome([{**row, "errors": [{"component": "job", "message": Errors.E841.format(post=name, reason=reason)}]}])

    def _enrich(self, posts: Sequence[Given]) -> Outcome:
        return _outcome(
            [json_fields(row) for row in self.enricher.run(posts, images=None if self.images is None else Path(self.images))]
        )


def _outcome(rows: Sequence[dict[str, Any]]) -> Outcome:
    tally = Tally(posts=len(rows), entities=sum(len(row.get("ents") or ()) for row in rows))
    for row in rows:
        tally.note(row.get("errors") or [])
    return Outcome(["".join(map(dump_line, rows)).encode("utf8")], tally)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf8", "surrogatepass"), digest_size=16).hexdigest()


__all__ = ["RUNNING", "EnrichWork"]
