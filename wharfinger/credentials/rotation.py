"""The rotation of robots' secrets on all hosts of an inventory, even if some are out of reach."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from wharfinger.wording import listed

from .errors import CredentialsError
from .folder import Credentials
from .hashes import identities


class Rotation(NamedTuple):
    """What this run does with robots' secrets; instants as `YYYY-MM-DDTHH:MM:SSZ`."""

    now: str
    names: frozenset[str] = frozenset()
    until: str = ""
    ended: frozenset[str] = frozenset()

    @classmethod
    def of(cls, answer: Mapping[str, Any], now: datetime) -> Rotation:
        """From the answer of `rotate`; an empty answer: nothing is rotated."""
        return cls(
            instant(now),
            frozenset(map(str, answer.get("names", ()))),
            str(answer.get("until", "")),
            frozenset(map(str, answer.get("ended", ()))),
        )


def instant(moment: datetime) -> str:
    """The moment as the token server reads it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def rotate(
    credentials: Credentials,
    names: list[str],
    hosts: list[dict[str, dict[str, Any]]],
    left_out: Mapping[str, Collection[str]],
    now: datetime,
    *,
    overlap: int,
    overlap_ends: bool = False,
) -> tuple[dict[str, Any], list[str]]:
    """Makes new secrets for the robots `names`, unless an interrupted run has made them.

    hosts: the records of all hosts (preflight's `robots`). left_out: the hosts that the run leaves
    out → their robots. overlap: in seconds. With overlap_ends no secret is made.
    Returns what the calls on each host need, and warnings: `names` (empty if there is nothing left
    to begin, so that a dry run announces no new secrets), `until` ("" for no overlap), `ended`; and
    `lasting`, the robots for which nothing is done, with `why`. Raises CredentialsError.
    """
    missed = {
        name: sorted(host for host, robots in left_out.items() if name in robots) for name in names
    }
    missed = {name: without for name, without in missed.items() if without}
    answer = {"changed": False, "names": [], "ended": [], "until": "", "lasting": {}, "why": ""}
    if overlap_ends:
        ended = {"ended": names, "names": ending(names, hosts, credentials, missed)}
        return answer | ended, []
    until = instant(now + timedelta(seconds=overlap)) if overlap else ""
    begun, lasting = plan(names, hosts, credentials, overlap, instant(now), missed)
    if lasting and len(lasting) < len(names):
        raise CredentialsError(f"robot: {overlap_lasts(lasting)}. Nothing was changed.")
    for name in begun:
        credentials.rotate(name, [host[name]["generated"] for host in hosts if name in host])
    if lasting:
        why = f"robot: {overlap_lasts(lasting)}."
        return answer | {"changed": bool(begun), "until": until, "lasting": lasting, "why": why}, []
    warnings = [left_out_warning(name, without, until) for name, without in missed.items()]
    return answer | {"changed": bool(begun), "names": names, "until": until}, warnings


def plan(
    names: list[str],
    hosts: list[dict[str, dict[str, Any]]],
    credentials: Credentials,
    overlap: int,
    now: str,
    missed: Collection[str] = (),
) -> tuple[list[str], dict[str, str]]:
    """The robots that need a new secret, and those whose overlap lasts on every host → its end.

    A robot in neither group has a new secret here that hosts of this run lack: the run that made it
    was interrupted or limited, and this run continues it. Fails if the overlap was begun by another
    controller. missed: the robots that are on hosts which the run leaves out. Without an overlap
    each robot gets a new secret, even while another overlap lasts. The exception is a robot whose
    present secret only the hosts left out have: with one more secret, none would work everywhere.
    """
    begun: list[str] = []
    lasting: dict[str, str] = {}
    for name in names:
        had = {host[name]["generated"] for host in hosts if name in host}
        if name in missed and had and had <= {*credentials.former(name)}:
            continue
        ends = [(host.get(name) or {}).get("until") or "" for host in hosts]
        last = [until for until in ends if until > now]
        if not overlap or not last:
            begun.append(name)
            continue
        present = credentials.read(name)
        current = present is not None and all(
            host[name]["generated"] in identities(name, present)
            for host, until in zip(hosts, ends, strict=True)
            if until > now
        )
        if not current:
            raise another_copy_error(name, max(last))
        # A host that does not know the robot yet gets its present secret.
        if len(last) == sum(name in host for host in hosts):
            lasting[name] = max(last)
    return begun, lasting


def ending(
    names: list[str],
    hosts: list[dict[str, dict[str, Any]]],
    credentials: Credentials,
    missed: Mapping[str, list[str]],
) -> list[str]:
    """The robots whose present secret some hosts still lack when their overlaps end.

    These hosts get it: otherwise no secret would work everywhere, and the former secret would stay
    valid there.
    """
    lacking = []
    for name in names:
        if name in missed:
            raise CredentialsError(
                f"overlap_ends: {name} is also on {listed(missed[name])}, which this run leaves "
                "out: while one host takes the former secret alone and another the present one "
                "alone, no secret works on both. Run it without --limit; or, where the former "
                "secret has leaked and not every host can be reached, write -e overlap=0 instead. "
                "Nothing was changed."
            )
        records = [host[name] for host in hosts if name in host]
        lagging = {record["generated"] for record in records} & (
            {record.get("former") for record in records} | {*credentials.former(name)}
        )
        if not lagging:
            continue
        present = credentials.read(name)
        newest = {record["generated"] for record in records} - lagging
        if present is None or not newest or not newest <= identities(name, present):
            raise another_copy_error(name, max(record["until"] or "" for record in records))
        lacking.append(name)
    return lacking


def another_copy_error(name: str, until: str) -> CredentialsError:
    """The error about a robot whose present secret lies on another controller."""
    return CredentialsError(
        f"robot: {name} has been given a new secret from another copy of this inventory, "
        f"whose credentials/{name} this one lacks; the former secret is valid until "
        f"{until}. Take the file from there, or write -e overlap=0, which refuses "
        "both at once. Nothing was changed."
    )


def left_out_warning(name: str, hosts: list[str], until: str) -> str:
    """The warning about a robot's hosts that a rotation has left out."""
    when = f" before {until}, when the former one is refused here" if until else ""
    return (
        f"robot: {name} is also on {listed(hosts)}, which this run leaves out and where the new "
        f"secret does not work yet: run playbooks/rotate_robots.yml -e robot={name} "
        f"--limit {','.join(hosts)} from here{when}"
    )


def overlap_lasts(lasting: dict[str, str]) -> str:
    """The sentence about robots whose overlap lasts, and what to do."""
    names = ", ".join(f"{name} (until {until})" for name, until in sorted(lasting.items()))
    return (
        f"the secret before the present one is still valid for {names}, and a robot has no more "
        "than two: wait until then, or write -e overlap_ends=now to refuse the former one at once, "
        "or -e overlap=0 for a new secret that refuses both"
    )
