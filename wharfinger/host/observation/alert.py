"""Telling an operator what is wrong: by certificates_alert_command, once a day for each problem."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from ..system.context import Host
from ..system.errors import HostError
from ..system.files import read_text, write_atomically
from ..system.state import State, Store

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
    alerted, failure = _sent(
        host, {**state.alerted, **_in_memory(host)}, hostname, command, problems, news
    )
    try:
        if alerted != state.alerted:
            state.alerted = alerted
            host.store.save(state)
    except OSError as problem:
        # On a full disk; the alarm goes out once a day there too.
        _keep_in_memory(host, alerted)
        return f"{host.paths.state}: {problem.strerror or problem}"
    with suppress(OSError):
        host.paths.told.unlink(missing_ok=True)
    return failure


_Alerted = dict[str, dict[str, Any]]


def _sent(
    host: Host,
    earlier: _Alerted,
    hostname: str,
    command: str,
    problems: Iterable[str],
    news: Iterable[str] = (),
) -> tuple[_Alerted, str | None]:
    """Sends what was not told within a day; what is told by now, and what went wrong with it."""
    now = host.clock.now()
    present = {_key(problem): problem for problem in problems}
    fresh = {
        key: text
        for key, text in present.items()
        # What a clock that was ahead has told counts as little as what was told long ago.
        if abs(now - float(earlier.get(key, _NEVER)["told"])) >= _AGAIN
    }
    alerted = {key: {**earlier[key], "text": present[key]} for key in present.keys() - fresh.keys()}
    failure = None
    texts = [*fresh.values(), *news]
    if texts and command:
        said = host.runner.run(
            ["sh", "-c", _SHELL],
            timeout=_PATIENCE,
            environment={
                "WHARFINGER_ALERT_COMMAND": command,
                "WHARFINGER_HOSTNAME": hostname,
                "WHARFINGER_MESSAGE": "\n".join(f"{hostname}: {text}" for text in texts),
            },
        )
        if not said.ok:
            failure = f"certificates_alert_command ended with exit code {said.code}"
    moment = now if failure is None else 0
    alerted |= {key: {"told": moment, "text": text} for key, text in fresh.items()}
    return alerted, failure


def _in_memory(host: Host) -> _Alerted:
    """What was told while state.json could not be written or read."""
    with suppress(HostError, OSError):
        return Store(host.paths.told).load().alerted
    return {}


def _keep_in_memory(host: Host, alerted: _Alerted) -> None:
    with suppress(OSError):
        host.paths.told.parent.mkdir(parents=True, exist_ok=True)
        Store(host.paths.told).save(State(alerted=alerted))


class Told(HostError):
    """What an operator has been told of already."""


def remember(host: Host, hostname: str, command: str) -> None:
    """Keeps what `last_resort` needs where neither a full disk nor a damaged file reaches it: in
    memory (/run)."""
    text = json.dumps({"hostname": hostname, "command": command})
    with suppress(OSError):
        if read_text(host.paths.alert) != text:
            host.paths.alert.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(host.paths.alert, text.encode(), 0o600)


def last_resort(host: Host, problem: str) -> str | None:
    """Tells of what has kept a renewal from coming to its end, once a day. Needs no state.json and
    no room on the disk. Returns what went wrong with the telling.
    """
    try:
        known = json.loads(read_text(host.paths.alert) or "")
        hostname, command = str(known["hostname"]), str(known["command"])
    except (OSError, ValueError, LookupError, TypeError):
        # Since this boot nothing was renewed; then what the last deployment wrote counts.
        text = read_text(host.paths.certificate_settings)
        if text is None:
            return None  # never deployed: there is nobody to tell
        try:
            raw = json.loads(text)
            hostname, command = str(raw["hostname"]), str(raw.get("alert_command") or "")
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return (
                f"nobody was told of this: {host.paths.certificate_settings} cannot be read: run "
                "the whole site.yml, which writes it"
            )
    if not command:
        return None
    alerted, failure = _sent(host, _in_memory(host), hostname, command, [problem])
    _keep_in_memory(host, alerted)
    return failure


_NEVER: Mapping[str, Any] = {"told": 0}


def _key(problem: str) -> str:
    """A problem's first line without its numbers: generations, times and logs differ each time."""
    return re.sub(r"[0-9]+", "#", problem.splitlines()[0])
