"""What retention and the removal of untagged revisions would do with the whole storage.

Read-only. Repositories are read one after the other, and only the references of manifests are kept,
so the memory depends on the largest repository.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Mapping
from typing import Any

from ....oci.manifests import Unreadable
from ....oci.media_types import INDEXES, OCI_INDEX
from . import grace, retention, untagged
from .layout import MISSING, Link, Storage
from .model import Contents, Damage, Removal, Revision, Tag
from .reading import is_given_up, read_manifest
from .sentences import lost_tag, stray_tag, unjudged_manifest, unreadable_link, unreadable_manifest


def plan_retention(
    storage: Storage, settings: Mapping[str, Any], now: float, notes: grace.Notes | None = None
) -> dict[str, Any]:
    """What the rules of `settings["retention"]` keep and remove.

    `settings` is /etc/wharfinger/contents.json; `now` in seconds since 1970; `notes`: the timer's
    notes (grace.py). Returns
    `{"rows": [{"repository", "tag", "digest", "pushed", "keep", "rule", "reason"}],
    "removals": [Removal], "damage": [{"kind", "repository", "digest", "path", "sentence", "tags",
    "repositories"}]}`; all but the removals is JSON. In each repository, the newest row is first.

    Of a repository that no rule names, only the tags are read. Before removals are `apply`ed, they
    must be planned again while nothing can write.
    """
    rules = [retention.Rule.of(rule) for rule in settings.get("retention") or ()]
    keep = settings.get("untagged_keep")
    rows: list[dict[str, Any]] = []
    removals: list[Removal] = []
    damage: list[Damage] = []
    for repository in storage.repositories():
        ruled = retention.rule_for(repository, rules) is not None
        contents, problems, leftovers = read_repository(storage, repository, manifests=ruled)
        if ruled:
            contents = _with_last_need(storage, contents, keep, notes)
        repository_rows, unwanted = retention.plan(contents, rules, keep, now)
        rows.extend(dataclasses.asdict(row) for row in repository_rows)
        removals.extend(unwanted)
        if ruled:
            damage.extend(problems)
            removals.extend(leftovers)
    return {"rows": rows, "removals": removals, "damage": [problem.report() for problem in damage]}


def plan_untagged(
    storage: Storage, settings: Mapping[str, Any], now: float, notes: grace.Notes | None = None
) -> dict[str, Any]:
    """Which revisions nothing needs any more, by `settings["untagged_keep"]` (seconds, or None).

    Returns `{"removals": [Removal], "revisions": how many there are, "damage": [as for
    plan_retention]}`. A repository with damage loses nothing. The remains of interrupted removals
    of tags are always among the removals. The plan must be made while nothing can write: a new
    index or tag may need what nothing needed before.
    """
    removals: list[Removal] = []
    damage: list[Damage] = []
    keep = settings.get("untagged_keep")
    revisions = 0
    for repository in storage.repositories():
        contents, problems, leftovers = read_repository(
            storage, repository, manifests=keep is not None
        )
        contents = _with_last_need(storage, contents, keep, notes)
        revisions += len(contents.revisions)
        removals.extend(leftovers)
        removals.extend(untagged.plan(contents, keep, now))
        damage.extend(problems)
    return {
        "removals": removals,
        "revisions": revisions,
        "damage": [problem.report() for problem in damage],
    }


def _with_last_need(
    storage: Storage, contents: Contents, keep: float | None, notes: grace.Notes | None
) -> Contents:
    """The contents, in which revisions without a tag have `last_needed`."""
    if keep is None or keep <= grace.LEAST:
        return contents
    note = (notes or {}).get(contents.repository)
    dated = grace.with_last_need(
        storage, contents.repository, contents.tags, contents.revisions, note
    )
    return dataclasses.replace(contents, revisions=dated)


def read_repository(
    storage: Storage, repository: str, *, manifests: bool = True
) -> tuple[Contents, list[Damage], list[Removal]]:
    """A repository, its damage, and the remains of removed tags.

    Without `manifests`, no manifest is read, so nothing is known about what they need.
    """
    damage: list[Damage] = []
    leftovers: list[Removal] = []
    # Tags first: while clients push, a tag's manifest exists before the tag does.
    tags: dict[str, Tag] = {}
    for link in storage.tags(repository):
        if link.problem == MISSING:
            leftovers.append(Removal(repository, "", link.name))
        elif link.problem:
            damage.append(stray_tag(storage, repository, link))
        else:
            tags[link.name] = Tag(link.target, link.pushed)
    revisions: dict[str, Revision] = {}
    links = list(storage.revisions(repository))
    names = {link.name for link in links}
    for link in links:
        revisions[link.name] = _revision(storage, repository, link, names, damage, manifests)
    damage.extend(
        lost_tag(storage, repository, name, tag.digest)
        for name, tag in sorted(tags.items())
        if tag.digest not in revisions and _lost(storage, repository, name, tag.digest)
    )
    return Contents(repository, tags, revisions, damaged=bool(damage)), damage, leftovers


def _lost(storage: Storage, repository: str, name: str, digest: str) -> bool:
    """Whether a tag still names a manifest that does not exist: clients may delete meanwhile."""
    link = storage.tag(repository, name)
    unchanged = link is not None and link.target == digest
    return unchanged and storage.revision(repository, digest) is None


def _revision(
    storage: Storage,
    repository: str,
    link: Link,
    names: Container[str],
    damage: list[Damage],
    manifests: bool,
) -> Revision:
    """One manifest. Adds what is wrong with it to `damage`. `names`: all manifests of the
    repository."""
    if link.target != link.name:
        damage.append(unreadable_link(storage, repository, link))
        return Revision(link.pushed, readable=False)
    if not manifests:
        return Revision(link.pushed)
    manifest = read_manifest(storage, link.name)
    if isinstance(manifest, Unreadable):
        if manifest.damaged and is_given_up(storage, repository, link.name):
            return Revision(link.pushed)
        describe = unreadable_manifest if manifest.damaged else unjudged_manifest
        damage.append(describe(storage, repository, link.name, manifest.why))
        return Revision(link.pushed, readable=False)
    # An image may name a manifest, too, as one of its layers.
    members = tuple(
        reference.digest
        for reference in manifest.references
        if manifest.media_type in INDEXES or reference.digest in names
    )
    return Revision(
        link.pushed, members, manifest.subject, oci_index=manifest.media_type == OCI_INDEX
    )
