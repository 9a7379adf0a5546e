"""Reports problems to an operator by certificates_alert_command, each once a day."""

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
# The command gets the message on standard input and as a variable. It is a shell's command, as an
# operator would type it. `eval` keeps it, and a secret in it, out of the arguments of a process.
_SHELL = 'printf "%s\\n" "$WHARFINGER_MESSAGE" | eval "$WHARFINGER_ALERT_COMMAND"'


def tell(
    host: Host,
    state: State,
    hostname: str,
    command: str,
    problems: Iterable[str],
    news: Iterable[str] = (),
) -> str | None:
    """Reports the problems that were not reported within a day, and all news. A problem that is
    over is forgotten.

    Returns why the report failed, without the command's output, which may contain secrets.
    """
    alerted, failure = _sent(
        host, {**state.alerted, **_in_memory(host)}, hostname, command, problems, news
    )
    try:
        if alerted != state.alerted:
            state.alerted = alerted
            host.store.save(state)
    except OSError as problem:
        # The disk is full. The alarm must be sent once a day here too.
        _keep_in_memory(host, alerted)
        return f"{host.paths.state}: {problem.strerror or problem}"
    with suppress(OSError):
        host.paths.sent_alerts.unlink(missing_ok=True)
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
    """Reports what was not reported within a day. Returns what is reported by now, and an error."""
    now = host.clock.now()
    present = {_key(problem): problem for problem in problems}
    fresh = {
        key: text
        for key, text in present.items()
        # A time in the future is from a wrong clock: it counts like a time long ago.
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
    """What was reported while state.json could not be written or read."""
    with suppress(HostError, OSError):
        return Store(host.paths.sent_alerts).load().alerted
    return {}


def _keep_in_memory(host: Host, alerted: _Alerted) -> None:
    with suppress(OSError):
        host.paths.sent_alerts.parent.mkdir(parents=True, exist_ok=True)
        Store(host.paths.sent_alerts).save(State(alerted=alerted))


class Reported(HostError):
    """Problems that were already reported to an operator."""


def remember(host: Host, hostname: str, command: str) -> None:
    """Keeps what `last_resort` needs in memory (/run), safe from full disks and damaged files."""
    text = json.dumps({"hostname": hostname, "command": command})
    with suppress(OSError):
        if read_text(host.paths.alert) != text:
            host.paths.alert.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(host.paths.alert, text.encode(), 0o600)


def last_resort(host: Host, problem: str) -> str | None:
    """Reports what has ended a renewal, once a day. Needs neither state.json nor room on the disk.
    Returns why the report failed.
    """
    try:
        known = json.loads(read_text(host.paths.alert) or "")
        hostname, command = str(known["hostname"]), str(known["command"])
    except (OSError, ValueError, LookupError, TypeError):
        # No renewal has run since this boot, so the settings of the last deployment are used.
        text = read_text(host.paths.certificate_settings)
        if text is None:
            return None  # never deployed: there is no command
        try:
            raw = json.loads(text)
            hostname, command = str(raw["hostname"]), str(raw.get("alert_command") or "")
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return (
                f"this was not reported: {host.paths.certificate_settings} cannot be read: run the "
                "whole site.yml, which writes it"
            )
    if not command:
        return None
    alerted, failure = _sent(host, _in_memory(host), hostname, command, [problem])
    _keep_in_memory(host, alerted)
    return failure


_NEVER: Mapping[str, Any] = {"told": 0}


def _key(problem: str) -> str:
    """A problem's first line without numbers: generations, times and logs differ each time."""
    return re.sub(r"[0-9]+", "#", problem.splitlines()[0])
