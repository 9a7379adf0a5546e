"""What a deployment needs to know of all users and robots: hashes, digests, records, notes."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from wharfinger.deployment.fixed import MIRROR_ACCOUNT, VERIFICATION_ACCOUNT

from .errors import CredentialsError
from .folder import Credentials
from .hashes import identities, is_of
from .records import robot_record, user_record
from .removed import remembered, with_secret_here
from .rotation import Rotation, instant

Record = dict[str, Any]


def check_regenerate(name: str, users: Mapping[str, Any]) -> None:
    """Raises CredentialsError unless the user's password is a generated one."""
    if name and (name not in users or users[name]):
        generated = ", ".join(sorted(user for user, entry in users.items() if not entry)) or "none"
        raise CredentialsError(
            f"regenerate={name}: only a generated password can be regenerated, and registry_users "
            f"has no user {name} without password and password_hash. Write -e regenerate=NAME "
            f"with one of: {generated}."
        )


def accounts(
    credentials: Credentials,
    users: Mapping[str, Mapping[str, str] | None],
    robots: Iterable[str],
    prepared: Mapping[str, Any],
    rotated: Mapping[str, Any],
    regenerate: str = "",
    elsewhere: Collection[str] = (),
) -> dict[str, Any]:
    """What the host must know about its users and robots, and what the operator must know.

    users and robots: the inventory's. prepared: what the host's `prepare` answered. rotated: what
    `rotation.rotate` answered, or empty. regenerate: the user whose new password lies in
    credentials/ already. elsewhere: accounts of the inventory's other registries.
    Returns `hashes` (name → bcrypt hash), `digests` (name → SHA-256 of a generated secret),
    `previous` (robot → its previous secret, while that is valid), `record` and `removed_accounts`
    (texts of the host's files), and names for the operator: `chosen`, `readmitted`, `generated`,
    `kept`, `stale`, `removed`; after a restore, of what the host has from the backup,
    `from_backup` (this controller lacks the file) and `newer` (the file here is another one, and
    wins). Raises CredentialsError.
    """
    now = datetime.now(UTC)
    rotation = Rotation.of(rotated, now)
    # Plain containers instead of Ansible's lazy ones.
    plain = {str(name): dict(user or {}) for name, user in users.items()}
    robots = [str(name) for name in robots]
    known: Mapping[str, Record] = prepared.get("users", {})
    removed_before: Mapping[str, str] = prepared.get("removed", {})
    restored = bool(prepared.get("restored"))
    generated = [name for name, user in plain.items() if not user]
    newer = _newer_here(known, {*generated, *robots}, credentials) if restored else []
    current = {name: record for name, record in known.items() if name not in newer}
    records = _user_records(plain, current, credentials, regenerate)
    for name in robots:
        records[name] = robot_record(name, current.get(name), credentials, rotation)
    removed = remembered(removed_before, known, records, instant(now))
    return {
        "changed": credentials.changed or prepared.get("changed", False),
        "hashes": _hashes(records, prepared),
        "digests": _digests(records, prepared),
        "previous": _previous(records),
        "chosen": sorted(name for name in robots if records[name].get("random") is False),
        "record": json.dumps(records, indent=1, sort_keys=True) + "\n",
        "removed_accounts": json.dumps(removed, indent=1) + "\n",
        "readmitted": sorted(
            name
            for name in {*removed_before} & {*records} - {*known}
            if not plain.get(name) and name != regenerate and name not in credentials.written
        ),
        "generated": sorted(credentials.written),
        "kept": [] if restored else sorted(credentials.kept),
        "from_backup": sorted(credentials.kept) if restored else [],
        "newer": newer,
        "stale": sorted(credentials.stale),
        "removed": with_secret_here(known, {*records, *elsewhere}, credentials),
    }


def _newer_here(
    known: Mapping[str, Record], names: Collection[str], credentials: Credentials
) -> list[str]:
    """The accounts whose password here is not the one that a backup has."""
    return sorted(
        name
        for name, record in known.items()
        if name in names
        and (present := credentials.read(name)) is not None
        and not is_of(record, present)
        and record.get("generated") not in identities(name, present)
    )


def _user_records(
    users: Mapping[str, Mapping[str, str]],
    known: Mapping[str, Record],
    credentials: Credentials,
    regenerate: str,
) -> dict[str, Record]:
    def record(name: str) -> Record:
        return user_record(name, users[name], known.get(name), credentials, name == regenerate)

    with ThreadPoolExecutor() as pool:  # bcrypt releases the interpreter's lock
        return dict(zip(users, pool.map(record, users), strict=True))


def _hashes(records: Mapping[str, Record], prepared: Mapping[str, Any]) -> dict[str, str]:
    hashes = {name: record["hash"] for name, record in records.items()}
    if prepared.get("verification_hash"):
        hashes[VERIFICATION_ACCOUNT] = prepared["verification_hash"]
    if prepared.get("mirror_hash"):
        hashes[MIRROR_ACCOUNT] = prepared["mirror_hash"]
    return hashes


def _digests(records: Mapping[str, Record], prepared: Mapping[str, Any]) -> dict[str, str]:
    digests = {
        name: record["generated"]
        for name, record in records.items()
        # An earlier version's record of a robot does not say whether its secret is random.
        if record.get("random", record.get("robot"))
    }
    if prepared.get("verification_digest"):
        digests[VERIFICATION_ACCOUNT] = prepared["verification_digest"]
    if prepared.get("mirror_digest"):
        digests[MIRROR_ACCOUNT] = prepared["mirror_digest"]
    return digests


def _previous(records: Mapping[str, Record]) -> dict[str, dict[str, str]]:
    return {
        # The token server has no use for the digest of a chosen secret: it is a bcrypt hash.
        name: {
            key: value
            for key, value in record["previous"].items()
            if key != "digest" or not value.startswith("$")
        }
        for name, record in records.items()
        if "previous" in record
    }
