"""How much a request may ask for, and how much all of them together."""

from dataclasses import dataclass, fields

from ..post.errors import Errors, RivegaError


@dataclass(frozen=True)
class Limits:
    """Limits of a server.

    body_bytes (int): Of a request's body. All bodies that are held at a time have eight times as much.
    pixels (int): Of a picture.
    text (int): Characters of a post's text, and of each of its other texts.
    posts (int): In one request.
    waiting (int): Posts that wait for the pipeline, of all requests.
    per_client (int): Requests that one client address has under way, GET requests aside.
    connections (int): Open at a time.
    seconds (float): Until the answer to a request, once it has arrived.
    body_seconds (float): For a request's head, and for its body, to arrive.
    batch (int): Posts that go through the pipeline together; 1 turns batching off.
    wait (float): Seconds that a post waits for others to go with it.
    cache_bytes (int): Of decoded pictures that are kept for the next stage and the next request.
    RAISES (RivegaError): E209 if a limit would let nothing through.
    """

    body_bytes: int = 32 * 1024 * 1024
    pixels: int = 40_000_000
    text: int = 20_000
    posts: int = 64
    waiting: int = 256
    per_client: int = 64
    connections: int = 512
    seconds: float = 60.0
    body_seconds: float = 20.0
    batch: int = 16
    wait: float = 0.005
    cache_bytes: int = 128 * 1024 * 1024

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least: float = 0 if field.name == "wait" else 0.1 if field.name.endswith("seconds") else 1
            if not value >= least:
                raise RivegaError(Errors.E209.format(option=field.name, least=least, value=value))

    @property
    def held_bytes(self) -> int:
        """Bytes of all bodies that are held at a time."""
        return 8 * self.body_bytes
