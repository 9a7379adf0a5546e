"""The commands of the host program, one row of a table each, and how one is run."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..deployment.fixed import JOBS
from .contents.maintenance import ensure, reopen
from .contents.reports import report_failure
from .contents.runner import contents
from .keys.renewal import certificates, rotate
from .observation import alert, metrics
from .observation.watching import WATCHED, failed, succeeded
from .rollout.generations import refresh, refresh_unlocked, withdraw
from .rollout.images import images
from .rollout.proxy import proxy, reload_proxy
from .rollout.rollback import rollback
from .setup.apt import packages
from .setup.network import network
from .setup.prepare import prepare
from .setup.remove import remove
from .setup.site import site
from .system.context import Host
from .system.engine import answers
from .system.errors import HostError
from .system.files import UMASK
from .system.lock import Busy, held_since, is_held, locked
from .system.service import start_service
from .system.state import OPENING
from .timer import renew

# Seconds: whoever holds the lock may be waiting for requests to end, or for an ACME server.
_PATIENCE = 900.0

# Seconds after which a lock is held for too long: a collection may take a day
# (registry_gc_max_minutes), and its maintenance a little more.
_HELD_TOO_LONG = 26 * 3600.0

Request = Mapping[str, Any]
Answer = dict[str, Any]


@dataclass(frozen=True)
class Option:
    """An argument of the command line that only this command has; it is a key of the request."""

    name: str
    type: type
    help: str


@dataclass(frozen=True)
class Command:
    """One row.

    run: takes host, request and whether this is a dry run; what it returns is said at `run` below.
    locked: nobody else changes this host meanwhile. Commands that change nothing of what locked
      ones do take no lock, so that they answer while something is under way.
    takes_writes: first the registry takes writes again, where the process of maintenance is gone.
      For "needed", this command ends where that cannot be; for "tried", it goes on all the same,
      since it may be what helps; None: the command does without, or does it in its own way.
    measured: afterwards the metrics say something else than before, even where it has failed.
    unattended: nobody looks at what it says, so whatever ends it is told by the alert command.
    instead: the answer where this command has nothing to wait for the lock for; None: it waits.
    nothing: what it says in words where it had nothing to do; None: it answers in JSON only.
    words: its whole answer in words, with the exit code, where that is more than its actions.
    options: its own arguments on the command line.
    """

    name: str
    run: Callable[[Host, Request, bool], Answer]
    locked: bool = True
    takes_writes: str | None = None
    measured: bool = False
    unattended: bool = False
    instead: Callable[[Host, Request], Answer | None] = lambda host, request: None
    nothing: str | None = None
    words: Callable[[Answer], tuple[str, int]] | None = None
    options: tuple[Option, ...] = ()

    def said(self, answer: Answer) -> tuple[str, int] | None:
        """What a person or a journal is told, and the exit code; None where JSON is the answer."""
        if self.words is not None:
            return self.words(answer)
        if self.nothing is None:
            return None
        lines = [*answer["actions"], *answer.get("notes", ()), *answer.get("next", ())]
        return "\n".join(lines) or self.nothing, 0


# Only here: what looks at a whole host, and the types of what it says, take long to import.
def _observe(host: Host, request: Request, check: bool) -> Answer:
    from ..deployment.facts import plain
    from .observation.observe import observe

    answer: Answer = plain(observe(host, request))
    return answer


def _status(host: Host, request: Request, check: bool) -> Answer:
    from .observation.status import status

    return status(host, request, check)


def _status_in_words(answer: Answer) -> tuple[str, int]:
    from .observation.status import text

    return text(answer), 1 if answer["problems"] else 0


def _service(host: Host, request: Request, check: bool) -> Answer:
    """Request: {"name": "docker" | "nginx", "state": "started"}."""
    name = request.get("name")
    if name not in ("docker", "nginx"):
        raise HostError(f"service: unknown name {name!r}: write docker or nginx")
    socket = host.paths.docker_socket
    running = host.nginx.running if name == "nginx" else lambda: answers(socket)
    return {"actions": start_service(name, host.paths, host.runner, running, check=check)}


def _verify(host: Host, request: Request, check: bool) -> Answer:
    from .observation.verify import verify  # only here: TLS takes long to import

    return verify(host, request, check)


def _reachable(host: Host, request: Request, check: bool) -> Answer:
    from .observation.reach import reachable  # only here: TLS takes long to import

    return reachable(host, request, check)


# Only here: what reads the registry's storage takes long to import.
def _retention(host: Host, request: Request, check: bool) -> Answer:
    from .contents.retention import retention

    return retention(host, request, check)


def _collect(host: Host, request: Request, check: bool) -> Answer:
    from .contents.collection import collect

    return collect(host, request, check)


def _scrub(host: Host, request: Request, check: bool) -> Answer:
    from .contents.scrub import scrub

    return scrub(host, request, check)


def _renewed_by_others(host: Host, request: Request) -> Answer | None:
    """A deployment or another renewal is at work: the timer comes again. Raises HostError where
    that has been so for too long."""
    held = held_since(host.paths.lock)
    if not held:
        return None
    holder, since = held
    hours = (host.clock.now() - since) / 3600
    if hours * 3600 < _HELD_TOO_LONG:
        return {"actions": [], "waits": True}
    raise HostError(
        f"another wharfinger-host ({holder}) has been at work for {hours:.0f} hours and holds "
        f"{host.paths.lock}, and nothing is renewed meanwhile: look what it waits for, or kill "
        "its process: the next run ends what it leaves half-done"
    )


def _nothing_is_open(host: Host, request: Request) -> Answer | None:
    """As after every job that came to its end: nothing to wait for."""
    return {"actions": []} if host.store.load().window is None else None


def _refresh_unlocked(host: Host, request: Request) -> Answer | None:
    return refresh_unlocked(host, request) if is_held(host.paths.lock) else None


_UNIT = Option("unit", str, "`failed`: the unit that has failed")
_CODE = Option("code", int, "`failed`: its program's exit code, without systemd")

COMMANDS = {
    command.name: command
    for command in (
        # What looks only. `contents` starts a job, which takes the lock; apt has locks of its own.
        Command("observe", _observe, locked=False),
        Command("status", _status, locked=False, words=_status_in_words),
        Command("verify", _verify, locked=False),
        Command("reachable", _reachable, locked=False),
        Command("contents", contents, locked=False),
        Command("packages", packages, locked=False),
        # What a deployment does.
        Command("prepare", prepare),
        Command("service", _service),
        Command("network", network),
        Command("images", images),
        Command("certificates", certificates, takes_writes="tried"),
        Command("ensure", ensure, measured=True),
        Command("follow", refresh, takes_writes="tried", measured=True, instead=_refresh_unlocked),
        Command("withdraw", withdraw, takes_writes="tried", measured=True),
        Command("proxy", proxy),
        Command("site", site, takes_writes="tried", measured=True),
        Command("reload_proxy", reload_proxy),
        # What an operator asks for.
        Command("rotate", rotate, takes_writes="tried", measured=True),
        Command("rollback", rollback, takes_writes="tried", measured=True),
        Command("remove", remove),
        # What timers run.
        Command(
            "renew",
            renew,
            measured=True,
            unattended=True,
            instead=_renewed_by_others,
            nothing="nothing is due",
        ),
        Command(
            "retention",
            _retention,
            takes_writes="needed",
            measured=True,
            nothing="every tag stays",
        ),
        Command(
            "collect",
            _collect,
            takes_writes="needed",
            measured=True,
            nothing="there is nothing to collect",
        ),
        Command(
            "check_contents",
            _scrub,
            locked=False,
            measured=True,
            nothing="nothing is damaged",
        ),
        Command(
            "reopen",
            reopen,
            measured=True,
            instead=_nothing_is_open,
            nothing="nothing was interrupted",
        ),
        Command(
            "failed",
            failed,
            locked=False,
            measured=True,
            unattended=True,
            nothing="its program has said why",
            options=(_UNIT, _CODE),
        ),
    )
}


def run(name: str, request: Request, *, check: bool = False, host: Host | None = None) -> Answer:
    """Runs one command; `check` only says what would be done.

    Returns {"changed", "actions", …the command's own keys}. Raises HostError with a text for the
    operator. Safe to be killed anywhere: the next call repairs what was left half-done.
    """
    os.umask(UMASK)
    host = host or Host.real()
    command = COMMANDS.get(name)
    if command is None:
        raise HostError(f"unknown command {name!r}: one of {', '.join(sorted(COMMANDS))}")
    try:
        return _answered(host, command, request, check)
    except alert.Told:
        raise
    except Exception as problem:
        # Nobody looks at what the timer runs: whatever ends it is told.
        if not command.unattended or check:
            raise
        text = str(problem) if isinstance(problem, HostError) else _internal(name, problem)
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


def _answered(host: Host, command: Command, request: Request, check: bool) -> Answer:
    try:
        try:
            answer = _run(host, command, request, check)
            if command.name in WATCHED and not check and not answer.get("waits"):
                succeeded(host, command.name)
        finally:
            if command.measured and not check:
                metrics.write(host)
    except KeyError as problem:
        raise HostError(f"{command.name}: the request lacks the key {problem}") from problem
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename else ""
        raise HostError(f"{command.name}: {where}{problem.strerror or problem}") from problem
    actions = answer.get("actions", [])
    return {"changed": bool(actions), "actions": actions, **answer}


def _run(host: Host, command: Command, request: Request, check: bool) -> Answer:
    if check or not command.locked:
        return command.run(host, request, check)
    patience = float(request.get("lock_timeout", _PATIENCE))
    answer = command.instead(host, request)
    if answer is not None:
        return answer
    try:
        with locked(host.paths.lock, command.name, patience):
            before = _writes_taken(host, command)
            answer = command.run(host, request, False)
            return {**answer, "actions": [*before, *answer["actions"]]} if before else answer
    except Busy as problem:
        if command.name in JOBS:
            # Nobody may be looking: a timer began it.
            report_failure(host, command.name, problem)
        raise


def _writes_taken(host: Host, command: Command) -> list[str]:
    """Ends maintenance whose process is gone; what was done. Raises HostError where whatever worked
    in it may still be at work."""
    if command.takes_writes is None:
        return []
    try:
        actions: list[str] = reopen(host, {}, False)["actions"]
    except HostError as problem:
        left = host.store.load().window
        if command.takes_writes == "needed" or left is None or left.step != OPENING:
            raise
        return [f"the registry takes no writes yet: {problem}"]
    return actions
