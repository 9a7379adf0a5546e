"""The commands by name, each under the lock that it needs."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .contents.jobs import JOBS, check_contents, collect, contents, note, retention
from .contents.window import ensure, reopen
from .keys.renewal import keep, renew, rotate
from .observation import alert, metrics
from .observation.engine_facts import answers
from .observation.observe import observe
from .observation.status import status
from .observation.watching import WATCHED, failed, succeeded
from .rollout.generations import follow, followed, rollback, withdraw
from .rollout.images import images
from .rollout.proxy import proxy, reload_proxy
from .setup.apt import packages
from .setup.network import network
from .setup.prepare import prepare
from .setup.remove import remove
from .setup.site import site
from .system.context import Host
from .system.errors import HostError
from .system.files import UMASK
from .system.lock import Busy, held_since, is_held, locked
from .system.service import start_service
from .system.state import OPENING

# Seconds: whoever holds the lock may be waiting for requests to end, or for an ACME server.
_PATIENCE = 900.0

# Seconds after which a lock is held for too long: a collection may take a day
# (registry_gc_max_minutes), and its windows a little more.
_HELD_TOO_LONG = 26 * 3600.0

_Command = Callable[[Host, Mapping[str, Any], bool], dict[str, Any]]


def _observe(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    return observe(host, request)


def _service(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Request: {"name": "docker" | "nginx", "state": "started"}."""
    name = request.get("name")
    if name not in ("docker", "nginx"):
        raise HostError(f"service: unknown name {name!r}: write docker or nginx")
    running = host.nginx.running if name == "nginx" else lambda: answers(host)
    return {"actions": start_service(name, host.paths, host.runner, running, check=check)}


def _verify(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    from .observation.verify import verify  # only here: TLS takes long to import

    return verify(host, request, check)


def _reachable(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    from .observation.reach import reachable  # only here: TLS takes long to import

    return reachable(host, request, check)


# Commands that change nothing of what locked ones do take no lock, so that they answer while
# something is under way; `contents` starts a job, which takes it. apt has locks of its own.
_UNLOCKED: dict[str, _Command] = {
    "observe": _observe,
    "status": status,
    "verify": _verify,
    "reachable": _reachable,
    "check_contents": check_contents,
    "contents": contents,
    "failed": failed,
    "packages": packages,
}
_LOCKED: dict[str, _Command] = {
    "prepare": prepare,
    "service": _service,
    "network": network,
    "images": images,
    "certificates": keep,
    "rotate": rotate,
    "renew": renew,
    "ensure": ensure,
    "follow": follow,
    "rollback": rollback,
    "withdraw": withdraw,
    "proxy": proxy,
    "site": site,
    "reload_proxy": reload_proxy,
    "remove": remove,
    "retention": retention,
    "collect": collect,
    "reopen": reopen,
}
# What goes on with the registry as it is first takes it out of a window whose process is gone.
# `ensure` brings another one, `renew` tells of what fails, the others do without.
_REOPENS = frozenset(
    {"certificates", "rotate", "follow", "rollback", "withdraw", "site", "retention", "collect"}
)
# Of these, the ones that begin a window of their own. The others may be what helps where the
# registry cannot take writes again as it is, so that does not keep them from their work.
_NEED_WRITES = frozenset({"retention", "collect"})
# After these the metrics say something else than before, even where they have failed.
_MEASURED = frozenset(
    {
        *("rotate", "renew", "ensure", "follow", "rollback", "withdraw", "site"),
        *(*JOBS, "reopen", "failed"),
    }
)
COMMANDS = (*_UNLOCKED, *_LOCKED)


def run(
    command: str, request: Mapping[str, Any], *, check: bool = False, host: Host | None = None
) -> dict[str, Any]:
    """Runs one command; `check` only says what would be done.

    Returns {"changed", "actions", …the command's own keys}. Raises HostError with a text for the
    operator. Safe to be killed anywhere: the next call repairs what was left half-done.
    """
    os.umask(UMASK)
    host = host or Host.real()
    try:
        return _answered(host, command, request, check)
    except alert.Told:
        raise
    except Exception as problem:
        # Nobody looks at what the timer runs: whatever ends it is told.
        if command not in ("renew", "failed") or check:
            raise
        text = str(problem) if isinstance(problem, HostError) else _internal(command, problem)
        failure = alert.last_resort(host, text)
        raise HostError("\n".join([text, *([failure] if failure else [])])) from problem


def _internal(command: str, problem: Exception) -> str:
    """An error of this program itself, by its kind and place: its own words may hold anything."""
    places = traceback.extract_tb(problem.__traceback__)
    where = f" at {Path(places[-1].filename).name}:{places[-1].lineno}" if places else ""
    return (
        f"{command}: an error of wharfinger-host itself ({type(problem).__name__}{where}): nothing "
        "is renewed until it is mended: deploy from an up-to-date checkout, or report it"
    )


def _answered(host: Host, command: str, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    try:
        try:
            answer = _run(host, command, request, check)
            if command in WATCHED and not check and not answer.get("waits"):
                succeeded(host, command)
        finally:
            if command in _MEASURED and not check:
                metrics.write(host)
    except KeyError as problem:
        raise HostError(f"{command}: the request lacks the key {problem}") from problem
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename else ""
        raise HostError(f"{command}: {where}{problem.strerror or problem}") from problem
    actions = answer.get("actions", [])
    return {"changed": bool(actions), "actions": actions, **answer}


def _run(host: Host, command: str, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    if command in _UNLOCKED:
        return _UNLOCKED[command](host, request, check)
    if command not in _LOCKED:
        raise HostError(f"unknown command {command!r}: one of {', '.join(sorted(COMMANDS))}")
    if check:
        return _LOCKED[command](host, request, True)
    patience = float(request.get("lock_timeout", _PATIENCE))
    if command == "renew" and (held := held_since(host.paths.lock)):
        # A deployment or another renewal is at work; the timer comes again.
        holder, since = held
        hours = (host.clock.now() - since) / 3600
        if hours * 3600 < _HELD_TOO_LONG:
            return {"actions": [], "waits": True}
        raise HostError(
            f"another wharfinger-host ({holder}) has been at work for {hours:.0f} hours and holds "
            f"{host.paths.lock}, and nothing is renewed meanwhile: look what it waits for, or kill "
            "its process: the next run ends what it leaves half-done"
        )
    if command == "reopen" and host.store.load().window is None:
        return {"actions": []}  # as after every job that came to its end: nothing to wait for
    if command == "follow" and is_held(host.paths.lock):
        answer = followed(host, request)
        if answer is not None:
            return answer
    try:
        with locked(host.paths.lock, command, patience):
            before = _reopened(host, command) if command in _REOPENS else []
            answer = _LOCKED[command](host, request, False)
            return {**answer, "actions": [*before, *answer["actions"]]} if before else answer
    except Busy as problem:
        if command in JOBS:
            # Nobody may be looking: a timer began it.
            note(host, command, problem)
        raise


def _reopened(host: Host, command: str) -> list[str]:
    """Ends a window whose process is gone; what was done. Raises HostError where whatever worked in
    it may still be at work."""
    try:
        actions: list[str] = reopen(host, {}, False)["actions"]
    except HostError as problem:
        left = host.store.load().window
        if command in _NEED_WRITES or left is None or left.step != OPENING:
            raise
        return [f"the registry takes no writes yet: {problem}"]
    return actions
