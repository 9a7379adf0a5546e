"""`prepare`: directories with owners and modes, and the secrets that are made on the host."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets as random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..system import restoring
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import directory, exists, read_bytes, read_text, write_atomically
from ..system.passwords import bcrypt, belongs
from ..system.state import KINDS, State, merged
from ..system.storage_facts import is_mount_point


def prepare(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Request: {"installed": {...}, "mount_point": path, "storage": {"path", "group", "mount"},
    "program": base64}, all optional. Without them, it returns verification_hash,
    verification_digest (the SHA-256 of that account's generated secret, or None), mirror_hash and
    mirror_digest (likewise), users (the
    content of users.json, or {}) and removed (`removed_accounts`). With any of them, it returns
    nothing that a log may not show.

    `installed` (what the toolkit has installed: packages, files, …) is added to the record.
    `mount_point` is made if it is missing, with parents that nginx can enter. With `storage`, the
    data directories are made: `path` with mode 0750 and owner registry:`group`, and `docker` below
    it, only on the right file system (`mount`: true demands that `path` is a mount point).
    `program` is the host program as a zipapp (zipapp.py), installed for people and timers.
    """
    actions = directories(host, check)
    mount_point = request.get("mount_point")
    if mount_point is not None and not exists(Path(mount_point)):
        actions += directory(Path(mount_point), 0o755, host.root_id, host.root_id, check=check)
    storage = request.get("storage")
    if storage is not None:
        actions += storage_directories(host, storage, check)
    actions += _secrets(host, check)
    actions += _program(host, request.get("program"), check)
    state = host.store.load()
    actions += _remember(host, state, request)
    if actions and not check:
        host.store.save(state)
    if {"installed", "mount_point", "storage", "program"} & request.keys():
        return {"actions": actions}
    users = json.loads(read_text(host.paths.users) or "{}")
    record = restoring.load(host.paths.restoring)
    return {
        "actions": actions,
        "verification_hash": state.verification_hash,
        "verification_digest": _digest(_password(host.paths.verification_password)),
        "mirror_hash": _mirror_hash(host),
        "mirror_digest": _digest(_password(host.paths.mirror_password)),
        "users": users,
        "removed": removed_accounts(host),
        # Then passwords beside the inventory may be newer than these.
        "restored": record is not None and not record.only,
    }


def removed_accounts(host: Host) -> dict[str, str]:
    """Users and robots that were removed from this host → when (`YYYY-MM-DDTHH:MM:SSZ`)."""
    path = host.paths.removed_accounts
    try:
        record = json.loads(read_text(path) or "{}")
    except ValueError:
        record = None
    if isinstance(record, dict) and all(isinstance(when, str) for when in record.values()):
        return record
    raise HostError(
        f"{path} is damaged, so the accounts that were removed from this host are not known: "
        "restore it from a backup, or remove it (an old copy of the inventory can then bring "
        "removed users back)"
    )


def directories(host: Host, check: bool) -> list[str]:
    """The toolkit's own directories, parents first."""
    paths, root = host.paths, host.root_id
    wanted: list[tuple[Path, int, int]] = [
        (paths.etc, 0o700, root),
        (paths.certificates, 0o700, root),
        (paths.token_server, 0o750, host.token_server_id),
        (paths.registry, 0o750, host.registry_id),
        (paths.secrets, 0o700, root),
        (paths.backup, 0o700, root),
        (paths.mirrors, 0o700, root),
        (paths.var, 0o711, root),
        (paths.generations, 0o700, root),
        (paths.images, 0o700, root),
        *((paths.generations / kind, 0o700, root) for kind in KINDS),
    ]
    actions = []
    for path, mode, group in wanted:
        actions += directory(path, mode, root, group, check=check)
    return actions


def storage_directories(host: Host, storage: Mapping[str, Any], check: bool) -> list[str]:
    """Makes the registry's data directories. Their content is never changed."""
    path, group = Path(storage["path"]), int(storage["group"])
    if storage.get("mount") and not (check and not exists(path)) and not is_mount_point(path, host):
        raise HostError(
            f"storage_path: {path} is not a mount point, but storage_mount says that a file system "
            "is mounted there: see that its disk is there and mount it before anything is written "
            "to the wrong one"
        )
    actions = directory(path, 0o750, host.registry_id, group, check=check)
    data = path / "docker"
    if exists(data):
        owner = data.stat().st_uid
        if owner != host.registry_id:
            raise HostError(
                f"storage_path: {data} belongs to user id {owner}, the registry runs as "
                f"{host.registry_id}: run `chown -R {host.registry_id}:{host.registry_id} {data}` "
                "once, while nothing else uses it"
            )
        return actions
    missing = missing_data(host, path)
    if missing:
        raise HostError(f"storage_path: {missing}")
    return actions + directory(data, 0o755, host.registry_id, host.registry_id, check=check)


def missing_data(host: Host, path: Path) -> str | None:
    """Why the registry would start empty with the storage path `path`, although this host has had
    data; None if the data are there, or never were."""
    data, recorded = path / "docker", host.store.load().storage_path
    if exists(data) or recorded is None:
        return None
    owner = host.registry_id
    empty = f"to start empty on purpose, run `install -d -o {owner} -g {owner} {data}`"
    if recorded == str(path):
        return (
            f"{data} is not there any more, and the registry would start empty: bring the disk "
            f"with the data back; {empty}"
        )
    if exists(Path(recorded) / "docker"):
        return (
            f"this host's registry has its data in {recorded}, and {path} has none, so the "
            f"registry would start empty: stop its container and copy {recorded}/docker there "
            f"with `cp -a`, or write {recorded} again; {empty}"
        )
    return None


def _secrets(host: Host, check: bool) -> list[str]:
    actions = []
    for path in (host.paths.http_secret, host.paths.verification_password):
        if not (read_text(path) or "").strip():
            actions.append(f"{path}: made")
            if not check:
                write_atomically(path, random.token_urlsafe(32).encode() + b"\n", 0o600)
    path = host.paths.mirror_password
    if not _mirror_hash(host):
        actions.append(f"{path}: made")
        if not check:
            # With its hash on the second line: each computation would give another one.
            password = random.token_urlsafe(32)
            write_atomically(path, f"{password}\n{bcrypt(password)}\n".encode(), 0o600)
    return actions


def _program(host: Host, encoded: str | None, check: bool) -> list[str]:
    """Installs the zipapp, and its link in a directory of the PATH."""
    if encoded is None:
        return []
    data, program, command = base64.b64decode(encoded), host.paths.program, host.paths.command
    linked = command.is_symlink() and command.readlink() == program
    if read_bytes(program) == data and linked:
        return []
    if not check:
        program.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_atomically(program, data, 0o755)
        if not linked:
            command.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            command.unlink(missing_ok=True)
            command.symlink_to(program)
    return [f"{command}: installed"]


def _remember(host: Host, state: State, request: Mapping[str, Any]) -> list[str]:
    actions = []
    password = _password(host.paths.verification_password)
    known = state.verification_hash
    if password and not (known and belongs(password, known)):
        state.verification_hash = bcrypt(password)
        actions.append("the verification account's hash is recorded")
    installed = merged(state.installed, request.get("installed") or {})
    if installed != state.installed:
        state.installed = installed
        actions.append("what the toolkit installed on this host is recorded")
    storage = request.get("storage")
    if storage is not None and state.storage_path != storage["path"]:
        state.storage_path = str(storage["path"])
        actions.append(f"the storage path {storage['path']} is recorded")
    return actions


def _password(path: Path) -> str:
    """The file's first line."""
    return (read_text(path) or "").partition("\n")[0].strip()


def _mirror_hash(host: Host) -> str | None:
    """The hash of the mirrors' account, if its file is whole."""
    password, _, known = (read_text(host.paths.mirror_password) or "").strip().partition("\n")
    return known if known and belongs(password, known) else None


def _digest(password: str) -> str | None:
    """The SHA-256; None if `_secrets` has not made the password: somebody may have chosen it."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{43}", password):
        return None
    return hashlib.sha256(password.encode()).hexdigest()
