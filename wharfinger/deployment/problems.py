"""Problems of an inventory or a host. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake or obstacle. The operator reads it as `TOPIC, PLACE: message`.

    topic: a variable, or `host, SUBJECT` such as `host, clock`; it decides which playbooks the
    problem stops (wharfinger/preflight/scopes.py). place: a part of the variable; "" for all of it.
    message: what is wrong, and what to write instead; it holds no secret.
    """

    topic: str
    place: str
    message: str

    def __str__(self) -> str:
        where = f"{self.topic}, {self.place}" if self.place else self.topic
        return f"{where}: {self.message}"


@dataclass
class Report:
    """All problems: errors stop the run before anything changes, warnings do not."""

    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def error(self, topic: str, message: str, place: str = "") -> None:
        """Adds an error; topic and place as in Problem."""
        self.errors.append(Problem(topic, place, message))

    def warning(self, topic: str, message: str, place: str = "") -> None:
        """Adds a warning; topic and place as in Problem."""
        self.warnings.append(Problem(topic, place, message))

    def add(self, other: Report) -> None:
        """Adds the problems of the other report."""
        self.errors += other.errors
        self.warnings += other.warnings


class Refuse(Protocol):
    """Like Report.error; it also drops the value, so that nothing uses it."""

    def __call__(self, topic: str, message: str, place: str = "") -> None: ...
