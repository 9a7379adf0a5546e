"""A runner that asks openssl once what files of the same content say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from wharfinger.host.system.runner import Result, SystemRunner

# These only read, and answer by what their files hold, not by the time.
_READING = ({"x509", "-noout"}, {"pkey", "-pubout"}, {"verify", "-no_check_time"})
_SAID: dict[tuple[str | bytes, ...], Result] = {}


class RememberingRunner(SystemRunner):
    """Real programs. Tests that repeat a rotation for each step at which it can be killed ask the
    same of the same certificates hundreds of times."""

    def run(
        self,
        arguments: Sequence[str],
        *,
        timeout: float = 30,
        environment: Mapping[str, str] | None = None,
    ) -> Result:
        """As SystemRunner.run. What could not be read is asked again."""
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
