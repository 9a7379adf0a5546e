"""What the inventory says of base images: every mistake in it, what the host reads, and the lines
of mirror.lock. Pure: no Ansible, no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from wharfinger import contents, values
from wharfinger.deployment import mirror_lock
from wharfinger.deployment.fixed import VERIFICATION_ACCOUNT
from wharfinger.deployment.mirror_lock import Locked
from wharfinger.deployment.problems import Refuse, Report
from wharfinger.oci.names import LONGEST_REPOSITORY, REPOSITORY, TAG
from wharfinger.suggestions import nearest

NAME = "registry_base_images"
# Debian's releases that a host of the supported ones can make → the tag, unless the row has one.
SUITES = {"bookworm": "12", "trixie": "13"}
MIRROR = "http://deb.debian.org/debian"
SECURITY = "http://deb.debian.org/debian-security"
_KEYS = ("to", "tag", "suite", "packages", "mirror", "security_mirror")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_URL = re.compile(r"https?://[A-Za-z0-9.:_\[\]-]+(?:/[A-Za-z0-9._~+-]+)*")
# A dated tag such as 13-20261130.2 must still be a tag.
_LONGEST_TAG = 110


def check_base_images(checked: dict[str, Any], refuse: Refuse) -> None:
    """Reports what is wrong with the variables of role `base_images`."""
    schedule = "base_images_schedule"
    if schedule in checked:
        try:
            contents.schedule(checked[schedule])
        except ValueError as instead:
            refuse(schedule, f"{checked[schedule]!r} is not a schedule: write {instead}")
    names: dict[str, int] = {}
    problems = []
    for number, row in enumerate(checked.get(NAME) or ()):
        problem = _problem(row)
        if problem is None:
            name = f"{row['to']}:{_tag(row)}"
            if name in names:
                problem = (
                    f"makes {name}, as {NAME}[{names[name]}] does: write another `to` or `tag`"
                )
            names[name] = number
        if problem:
            problems.append(f"[{number}] {problem}")
    if problems:
        refuse(NAME, "\n".join(problems))


def check_base_images_given(good: Mapping[str, Any], report: Report) -> None:
    """Reports an inventory without base images, to the playbook that makes them."""
    if good.get(NAME) == []:
        report.error(
            NAME,
            "is empty: write a row, such as {to: base/debian-slim, suite: trixie}; "
            "docs/base-images.md has the keys",
        )


def _problem(row: Mapping[str, Any]) -> str | None:
    """What is wrong with a row, and what to write instead."""
    for key in row:
        if key not in _KEYS:
            meant = nearest(str(key), _KEYS)
            return f"has the key {key}, which is not known: write {meant or ', '.join(_KEYS)}"
    for key, example in (("to", "base/debian-slim"), ("suite", "trixie")):
        if not isinstance(row.get(key), str):
            return f"lacks `{key}`: write one, such as {key}: {example}"
    to, tag = row["to"], row.get("tag", "")
    if not REPOSITORY.fullmatch(to) or len(to) > LONGEST_REPOSITORY:
        return f"`to` is {to!r}, not a repository: write one such as base/debian-slim"
    if to.split("/")[0] == VERIFICATION_ACCOUNT:
        return f"`to` lies in {VERIFICATION_ACCOUNT}, which is the toolkit's: write another"
    if row["suite"] not in SUITES:
        return f"`suite` is {row['suite']!r}: write {' or '.join(SUITES)}"
    if not isinstance(tag, str):
        return f'`tag` is not text: write it in quotes, as "{tag}"'
    if tag and (not TAG.fullmatch(tag) or len(tag) > _LONGEST_TAG):
        return f'`tag` is {tag!r}, not a tag: write one such as "13"'
    packages = row.get("packages", [])
    if not isinstance(packages, list):
        return "`packages` is not a list: write it as [ca-certificates]"
    for package in packages:
        if not isinstance(package, str) or not _PACKAGE.fullmatch(package):
            return f"`packages` has {package!r}: write names of Debian's packages"
    for key, example in (("mirror", MIRROR), ("security_mirror", SECURITY)):
        url = row.get(key, example)
        if not isinstance(url, str) or not _URL.fullmatch(url):
            return f"`{key}` is not the address of an archive: write one such as {example}"
    return None


def repositories(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Where the rows' images go, also of rows that have other mistakes."""
    return sorted({str(row["to"]) for row in rows if row.get("to")})


def _tag(row: Mapping[str, Any]) -> str:
    return str(row.get("tag") or SUITES[row["suite"]])


def settings(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The content of /etc/wharfinger/base_images.json.

    variables: `images`, the rows as the inventory writes them, and `url`, the registry's.
    """
    url = urlsplit(str(variables["url"]))
    return {
        "hostname": url.hostname,
        "port": url.port or 443,
        "images": [
            {
                "to": row["to"],
                "tag": _tag(row),
                "suite": row["suite"],
                "packages": sorted(set(row.get("packages", []))),
                "mirror": row.get("mirror", MIRROR),
                "security": row.get("security_mirror", SECURITY),
            }
            for row in map(values.plain, variables["images"])
        ],
    }


def locked(text: str, images: Iterable[Mapping[str, Any]], day: str) -> str:
    """mirror.lock with the images that a host has made.

    text: the file as it is; "" for none. images: to, tag, dated, digest and source of each. day: of
    new lines, 2026-12-01. A line whose digest is the same stays as it is. A tag that another host
    has made of a newer state keeps that. Raises mirror_lock.LockError.
    """
    lines = {(line.repository, line.tag): line for line in mirror_lock.parse(text)}
    before = dict(lines)
    for image in images:
        for tag in (image["tag"], image["dated"]):
            new = Locked(image["to"], tag, image["digest"], day, image["source"])
            old = lines.get((new.repository, tag))
            if old is None or (old.digest != new.digest and not _is_newer(old, new)):
                lines[new.repository, tag] = new
    return text if lines == before else mirror_lock.written(lines.values())


def _is_newer(old: Locked, new: Locked) -> bool:
    suite, _, moment = new.source.partition("@")
    old_suite, _, old_moment = old.source.partition("@")
    return suite == old_suite and old_moment > moment
