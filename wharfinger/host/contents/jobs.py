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
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..rollout.records import Records
from ..rollout.specification import Specification, definition
from ..system import clock, clock_check
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import exists, read_bytes, read_text, write_atomically
from ..system.lock import locked
from ..system.names import REGISTRY
from ..system.service import last_words
from ..system.state import State
from . import window

JOBS = ("retention", "collect", "check_contents")
_UNIT = "wharfinger-contents@"
# Of a job's report: how much it has removed.
_COUNTED = {"retention": "removed", "collect": "untagged"}
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


# -- what a person asks of a run -------------------------------------------------------------------

_FLAGS = ("confirm_deletions", "clock_is_right")
# Seconds for which a person's word waits for the job: as long as it may wait for the lock.
_WAITS = 1200.0


@contextmanager
def _left_for(host: Host, job: str, request: Mapping[str, Any]) -> Iterator[None]:
    """What a person asks of the job that the body starts apart from this process; nobody else's
    run finds it afterwards."""
    flags = {name: True for name in _FLAGS if request.get(name)}
    if not flags:
        yield
        return
    now = host.clock.reading()
    path = host.paths.asked
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"job": job, "boot": now.boot, "until": now.up + _WAITS, **flags})
    write_atomically(path, text.encode(), 0o600)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _asked(host: Host, job: str, request: Mapping[str, Any]) -> dict[str, bool]:
    """What a person asks of this run, by the request or by way of `_left_for`, once."""
    found: dict[str, Any] = {}
    text = read_text(host.paths.asked)
    if text is not None:
        now = host.clock.reading()
        try:
            left = json.loads(text)
            if (left["job"], left["boot"]) == (job, now.boot) and now.up <= float(left["until"]):
                found = left
        except (ValueError, TypeError, LookupError):
            pass  # nobody has confirmed anything
        if found:
            host.paths.asked.unlink(missing_ok=True)
    return {name: (found.get(name) or request.get(name)) is True for name in _FLAGS}


def _believed(host: Host, job: str, confirmed: bool) -> clock.Record:
    """The host's clock. Raises InDoubt where what goes by it must wait."""
    record = clock_check.look(host, confirmed=confirmed)
    if record.doubt:
        words = clock_check.sentence(record, host.clock.now())
        raise clock_check.InDoubt(f"{job}: nothing was removed: {words}")
    return record


def _brake(settings: Settings, host: Host, job: str, removals: Iterable[Any], total: int) -> str:
    """Why so many removals wait for a person's word, and what to run; "" where they do not."""
    from .storage import brake

    tags = job == "retention"
    found = [one.repository for one in removals if one.digest and (one.tag is not None) == tags]
    what = "tags" if tags else "manifests"
    verdict = brake.verdict(found, total, settings.raw, _history(host, job), what)
    if not verdict:
        return ""
    playbook = f"playbooks/{'retention' if tags else 'garbage_collect'}.yml"
    return (
        f"{verdict}. Look at what would go with {playbook} --check; where that is meant, run "
        f"{playbook} -e confirm_deletions=true"
    )


def _held(job: str, verdict: str, confirmed: bool) -> None:
    """Raises HostError where the brake holds and nobody has confirmed what would go."""
    if verdict and not confirmed:
        raise HostError(f"{job}: nothing was removed, since very much would go: {verdict}")


def _history(host: Host, job: str) -> list[int]:
    """How much the last runs have removed; a report that no run has written knows of none."""
    found = (report(host, job) or {}).get("history")
    if not isinstance(found, list):
        return []
    return [one for one in found if isinstance(one, int) and one > 0]


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
    from .storage import brake

    history = _history(host, job)
    removed = 0 if noted.pop("confirmed", False) else int(noted.get(_COUNTED.get(job, ""), 0))
    noted |= {
        "job": job,
        "at": begun,
        "seconds": round(host.clock.now() - begun, 3),
        "ok": problem is None,
        "problem": None if problem is None else str(problem),
    }
    noted.setdefault("actions", [])
    if job in _COUNTED:
        # What a person has confirmed is no measure for the next run.
        noted["history"] = brake.remembered(history, removed)
    # Told by itself as long as it lasts (timer.py).
    noted["in_doubt"] = isinstance(problem, clock_check.InDoubt)
    host.paths.reports.mkdir(mode=0o750, parents=True, exist_ok=True)
    data = json.dumps(noted, indent=1, sort_keys=True).encode() + b"\n"
    # Names of repositories and tags are nobody's but root's.
    write_atomically(host.paths.reports / f"{job}.json", data, 0o600)


def problems(host: Host) -> list[str]:
    """What the last run of each job could not do, or found."""
    found = (report(host, job) for job in JOBS)
    return [
        str(one["problem"])
        for one in found
        if one is not None and one.get("problem") and not one.get("in_doubt")
    ]


# -- the jobs --------------------------------------------------------------------------------------


def retention(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`retention`: tags that no rule of registry_retention keeps are removed.

    Request: {"confirm_deletions": whether a person has confirmed what the brake would stop,
    "clock_is_right": whether a person says so, "settings": for a dry run only, as an inventory has
    them that was not applied yet}. Returns `rows`, one for each tag (contents/retention.py), and
    `removed`: how many tags; a dry run also `held` and `doubt`, why nothing would be removed all
    the same. With nothing to remove there is no window, and nobody notices anything.
    """
    from .storage import apply, plan_retention

    settings = _settings(host, request, check)

    def plan(store: Any) -> dict[str, Any]:
        return plan_retention(store, settings.raw, host.clock.now(), _notes(host))

    def told(found: dict[str, Any], actions: list[str]) -> dict[str, Any]:
        tags = [one for one in found["rows"] if not one["keep"]]
        answer = {key: value for key, value in found.items() if key != "removals"}
        return {**answer, "actions": actions, "removed": len(tags)}

    def brake(found: dict[str, Any]) -> str:
        return _brake(settings, host, "retention", found["removals"], len(found["rows"]))

    if check:
        found = plan(_storage(settings))
        would = [f"{one.name}: would be removed" for one in found["removals"]]
        return told(found, would) | _dry(host, request, brake(found))

    asked = _asked(host, "retention", request)

    def act(noted: dict[str, Any]) -> dict[str, Any]:
        believed = _believed(host, "retention", asked["clock_is_right"])
        confirmed = asked["confirm_deletions"]
        noted["confirmed"] = confirmed
        store = _storage(settings, believed)
        found = plan(store)
        _held("retention", brake(found), confirmed)
        actions: list[str] = []
        if found["removals"]:
            state = host.store.load()
            with _window(host, state, settings, "retention", store, noted) as opened:
                # As it is now that nobody can change it.
                found = plan(store)
                _held("retention", brake(found), confirmed)
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
    from .storage import (
        apply,
        awaited,
        collectable,
        examine,
        grace,
        needed_blobs,
        plan_untagged,
        unneeded,
        usage,
    )

    settings = _settings(host, request, check)

    def plan(store: Any) -> dict[str, Any]:
        return plan_untagged(store, settings.raw, host.clock.now(), _notes(host))

    def stay(store: Any, needed: Collection[str]) -> dict[str, dict[str, int]]:
        """By repository, the layers that stay although no manifest names them, and their sizes."""
        now, keep = host.clock.now(), settings.raw.get("untagged_keep")
        found = grace.held(store, keep, now, needed)
        for repository, sizes in awaited(store, now).items():
            found.setdefault(repository, {}).update(sizes)
        return found

    def survey(store: Any) -> tuple[dict[str, Any], int, int]:
        """What could be removed, before anybody is refused anything for it."""
        problems, special = examine(store)
        _nothing_stands_in_the_way(problems)
        untagged = plan(store)
        untagged["damage"] = _with_warnings(untagged["damage"], special.warnings)
        kept = needed_blobs(store, untagged["removals"], special)
        kept.update(*stay(store, kept).values())
        return untagged, *unneeded(store, kept)

    def brake(found: dict[str, Any]) -> str:
        return _brake(settings, host, "collect", found["removals"], found["revisions"])

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
            **_dry(host, request, brake(untagged)),
        }

    asked = _asked(host, "collect", request)

    def act(noted: dict[str, Any]) -> dict[str, Any]:
        believed = _believed(host, "collect", asked["clock_is_right"])
        confirmed = asked["confirm_deletions"]
        noted["confirmed"] = confirmed
        store = _storage(settings, believed)
        untagged, blobs, _ = survey(store)
        _held("collect", brake(untagged), confirmed)
        if not blobs and not untagged["removals"]:
            return {"untagged": 0, "blobs": 0, "freed": 0, "damage": untagged["damage"]}
        state = host.store.load()
        with _window(host, state, settings, "collect", store, noted) as opened:
            problems, special = examine(store)
            _nothing_stands_in_the_way(problems)
            before = usage(store)
            found = plan(store)
            found["damage"] = _with_warnings(found["damage"], special.warnings)
            _held("collect", brake(found), confirmed)
            removed = apply(store, found["removals"])
            stays = stay(store, needed_blobs(store, (), special))
            try:
                with collectable(store, host.paths.aside, special, stays) as made:
                    removed += made
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
    from .storage import scrub

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


def _with_warnings(damage: list[dict[str, Any]], warnings: Iterable[Any]) -> list[dict[str, Any]]:
    """Damage and warnings as they stand in a report, each sentence once."""
    told = {one["sentence"] for one in damage}
    return damage + [one.report() for one in warnings if one.sentence not in told]


def _dry(host: Host, request: Mapping[str, Any], verdict: str) -> dict[str, Any]:
    """What would keep a run from removing anything: `held` (the brake) and `doubt` (the clock), ""
    where nothing would."""
    confirmed = request.get("confirm_deletions") is True
    right = request.get("clock_is_right") is True
    return {
        "held": "" if confirmed else verdict,
        "doubt": clock_check.doubt(host, confirmed=right, check=True),
    }


def _notes(host: Host) -> Any:
    """What the timer has noted of manifests without a tag."""
    from .storage import grace

    return grace.decode(read_bytes(host.paths.untagged))


def note_untagged(host: Host) -> None:
    """The timer's look at which manifests have no tag (contents/grace.py). Under the host's lock,
    and by a clock that can be believed."""
    from .storage import grace

    if not exists(host.paths.contents_settings):
        return  # deployed by an earlier version
    settings = load(host)
    if not exists(settings.storage_path / "docker"):
        return  # nothing was pushed yet, or the jobs tell of it
    store = _storage(settings, clock_check.look(host, check=True))
    before = read_bytes(host.paths.untagged)
    data = grace.encode(grace.note(store, grace.decode(before), host.clock.now()))
    if data != before:
        # On a full disk things stay longer, and others tell of that.
        with suppress(OSError):
            host.paths.reports.mkdir(mode=0o750, parents=True, exist_ok=True)
            write_atomically(host.paths.untagged, data, 0o600)


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


def _storage(settings: Settings, believed: clock.Record | None = None) -> Any:
    """The registry's storage, its times as a clock that can be believed has them."""
    from .storage import Storage

    if not exists(settings.storage_path / "docker"):
        raise HostError(
            f"{settings.storage_path}/docker is not there: if it is on a file system of its own, "
            "mount it (`mount -a`); where nothing was deployed yet, run site.yml"
        )
    return Storage(settings.storage_path, believed.moment if believed else None)


@contextmanager
def _window(
    host: Host, state: State, settings: Settings, job: str, store: Any, noted: dict[str, Any]
) -> Iterator[window.Opened]:
    """A window for work on `store`, which ends where the window has lasted long enough; how long
    it was is `noted`, however it ended."""
    from .storage import placed

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
    records = Records(host, state, REGISTRY)
    serving = records.serving
    if serving is None:
        raise HostError("registry: nothing serves yet: run the whole site.yml first")
    name = records.name(serving.number)
    found = host.engine.inspect(name)
    if found is None or not found.running:
        raise HostError(
            f"nothing was done: the container {name} does not run, and somebody may have stopped "
            f"it to work on the data: start it with `docker start {name}`, or run site.yml"
        )
    spec = records.specification(serving.number)
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
    records = Records(host, state, REGISTRY)
    serving = records.serving
    spec = None if serving is None else records.specification(serving.number)
    if serving is None or spec is None:
        raise HostError("collect: no registry serves whose settings could be used")
    name = window.container(host)
    host.engine.remove(name)
    files = str(records.directory(serving.number) / "files")
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
    body = definition(
        spec.with_readonly(False), labels=labels, network="none", address="", files=files
    )
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

    Request: {"job": one of JOBS, and as `retention`}. With systemd the job's unit is
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
    with _left_for(host, job, request):
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
