"""What a job counts: posts, entities, and what failed in which component, with the first examples."""

from dataclasses import asdict, dataclass, field
from typing import Any

# Of each component so many notes are kept word for word; the rest is counted.
EXAMPLES = 3


@dataclass
class Failures:
    """Posts with notes of one component.

    posts (int): How many.
    examples (List[str]): The first of the notes.
    """

    posts: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass
class Tally:
    """Counts of some posts.

    posts (int), entities (int): How many.
    grounded (int): Entities with a box.
    failed (int): Posts with notes on what went wrong.
    failures (Dict[str, Failures]): Those notes, by component.
    """

    posts: int = 0
    entities: int = 0
    grounded: int = 0
    failed: int = 0
    failures: dict[str, Failures] = field(default_factory=dict)

    def note(self, errors: list[dict[str, str]]) -> None:
        """Count the notes of one post (`doc._.rivega_errors`)."""
        self.failed += bool(errors)
        seen: set[str] = set()
        for error in errors:
            component = error["component"]
            found = self.failures.setdefault(component, Failures())
            found.posts += component not in seen
            seen.add(component)
            if len(found.examples) < EXAMPLES:
                found.examples.append(error["message"])

    def add(self, other: "Tally") -> None:
        """Add the counts of later posts."""
        self.posts += other.posts
        self.entities += other.entities
        self.grounded += other.grounded
        self.failed += other.failed
        for component, more in other.failures.items():
            found = self.failures.setdefault(component, Failures())
            found.posts += more.posts
            found.examples = [*found.examples, *more.examples][:EXAMPLES]

    def to_json(self) -> dict[str, Any]:
        """As JSON can write it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Tally":
        """What `to_json` made."""
        failures = {name: Failures(**found) for name, found in value["failures"].items()}
        return cls(**{**value, "failures": failures})


__all__ = ["EXAMPLES", "Failures", "Tally"]
