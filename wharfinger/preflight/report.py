"""What preflight has found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Report:
    """Errors stop the run before anything changes, warnings are only shown.

    Each is one sentence for the operator, `SUBJECT: what is wrong: what to write instead`, where
    SUBJECT is a variable (and a place in it) or `host, TOPIC`. No sentence holds a secret's value.
    """

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def error(self, subject: str, message: str) -> None:
        """Add an error about `subject`."""
        self.errors.append(f"{subject}: {message}")

    def warning(self, subject: str, message: str) -> None:
        """Add a warning about `subject`."""
        self.warnings.append(f"{subject}: {message}")


def mistakes(errors: Sequence[str]) -> str:
    """The message with which a run stops before it changes anything."""
    count = f"{len(errors)} mistake{'s' if len(errors) > 1 else ''}"
    return "\n".join(
        [f"{count} found; nothing was changed.", *(f"  - {error}" for error in errors)]
    )


def shown(value: str) -> str:
    """A value from the inventory between quotes: shortened, and without what precedes an `@`.

    Only for values that are not secrets; a URL pasted with its credentials must not print them.
    """
    text = value.rpartition("@")[2]
    text = f"…@{text}" if text != value else value
    return repr(text if len(text) <= 64 else text[:63] + "…")
