"""What is done with the posts of a job: a recipe that travels to worker processes, and what each of them makes of it."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ...post.errors import Errors, PostError, RivegaError
from ...post.posts import Post
from .tally import Tally

# What a file of posts yields, one a line.
Given = Post | PostError


@dataclass
class Outcome:
    """What has become of some posts, in their order.

    payloads (List[bytes]): Their results: JSON lines, or DocBins.
    tally (Tally): Their counts.
    """

    payloads: list[bytes] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    def add(self, other: "Outcome") -> None:
        """Add the results of the posts that follow."""
        self.payloads += other.payloads
        self.tally.add(other.tally)


class Work(Protocol):
    """A recipe: small, and pickled to where it is done. Pipelines are loaded there; none is ever sent."""

    @property
    def device(self) -> int:
        """Number of the GPU that it is done on; -1 for the CPU."""

    def identity(self) -> dict[str, Any]:
        """All that the results depend on beside the posts, as JSON: a job that goes on must find it unchanged."""

    def load(self) -> Callable[[Sequence[Given]], Outcome]:
        """Load what is needed, once a worker. RAISES (RivegaError): If that is not possible."""

    def lost(self, post: Given, reason: str) -> Outcome:
        """The result of a post that no worker survives; nothing is loaded for it."""


class Digest:
    """A running hash of posts, by which a job that goes on knows that its input is what it was."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, post: Given) -> None:
        """Take in the next post. RAISES (RivegaError): E840 if it holds what no file of posts can."""
        if isinstance(post, PostError):
            data = f"error:{post}"
        else:
            try:
                data = json.dumps(post, default=_digested)
            except (TypeError, ValueError, RecursionError) as error:
                raise RivegaError(Errors.E840.format(post=str(post.get("id"))[:80], reason=error)) from error
        self._hash.update(data.encode("utf8", "surrogatepass") + b"\n")

    def hexdigest(self) -> str:
        """32 hexadecimal digits."""
        return self._hash.hexdigest()


def _digested(value: Any) -> Any:
    if isinstance(value, bytes):
        return hashlib.blake2b(value, digest_size=16).hexdigest()
    # Dates and numbers of tables.
    text = repr(value)
    if " at 0x" in text:
        raise TypeError(f"it has a {type(value).__name__}")
    return text


__all__ = ["Digest", "Given", "Outcome", "Work"]
