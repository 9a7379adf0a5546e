"""A runner that asks openssl only once about files with the same content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from wharfinger.host.system.runner import Result, SystemRunner

# These commands only read. Their answers depend on the content of files, not on the time.
_READING = ({"x509", "-noout"}, {"pkey", "-pubout"}, {"verify", "-no_check_time"})
_SAID: dict[tuple[str | bytes, ...], Result] = {}


class RememberingRunner(SystemRunner):
    """Runs real programs. Tests that repeat a rotation for each step at which it can be killed ask
    the same about the same certificates hundreds of times."""

    def run(
        self,
        arguments: Sequence[str],
        *,
        timeout: float = 30,
        environment: Mapping[str, str] | None = None,
    ) -> Result:
        """As SystemRunner.run. Files that could not be read are asked about again."""
        reads = arguments[0] == "openssl" and any(words <= set(arguments) for words in _READING)
        if not reads or "-out" in arguments:
            return super().run(arguments, timeout=timeout, environment=environment)
        question = tuple(_content(argument) for argument in arguments)
        if question not in _SAID:
            result = super().run(arguments, timeout=timeout, environment=environment)
            if not result.ok:
                return result
            _SAID[question] = result
        return _SAID[question]


def _content(argument: str) -> str | bytes:
    path = Path(argument)
    return path.read_bytes() if path.is_absolute() and path.is_file() else argument
