"""Telling an operator what is wrong: by certificates_alert_command, once a day for each problem."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .context import Host
from .state import State

_AGAIN = 86400.0
_PATIENCE = 60
# The message arrives on the command's standard input and as a variable; the command itself is a
# shell's, as an operator would type it.
# `eval`, so that the command, which may hold a secret, is among no process's arguments.
_SHELL = 'printf "%s\\n" "$WHARFINGER_MESSAGE" | eval "$WHARFINGER_ALERT_COMMAND"'


def tell(
    host: Host,
    state: State,
    hostname: str,
    command: str,
    problems: Iterable[str],
    news: Iterable[str] = (),
) -> str | None:
    """Tells of those problems that were not told within a day, and of all news; a problem that is
    over is forgotten.

    Returns what went wrong with the telling, without the command's words: they may hold secrets.
    """
    now = host.clock.now()
    found = {_key(one): one for one in problems}
    fresh = {
        key: text
        for key, text in found.items()
        if now - float(state.alerted.get(key, _NEVER)["told"]) >= _AGAIN
    }
    alerted = {
        key: {**state.alerted[key], "text": found[key]} for key in found.keys() - fresh.keys()
    }
    failure = None
    texts = [*fresh.values(), *news]
    if texts and command:
        said = host.runner.run(
            ["sh", "-c", _SHELL],
            timeout=_PATIENCE,
            environment={
                "WHARFINGER_ALERT_COMMAND": command,
                "WHARFINGER_HOSTNAME": hostname,
                "WHARFINGER_MESSAGE": "\n".join(f"{hostname}: {one}" for one in texts),
            },
        )
        if not said.ok:
            failure = f"certificates_alert_command ended with exit code {said.code}"
    told = now if failure is None else 0
    alerted |= {key: {"told": told, "text": text} for key, text in fresh.items()}
    if alerted != state.alerted:
        state.alerted = alerted
        try:
            host.store.save(state)
        except OSError as problem:
            # On a full disk the alarm has gone out all the same; it goes out again next time.
            return f"{host.paths.state}: {problem.strerror or problem}"
    return failure


_NEVER: Mapping[str, Any] = {"told": 0}


def _key(problem: str) -> str:
    """A problem's first line without its numbers: generations, times and logs differ each time."""
    return re.sub(r"[0-9]+", "#", problem.splitlines()[0])
