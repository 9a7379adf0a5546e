"""What is done to the registry's contents, by a timer or a playbook, without a controller.

retention        tags that no rule keeps go
collect          untagged revisions go, then what nothing refers to any more: garbage collection
check_contents   everything is read and compared with its digest; changes nothing

Each leaves a report in contents/JOB.json, for `status`, for alarms and for whoever asked. The first
two work in a window (window.py): only then can nobody move a tag or push a blob meanwhile.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import window
from .context import Host
from .errors import HostError
from .files import exists, read_text, write_atomically
from .generations import generations_of
from .lock import locked
from .names import REGISTRY
from .service import last_words
from .specification import Specification, definition
from .state import State

JOBS = ("retention", "collect", "check_contents")
_UNIT = "wharfinger-contents@"
# Seconds beyond a job's own limit: until it has the lock, and for the last ones who read.
_AROUND = 3600.0
_TICK = 0.2
_LOG_READ = 400


@dataclass(frozen=True)
class Settings:
    """contents.json, as role `contents` writes it: seconds and bytes per second as numbers; `raw`
    is all of it, of which contents/plans.py reads the rules."""

    storage_path: Path
    raw: Mapping[str, Any]
    gc_max_seconds: float = 3600.0
    check_rate: int = 0
    drain_timeout: float = 600.0


def load(host: Host, given: Mapping[str, Any] | None = None) -> Settings:
    """Those of the last deployment, or `given` ones. Raises HostError where there was none."""
    path = host.paths.contents_settings
    text = read_text(path)
    if text is None and given is None:
        raise HostError(f"{path} is not there: run the whole site.yml once, which writes it")
    try:
        raw = given or json.loads(text or "")
        return Settings(
            storage_path=Path(raw["storage_path"]),
            raw=raw,
            gc_max_seconds=float(raw.get("gc_max_seconds") or 3600),
            check_rate=int(raw.get("check_rate") or 0),
            drain_timeout=float(raw.get("drain_timeout") or 600),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise HostError(f"{path} cannot be read: run the whole site.yml, which writes it") from (
            problem
        )


def _settings(host: Host, request: Mapping[str, Any], check: bool) -> Settings:
    return load(host, request.get("settings") if check else None)


# -- reports ---------------------------------------------------------------------------------------


def report(host: Host, job: str) -> dict[str, Any] | None:
    """What the job's last run has left; None where it never ran. One that no job has written (a
    damaged file) is a report of a failure: nobody knows how that run ended."""
    path = host.paths.reports / f"{job}.json"
    text = read_text(path)
    if text is None:
        return None
    try:
        found: dict[str, Any] = json.loads(text)
        summary(found)
        whole = (found["job"], found["ok"]) == (job, found["problem"] is None)
        whole = whole and float(found["seconds"]) >= 0
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, OSError):
        whole = False
    if whole:
        return found
    return {
        "job": job,
        "at": path.stat().st_mtime,
        "seconds": 0,
        "ok": False,
        "problem": f"{path} is not what {job} writes, so how its last run ended is not known: run "
        f"`{host.paths.command} {job}`, which writes it again, or remove the file",
        "actions": [],
    }


def _reported(
    host: Host, job: str, act: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """Runs `act`, which gets a dictionary to note things in that hold even where it fails."""
    begun = host.clock.now()
    noted: dict[str, Any] = {}
    problem: HostError | None = None
    try:
        noted |= act(noted)
    except HostError as found:
        problem = found
    except OSError as found:
        where = f"{found.filename}: " if found.filename else ""
        problem = HostError(f"{job}: {where}{found.strerror or found}")
    _write(host, job, begun, problem, noted)
    if problem is not None:
        raise problem
    return noted


def note(host: Host, job: str, problem: HostError) -> None:
    """A report of a job that did not come to its work."""
    _write(host, job, host.clock.now(), problem, {})


def _write(
    host: Host, job: str, begun: float, problem: HostError | None, noted: dict[str, Any]
) -> None:
    noted |= {
        "job": job,
        "at": begun,
        "seconds": round(host.clock.now() - begun, 3),
        "ok": problem is None,
        "problem": None if problem is None else str(problem),
    }
    noted.setdefault("actions", [])
    host.paths.reports.mkdir(mode=0o750, parents=True, exist_ok=True)
    data = json.dumps(noted, indent=1, sort_keys=True).encode() + b"\n"
    # Names of repositories and tags are nobody's but root's.
    write_atomically(host.paths.reports / f"{job}.json", data, 0o600)


def problems(host: Host) -> list[str]:
    """What the last run of each job could not do, or found."""
    found = (report(host, job) for job in JOBS)
    return [str(one["problem"]) for one in found if one is not None and one.get("problem")]


# -- the jobs --------------------------------------------------------------------------------------


def retention(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`retention`: tags that no rule of registry_retention keeps are removed.

    Request, for a dry run only: {"settings": as an inventory has them that was not applied yet}.
    Returns `rows`, one for each tag (contents/retention.py), and `removed`: how many tags. With
    nothing to remove there is no window, and nobody notices anything.
    """
    from .contents import apply, plan_retention

    settings = _settings(host, request, check)

    def plan(store: Any) -> dict[str, Any]:
        return plan_retention(store, settings.raw, host.clock.now())

    def told(found: dict[str, Any], actions: list[str]) -> dict[str, Any]:
        tags = [one for one in found["rows"] if not one["keep"]]
        answer = {key: value for key, value in found.items() if key != "removals"}
        return {**answer, "actions": actions, "removed": len(tags)}

    if check:
        found = plan(_storage(settings))
        return told(found, [f"{one.name}: would be removed" for one in found["removals"]])

    def act(noted: dict[str, Any]) -> dict[str, Any]:
        store = _storage(settings)
        found = plan(store)
        actions: list[str] = []
        if found["removals"]:
            state = host.store.load()
            with _window(host, state, settings, "retention", store, noted) as opened:
                # As it is now that nobody can change it.
                found = plan(store)
                actions += apply(store, found["removals"])
            actions = opened.actions + actions
        return told(found, actions)

    return _reported(host, "retention", act)


def collect(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`collect`: untagged revisions that are old enough go, then every blob that no manifest needs.

    Request: as `retention`. Returns `untagged` (how many revisions went), `blobs` and `freed`
    (bytes), and `window_seconds`. With nothing to free there is no window. Raises HostError, before
    anything is refused to anybody, where something is so damaged that the collection would end at
    it.
    """
    from .contents import (
        apply,
        awaited,
        garbage,
        make_collectable,
        named,
        obstacles,
        plan_untagged,
        usage,
    )

    settings = _settings(host, request, check)

    def plan(store: Any) -> dict[str, Any]:
        return plan_untagged(store, settings.raw, host.clock.now())

    def survey(store: Any) -> tuple[dict[str, Any], int, int]:
        """What could be removed, before anybody is refused anything for it."""
        _nothing_stands_in_the_way(obstacles(store))
        untagged = plan(store)
        layers = (one for found in awaited(store, host.clock.now()).values() for one in found)
        return untagged, *garbage(store, untagged["removals"], layers)

    if check:
        untagged, blobs, size = survey(_storage(settings))
        would = [f"{one.name}: would be removed" for one in untagged["removals"]]
        if blobs:
            would.append(f"{blobs} blobs, {size} bytes: would be removed")
        return {
            "actions": would,
            "untagged": _revisions(untagged["removals"]),
            "blobs": blobs,
            "freed": size,
            "damage": untagged["damage"],
        }

    def act(noted: dict[str, Any]) -> dict[str, Any]:
        store = _storage(settings)
        untagged, blobs, _ = survey(store)
        if not blobs and not untagged["removals"]:
            return {"untagged": 0, "blobs": 0, "freed": 0, "damage": untagged["damage"]}
        state = host.store.load()
        with _window(host, state, settings, "collect", store, noted) as opened:
            _nothing_stands_in_the_way(obstacles(store))
            before = usage(store)
            found = plan(store)
            removed = apply(store, found["removals"]) + make_collectable(store)
            try:
                with named(store, awaited(store, host.clock.now())):
                    _garbage_collect(host, state, opened)
            finally:
                after = usage(store)
                noted |= {
                    "untagged": _revisions(found["removals"]),
                    "blobs": before.blobs - after.blobs,
                    "freed": before.bytes - after.bytes,
                    "damage": found["damage"],
                }
        return {
            **noted,
            "actions": [
                *opened.actions,
                *removed,
                f"{noted['blobs']} blobs that nothing refers to were removed, "
                f"{noted['freed']} bytes",
            ],
        }

    return _reported(host, "collect", act)


def check_contents(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`check_contents`: each blob against its digest, each link, each manifest's children.

    Request: {"rate": bytes per second, 0 for as fast as it goes; null: the setting}. Needs no lock
    but its own and changes nothing but its report. Returns what contents/check.py does; raises
    HostError, naming what is damaged and the tags that this hits, where something is.
    """
    from .contents import scrub

    settings = _settings(host, request, check)
    rate = request.get("rate")
    if check:
        return {"actions": []}

    def act(noted: dict[str, Any]) -> dict[str, Any]:
        with locked(host.paths.var / "check.lock", "check_contents", 5):
            noted |= scrub(_storage(settings), settings.check_rate if rate is None else int(rate))
        if noted["damage"]:
            raise HostError(_damaged(noted["damage"]))
        return noted

    return _reported(host, "check_contents", act)


def _revisions(removals: Iterable[Any]) -> int:
    """How many are revisions; the others are tags that belong to them."""
    return sum(1 for one in removals if one.tag is None)


def _damaged(damage: list[Mapping[str, Any]]) -> str:
    shown = [str(one["sentence"]) for one in damage[:20]]
    more = len(damage) - len(shown)
    return "\n".join(
        [
            f"{_count(len(damage))} damaged; nothing was changed (docs/operations.md, Repair):",
            *shown,
            *([f"and {more} more, all of them in contents/check_contents.json"] if more else []),
        ]
    )


def _count(number: int) -> str:
    where = "in the registry's storage"
    return f"One thing {where} is" if number == 1 else f"{number} things {where} are"


def _nothing_stands_in_the_way(found: list[str]) -> None:
    if found:
        raise HostError(
            "nothing was collected: a collection would end at what is damaged:\n" + "\n".join(found)
        )


def _storage(settings: Settings) -> Any:
    from .contents import Storage

    if not exists(settings.storage_path / "docker"):
        raise HostError(
            f"{settings.storage_path}/docker is not there: if it is on a file system of its own, "
            "mount it (`mount -a`); where nothing was deployed yet, run site.yml"
        )
    return Storage(settings.storage_path)


@contextmanager
def _window(
    host: Host, state: State, settings: Settings, job: str, store: Any, noted: dict[str, Any]
) -> Iterator[window.Opened]:
    """A window for work on `store`, which ends where the window has lasted long enough; how long
    it was is `noted`, however it ended."""
    from .contents import placed

    _it_serves(host, state, settings.storage_path)
    _nobody_else_writes(host, settings.storage_path)
    before = report(host, job)
    opened: window.Opened | None = None
    try:
        with window.window(
            host,
            state,
            job,
            seconds=settings.gc_max_seconds,
            drain_timeout=settings.drain_timeout,
            expected=float((before or {}).get("window_seconds") or 0),
            resting=lambda: placed(store, host.clock.now()),
        ) as opened:
            store.meanwhile = opened.go_on
            yield opened
    finally:
        if opened is not None:
            lasted = opened.seconds or host.clock.now() - opened.window.since
            noted["window_seconds"] = round(lasted, 3)


def _it_serves(host: Host, state: State, folder: Path) -> None:
    """Refuses where the registry does not run, or not on this storage: a window would start it
    while somebody may have stopped it to work on the data."""
    all_of = generations_of(host, state, REGISTRY, {})
    serving = all_of.record.serving
    if serving is None:
        raise HostError("registry: nothing serves yet: run the whole site.yml first")
    name = all_of.name(serving.number)
    found = host.engine.inspect(name)
    if found is None or not found.running:
        raise HostError(
            f"nothing was done: the container {name} does not run, and somebody may have stopped "
            f"it to work on the data: start it with `docker start {name}`, or run site.yml"
        )
    spec = all_of.specification(serving.number)
    mounts = spec.mounts if spec is not None else []
    written = [Path(one["source"]) for one in mounts if not one.get("read_only", True)]
    if written and not any(one.is_relative_to(folder) for one in written):
        raise HostError(
            f"nothing was done: the registry that serves has its storage in {written[0]}, not in "
            f"{folder} (storage_path): run the whole site.yml first"
        )


def _nobody_else_writes(host: Host, folder: Path) -> None:
    """Refuses where another registry (one of before, say) has the same storage: a window would not
    keep it from writing, and what it writes could be collected at once."""
    others = host.engine.sharing(host.labels, folder)
    if others:
        raise HostError(
            f"nothing was done: the container {', '.join(others)} may write into {folder} too, and "
            "nothing keeps it from that meanwhile: stop it, or give it that folder read-only"
        )


# -- garbage collection ----------------------------------------------------------------------------


def _garbage_collect(host: Host, state: State, opened: window.Opened) -> None:
    """The registry's own `garbage-collect`, in a container of its own, without a network. Never
    with `-m`: that can delete manifests that an index needs (distribution, issue 4939)."""
    all_of = generations_of(host, state, REGISTRY, {})
    serving = all_of.record.serving
    spec = None if serving is None else all_of.specification(serving.number)
    if serving is None or spec is None:
        raise HostError("collect: no registry serves whose settings could be used")
    name = window.container(host)
    host.engine.remove(name)
    files = str(all_of.directory(serving.number) / "files")
    host.engine.create(name, collector(spec, host.labels, files))
    try:
        host.engine.start(name)
        while True:
            found = host.engine.inspect(name)
            if found is None:
                raise HostError(f"collect: the container {name} has disappeared while it worked")
            if found.status in ("exited", "dead"):
                break
            opened.go_on()
            host.clock.sleep(_TICK)
        if found.exit_code != 0:
            words = last_words(host.engine.logs(name, _LOG_READ).splitlines())
            memory = " It needed more memory than the host has." if found.out_of_memory else ""
            raise HostError(
                f"collect: the registry's garbage-collect ended with exit code "
                f"{found.exit_code}.{memory} The end of its log:\n{words}"
            )
    finally:
        host.engine.remove(name)


def collector(spec: Specification, labels: Mapping[str, str], files: str) -> dict[str, Any]:
    """The body of docker's POST /containers/create for a collection with this registry's image,
    configuration and storage (pure)."""
    from .specification import read, with_readonly

    plain = read(with_readonly(spec.raw, False))
    body = definition(plain, labels=labels, network="none", address="", files=files)
    body |= {
        "Cmd": ["garbage-collect", f"{spec.files_target}/config.yml"],
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": {**labels, "wharfinger.kind": "collection"},
    }
    del body["NetworkingConfig"]
    # What it notes of each blob grows with the registry, and it serves nobody.
    body["HostConfig"] |= {"RestartPolicy": {"Name": "no"}, "Memory": 0, "MemorySwap": 0}
    return body


# -- run apart from whoever asks -------------------------------------------------------------------


def contents(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`contents`: runs a job apart from this process, so that it goes on to its end where whoever
    asked vanishes (a controller whose connection breaks); waits for it and returns its report.

    Request: {"job": one of JOBS, "settings": as `retention`}. With systemd the job's unit is
    started, which is also what its timer starts. Raises HostError with the job's own words.
    """
    job = str(request.get("job"))
    if job not in JOBS:
        raise HostError(f"contents: {job!r} is none of {', '.join(JOBS)}")
    settings = _settings(host, request, check)
    if check:
        return _BY_NAME[job](host, request, True)
    before = report(host, job)
    unit = f"{_UNIT}{job}.service"
    if exists(host.paths.systemd):
        command = ["systemctl", "start", unit]
    else:
        program = f"{host.paths.command} {job}; code=$?; {host.paths.command} reopen; exit $code"
        command = ["setsid", "--wait", "sh", "-c", program]
    limit = _AROUND * 24 if job == "check_contents" else settings.gc_max_seconds + 2 * _AROUND
    said = host.runner.run(command, timeout=limit)
    found = report(host, job)
    if found is None or found == before:
        # It did not come to its work: another one was at work for too long, say.
        journal = host.runner.run(["journalctl", "-u", unit, "-n", "8", "-o", "cat", "--no-pager"])
        words = "\n".join(one for one in (said.words, journal.output.strip()) if one)
        raise HostError(f"{job}: it ended without a report: {words or 'without a word'}")
    if not found["ok"]:
        raise HostError(str(found["problem"]))
    return found


_BY_NAME = {"retention": retention, "collect": collect, "check_contents": check_contents}


def summary(found: Mapping[str, Any]) -> str:
    """One line about a report, for people."""
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(float(found["at"])))
    if not found["ok"]:
        return f"{when}: {str(found['problem']).splitlines()[0]}"
    if found["job"] == "retention":
        return f"{when}: {found['removed']} tags removed"
    if found["job"] == "collect":
        return f"{when}: {found['untagged']} untagged revisions and {found['freed']} bytes removed"
    stale = found.get("stale") or ()
    more = f"; lists of referrers that name what was deleted: {len(stale)}" if stale else ""
    return f"{when}: {found['blobs']} blobs, {found['bytes']} bytes, nothing damaged{more}"
