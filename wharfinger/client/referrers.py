"""The lists of referrers that clients keep if a registry has no referrers API.

Signatures, attestations and other manifests with a `subject` are listed in an index, whose tag is
the subject's digest (OCI distribution specification 1.1, "Referrers Tag Schema"). A client that
deletes such a manifest has to take it out of that list first: a registry refuses every later
version of a list that names a missing manifest, so nothing could be attached to the subject any
more.

The API has no conditional PUT. A list is read again right before it is written, and once more
afterwards. An entry that another client adds during that one request may still be lost.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from wharfinger.oci import manifests
from wharfinger.oci.digests import is_list_tag
from wharfinger.oci.media_types import OCI_INDEX

from .api import Fetched, Registry
from .concurrency import each
from .errors import ClientError, Damaged, NotFound, Unsupported

_MOST_TRIES = 10


def is_list(tag: str, digest: str, media_type: str) -> bool:
    """Whether this tag leads to a list of referrers."""
    return media_type == OCI_INDEX and is_list_tag(tag, digest)


@dataclass(frozen=True)
class Taken:
    """The digests that were taken out of a list. `emptied`: it was then empty, so its tag was
    removed."""

    digests: tuple[str, ...] = ()
    emptied: bool = False


async def take_out(
    api: Registry,
    repository: str,
    tag: str,
    going: Collection[str] = (),
    *,
    dry_run: bool = False,
) -> Taken:
    """Takes the digests in `going`, and those that the repository no longer has, out of the list
    that a tag leads to. Does nothing if it does not lead to a list. Raises ClientError."""
    taken: dict[str, None] = {}
    present: set[str] = set()
    emptied = False
    for _ in range(_MOST_TRIES):
        listed = await _read(api, repository, tag)
        if listed is None:
            return Taken(tuple(taken), emptied)
        named = {child.digest for child in listed.manifest.children}
        unknown = sorted(named - present - set(going))
        heads = await each(unknown, partial(api.head_or_none, repository))
        present |= {digest for digest, head in zip(unknown, heads, strict=True) if head is not None}
        unwanted = [digest for digest in dict.fromkeys(_digests(listed)) if digest not in present]
        if not unwanted:
            return Taken(tuple(taken), emptied)
        rest = _without(f"{repository}:{tag}", listed, unwanted)
        empty = not rest.manifest.members
        if dry_run:
            return Taken(tuple(unwanted), empty)
        now = await api.head_or_none(repository, tag)
        if now is None or now.digest != listed.digest:
            continue
        if empty:
            await _remove(api, repository, tag, listed.digest)
        else:
            await api.put_manifest(repository, tag, rest)
        taken.update(dict.fromkeys(unwanted))
        emptied = empty
    raise ClientError(
        f"{api.name}/{repository}:{tag} is written again and again by somebody else: try again "
        "when nobody attaches anything"
    )


async def _read(api: Registry, repository: str, tag: str) -> Fetched | None:
    try:
        fetched = await api.manifest(repository, tag)
    except NotFound:
        return None
    return fetched if is_list(tag, fetched.digest, fetched.media_type) else None


def _digests(listed: Fetched) -> list[str]:
    return [child.digest for child in listed.manifest.children]


def _without(name: str, listed: Fetched, unwanted: Collection[str]) -> Fetched:
    """The list without these; everything else in it stays as it is. Raises Damaged if that cannot
    be ensured, because of how the list is written."""
    document = listed.document
    entries = document.get("manifests")
    stays = [
        entry
        for entry in (entries if isinstance(entries, list) else [])
        if not (isinstance(entry, dict) and entry.get("digest") in unwanted)
    ]
    text = json.dumps({**document, "manifests": stays}, separators=(",", ":"), ensure_ascii=False)
    data = text.encode("utf-8", "replace")
    read = manifests.parse(data)
    wanted = [digest for digest in _digests(listed) if digest not in unwanted]
    if (
        isinstance(read, manifests.Unreadable)
        or [child.digest for child in read.children] != wanted
    ):
        raise Damaged(
            f"the list of referrers {name} is written in a way that no tool writes (fields twice, "
            "or with unusual names), so it was not changed: remove that tag, and attach again what "
            "it named"
        )
    return Fetched(listed.digest, listed.media_type, data, read)


async def _remove(api: Registry, repository: str, tag: str, digest: str) -> None:
    try:
        await api.delete(repository, tag)
    except Unsupported:
        # In distribution 2, a tag can only be removed with its manifest.
        await api.delete(repository, digest)
    except NotFound:
        return
