"""`base_images`: makes the images of registry_base_images, where Debian's archive has changed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...deployment.fixed import BASE_IMAGES
from ..contents.reports import run_and_report
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import read_text, remove_tree, write_atomically
from ..system.lock import locked
from . import archive
from .archive import State
from .build import Moved, build
from .push import Registry
from .settings import Row, Settings, load

# A new release of the toolkit that makes other images of the same archive has another number.
_RECIPE = 1
# Bytes that must be free: an image, unpacked, and its layer.
_ROOM = 1 << 30
_ATTEMPTS = 3
_VERIFICATION = "verification failed at "


def base_images(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`base_images`: makes and pushes each image whose archive has changed since the last run.

    No request keys. Holds a lock of its own. Returns actions, made (how many), and images: for each
    row to, tag, dated, digest, source. Raises HostError at the end, with a sentence for each image
    that could not be made; the others are pushed nevertheless.
    """
    settings = load(host)
    if not check and host.runner.which("mmdebstrap") is None:
        raise HostError("mmdebstrap is not installed on this host yet: run the whole site.yml")
    if check:
        return {"actions": ["base images would be made, where Debian's archive has changed"]}

    def act(results: dict[str, Any]) -> dict[str, Any]:
        with locked(host.paths.base_images_lock, BASE_IMAGES, 5):
            return _all(host, settings, results)

    return run_and_report(host, BASE_IMAGES, act)


def _all(host: Host, settings: Settings, results: dict[str, Any]) -> dict[str, Any]:
    record = _record(host)
    actions: list[str] = []
    problems: list[str] = []
    for row in settings.rows:
        try:
            done = _one(host, settings, row, record.get(row.name))
        except HostError as problem:
            text = str(problem)
            if text.startswith(_VERIFICATION):
                text = f"the push failed at {text.removeprefix(_VERIFICATION)}"
            problems.append(text if text.startswith(row.name) else f"{row.name}: {text}")
            continue
        if done != record.get(row.name):
            actions.append(f"{row.name} is {done['digest']}, and {row.to}:{done['dated']} too")
            record[row.name] = done
            _keep(host, record)
    results["images"] = [record[row.name] for row in settings.rows if row.name in record]
    results["made"] = len(actions)
    results["actions"] = actions
    if problems:
        raise HostError("\n".join(problems))
    return results


def _one(
    host: Host, settings: Settings, row: Row, last: Mapping[str, Any] | None
) -> Mapping[str, Any]:
    """The record of the row's image; `last` if nothing was to do."""
    work = host.paths.base_images / "work"
    for attempt in range(1, _ATTEMPTS + 1):
        # A killed run has left its files here; what it had mounted ended with it.
        remove_tree(work)
        work.mkdir(mode=0o755, parents=True)
        work.chmod(0o755)
        try:
            free = shutil.disk_usage(work).free
            if free < _ROOM:
                raise HostError(
                    f"{work.parent} has {free >> 20} MiB free, and an image needs up to "
                    f"{_ROOM >> 20}: make room"
                )
            registry = Registry(host, settings)
            state = archive.look(host, row, work)
            if last is not None and _is_current(registry, row, state, last):
                return last
            return _made(host, registry, row, state, work)
        except Moved:
            if attempt == _ATTEMPTS:
                raise
        finally:
            remove_tree(work)
    raise AssertionError("unreachable")


def _is_current(registry: Registry, row: Row, state: State, last: Mapping[str, Any]) -> bool:
    """Whether the registry has the image of this state, or of a newer one: one of the archive's
    servers may be behind."""
    return (
        last["recipe"] == _recipe(row)
        and (state.files == frozenset(last["files"]) or state.moment < last["moment"])
        and all(registry.digest(row.to, tag) == last["digest"] for tag in (row.tag, last["dated"]))
    )


def _made(host: Host, registry: Registry, row: Row, state: State, work: Path) -> dict[str, Any]:
    image = build(host, row, state, work)
    dated, _ = registry.push(row.to, image, f"{row.tag}-{state.day}", row.tag)
    return {
        "to": row.to,
        "tag": row.tag,
        "dated": dated,
        "digest": image.digest,
        "source": f"{row.suite}@{state.date}",
        "moment": state.moment,
        "files": sorted(state.files),
        "recipe": _recipe(row),
    }


def _recipe(row: Row) -> str:
    """What changes with everything that an image is made from, but for the archive's state."""
    text = json.dumps([_RECIPE, row.suite, row.packages, row.mirror, row.security])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _record(host: Host) -> dict[str, Any]:
    """Row → what was made last. A damaged file is as none: then all images are made again."""
    try:
        raw = json.loads(read_text(host.paths.base_images / "made.json") or "{}")
        return {str(name): dict(made) for name, made in raw.items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def _keep(host: Host, record: Mapping[str, Any]) -> None:
    data = json.dumps(record, indent=1, sort_keys=True).encode() + b"\n"
    write_atomically(host.paths.base_images / "made.json", data, 0o600)
