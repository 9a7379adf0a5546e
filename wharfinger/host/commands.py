"""The commands of the host program, each a row of a table, and how they are run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from ..deployment.fixed import JOBS, WATCHED
from . import functions
from .functions import Answer, Function, Request
from .system import restoring
from .system.context import Host
from .system.errors import HostError
from .system.files import UMASK
from .system.lock import Busy, held_since, is_held, locked
from .system.restoring import CLOSED
from .system.state import OPENING

# Seconds to wait for the lock: its holder may wait for requests to end, or for an ACME server.
_PATIENCE = 900.0

# Seconds after which the lock is held for too long: a collection may take a day
# (registry_gc_max_minutes), and its maintenance a little longer.
_HELD_TOO_LONG = 26 * 3600.0


@dataclass(frozen=True)
class Option:
    """A command-line argument that only this command has; it becomes a key of the request."""

    name: str
    type: type
    help: str


@dataclass(frozen=True)
class Command:
    """One row.

    function: imports what runs, and returns it (functions.py).
    locked: it holds the host's lock while it runs. Commands that do not change what locked ones
      change need no lock, so that they answer while another one is at work.
    takes_writes: if a killed process has left read-only maintenance, it is ended first. "needed":
      the command fails if that fails; "tried": it runs nevertheless, since it may solve the
      problem; None: the command does not need that, or does it itself.
    measured: the metrics are written afterwards, even if it has failed.
    unattended: nobody reads its output, so the alert command reports any failure.
    instead: an answer that makes waiting for the lock unnecessary; None: the command waits.
    nothing: its output in words if it had nothing to do; None: its output is JSON.
    words: its whole answer in words, with the exit code, if that is more than its actions.
    after_backup: the part of a backup that it waits for before it takes the lock, "list" or "end";
      a backup that begins meanwhile waits for it.
    after_restore: it does not run before a restored registry has been verified.
    options: its own command-line arguments.
    """

    name: str
    function: Callable[[], Function]
    locked: bool = True
    takes_writes: str | None = None
    measured: bool = False
    unattended: bool = False
    instead: Callable[[Host, Request], Answer | None] = lambda host, request: None
    nothing: str | None = None
    words: Callable[[Answer], tuple[str, int]] | None = None
    after_backup: str = ""
    after_restore: bool = False
    options: tuple[Option, ...] = ()

    def load(self) -> Function:
        """Imports all that this command needs, and returns what runs. Called before the command
        waits for anything: a deployment may replace the program's file meanwhile."""
        if self.measured:
            import_module(".observation.metrics", __package__)
        if self.takes_writes is not None:
            import_module(".contents.maintenance", __package__)
        return self.function()

    def said(self, answer: Answer) -> tuple[str, int] | None:
        """The output in words, and the exit code; None if the output is JSON."""
        if self.words is not None:
            return self.words(answer)
        if self.nothing is None:
            return None
        lines = [*answer["actions"], *answer.get("notes", ()), *answer.get("next", ())]
        return "\n".join(lines) or self.nothing, 0


def _status_in_words(answer: Answer) -> tuple[str, int]:
    from .observation.status import text

    return text(answer), 1 if answer["problems"] else 0


def _renewed_by_others(host: Host, request: Request) -> Answer | None:
    """An answer if another command is at work: the timer will run this again. Raises HostError if
    it has been at work for too long."""
    held = held_since(host.paths.lock)
    if not held:
        return None
    holder, since = held
    hours = (host.clock.now() - since) / 3600
    if hours * 3600 < _HELD_TOO_LONG:
        return {"actions": [], "waits": True}
    raise HostError(
        f"another wharfinger-host ({holder}) has been at work for {hours:.0f} hours and holds "
        f"{host.paths.lock}, and nothing is renewed meanwhile: see what it waits for, or kill its "
        "process: the next run repairs what it leaves unfinished"
    )


def _nothing_is_open(host: Host, request: Request) -> Answer | None:
    """An answer if no maintenance is under way, as after every job that was not killed."""
    record = restoring.load(host.paths.restoring)
    closed = record is not None and record.step == CLOSED
    return {"actions": []} if host.store.load().window is None and not closed else None


def _backups_in_words(answer: Answer) -> tuple[str, int]:
    from .backup.catalog import in_words

    return in_words(answer), 0


def _mirrors_in_words(answer: Answer) -> tuple[str, int]:
    from .mirrors.catalog import in_words

    return in_words(answer), 0


def _refresh_unlocked(host: Host, request: Request) -> Answer | None:
    if not is_held(host.paths.lock):
        return None
    from .rollout.generations import refresh_unlocked

    return refresh_unlocked(host, request)


_UNIT = Option("unit", str, "`failed`: the unit that has failed")
_SNAPSHOT = Option("snapshot", str, "`backups`: shows what is in this one (an id, or latest)")
_CODE = Option("code", int, "`failed`: its program's exit code, without systemd")

COMMANDS = {
    command.name: command
    for command in (
        # Commands that only read. `contents` starts a job, which takes the lock; apt has its own
        # locks.
        Command("observe", functions.observe, locked=False),
        Command("status", functions.status, locked=False, words=_status_in_words),
        Command("verify", functions.verify, locked=False),
        Command("reachable", functions.reachable, locked=False),
        Command("contents", functions.contents, locked=False),
        Command("packages", functions.packages, locked=False),
        # Commands of a deployment.
        Command("prepare", functions.prepare),
        Command("service", functions.service),
        Command("network", functions.network),
        Command("images", functions.images),
        Command("certificates", functions.certificates, takes_writes="tried"),
        Command("ensure", functions.ensure, measured=True),
        Command(
            "follow",
            functions.follow,
            takes_writes="tried",
            measured=True,
            instead=_refresh_unlocked,
        ),
        Command("withdraw", functions.withdraw, takes_writes="tried", measured=True),
        Command("proxy", functions.proxy),
        Command("site", functions.site, takes_writes="tried", measured=True),
        Command("reload_proxy", functions.reload_proxy),
        # Commands of an operator.
        Command("rotate", functions.rotate, takes_writes="tried", measured=True),
        Command("rollback", functions.rollback, takes_writes="tried", measured=True),
        Command("remove", functions.remove),
        Command("backup_repository", functions.backup_repository, locked=False),
        Command(
            "backups",
            functions.backups,
            locked=False,
            words=_backups_in_words,
            options=(_SNAPSHOT,),
        ),
        Command("look_upstream", functions.look_upstream, locked=False),
        Command("mirrors", functions.mirrors, locked=False, words=_mirrors_in_words),
        Command("restore", functions.restore),
        Command("restore_repositories", functions.restore_repositories, locked=False),
        Command("restored", functions.restored),
        # Commands of timers.
        Command(
            "renew",
            functions.renew,
            measured=True,
            unattended=True,
            instead=_renewed_by_others,
            nothing="nothing is due",
        ),
        Command(
            "retention",
            functions.retention,
            takes_writes="needed",
            measured=True,
            nothing="every tag stays",
            after_restore=True,
            after_backup="list",
        ),
        Command(
            "collect",
            functions.collect,
            takes_writes="needed",
            measured=True,
            nothing="there is nothing to collect",
            after_restore=True,
            after_backup="end",
        ),
        Command(
            "check_contents",
            functions.check_contents,
            locked=False,
            measured=True,
            nothing="nothing is damaged",
        ),
        Command(
            "backup",
            functions.backup,
            locked=False,
            measured=True,
            nothing="nothing was saved",
            after_restore=True,
        ),
        Command(
            "drill",
            functions.drill,
            locked=False,
            measured=True,
            nothing="nothing was restored",
        ),
        Command(
            "mirror",
            functions.mirror,
            locked=False,
            measured=True,
            nothing="every locked tag is here",
            after_restore=True,
        ),
        Command(
            "base_images",
            functions.base_images,
            locked=False,
            measured=True,
            nothing="Debian's archive has not changed",
            after_restore=True,
        ),
        Command(
            "reopen",
            functions.reopen,
            measured=True,
            instead=_nothing_is_open,
            nothing="nothing was interrupted",
        ),
        Command(
            "failed",
            functions.failed,
            locked=False,
            measured=True,
            unattended=True,
            nothing="its program has said why",
            options=(_UNIT, _CODE),
        ),
    )
}


def run(name: str, request: Request, *, check: bool = False, host: Host | None = None) -> Answer:
    """Runs a command; with `check`, it only returns what would be done.

    Returns {"changed", "actions", …the command's own keys}. Raises HostError with a text for the
    operator. It may be killed at any time: the next call repairs what was left unfinished.
    """
    os.umask(UMASK)
    host = host or Host.real()
    command = COMMANDS.get(name)
    if command is None:
        raise HostError(f"unknown command {name!r}: one of {', '.join(sorted(COMMANDS))}")
    try:
        return _answered(host, command, request, check)
    except Exception as problem:
        # Nobody reads the output of a timer's command, so the failure is reported.
        if not command.unattended or check:
            raise
        from .observation import alert

        if isinstance(problem, alert.Reported):
            raise
        text = str(problem) if isinstance(problem, HostError) else _internal(name, problem)
        failure = alert.last_resort(host, text)
        raise HostError("\n".join([text, *([failure] if failure else [])])) from problem


def _internal(command: str, problem: Exception) -> str:
    """An error of this program itself, by kind and place: its message may contain a secret."""
    import traceback

    places = traceback.extract_tb(problem.__traceback__)
    where = f" at {Path(places[-1].filename).name}:{places[-1].lineno}" if places else ""
    return (
        f"{command}: an error of wharfinger-host itself ({type(problem).__name__}{where}): nothing "
        "is renewed until it is fixed: deploy from an up-to-date checkout, or report it"
    )


def _answered(host: Host, command: Command, request: Request, check: bool) -> Answer:
    try:
        try:
            answer = _run(host, command, request, check)
            if command.name in WATCHED and not check and not answer.get("waits"):
                from .observation.watching import succeeded

                succeeded(host, command.name)
        finally:
            if command.measured and not check:
                from .observation import metrics

                metrics.write(host)
    except KeyError as problem:
        raise HostError(f"{command.name}: the request lacks the key {problem}") from problem
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename else ""
        raise HostError(f"{command.name}: {where}{problem.strerror or problem}") from problem
    actions = answer.get("actions", [])
    return {"changed": bool(actions), "actions": actions, **answer}


def _run(host: Host, command: Command, request: Request, check: bool) -> Answer:
    function = command.load()
    if command.after_restore:
        restoring.refuse(host.paths.restoring, command.name)
    if check or not command.locked:
        return function(host, request, check)
    patience = float(request.get("lock_timeout", _PATIENCE))
    answer = command.instead(host, request)
    if answer is not None:
        return answer
    try:
        with _beside_backups(host, command), locked(host.paths.lock, command.name, patience):
            reopened = _writes_taken(host, command)
            answer = function(host, request, False)
            return {**answer, "actions": [*reopened, *answer["actions"]]} if reopened else answer
    except Busy as problem:
        if command.name in JOBS:
            # A timer may have started it, so the failure must be in a report.
            from .contents.reports import report_failure

            report_failure(host, command.name, problem)
        raise


@contextmanager
def _beside_backups(host: Host, command: Command) -> Iterator[None]:
    """Waits for what this command must not disturb of a backup, and keeps the next one waiting."""
    if not command.after_backup:
        yield
        return
    paths, patience = host.paths, _HELD_TOO_LONG
    with ExitStack() as held:
        if command.after_backup == "end":
            with locked(paths.collection_waits, command.name, patience):
                held.enter_context(locked(paths.blobs_lock, command.name, patience))
        held.enter_context(locked(paths.links_lock, command.name, patience))
        yield


def _writes_taken(host: Host, command: Command) -> list[str]:
    """Ends read-only maintenance whose process is gone; returns what was done. Raises HostError if
    what worked in it may still be at work."""
    if command.takes_writes is None:
        return []
    from .contents.maintenance import reopen

    try:
        actions: list[str] = reopen(host, {}, False)["actions"]
    except HostError as problem:
        left = host.store.load().window
        if command.takes_writes == "needed" or left is None or left.step != OPENING:
            raise
        return [f"the registry takes no writes yet: {problem}"]
    return actions
