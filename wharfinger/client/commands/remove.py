"""`wharf rm`: deletes manifests and tags, after showing what is deleted with them.

Anybody who may push can move a tag at any time. Right before a deletion, its target is therefore
compared again with what was shown. The API has no conditional DELETE, so a gap of one request
remains.

A manifest in a list of referrers (referrers.py) is taken out of the list first. That needs the
right to push; without it, nothing is deleted.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence

from .. import references, referrers
from ..api import Registry
from ..errors import ClientError, NotFound, Unsupported, UsageError
from ..options import Connection
from ..output import say
from .remove_view import Target, View, tags_in_words, view, warnings


def remove(arguments: Sequence[str], yes: bool, connection: Connection) -> None:
    """Deletes what the arguments name. Tries all of them, then raises the last error."""
    wanted = list(dict.fromkeys(references.reference(text) for text in arguments))
    for reference in wanted:
        if bool(reference.tag) == bool(reference.digest):
            which = "either its tag or its digest, not both" if reference.tag else "a tag or digest"
            raise UsageError(
                f"'{reference}': say {which}: REPO:TAG or REPO@DIGEST (wharf tags "
                f"{reference.registry}/{reference.repository} --digests lists them)"
            )
    by_registry: dict[str, list[references.Reference]] = {}
    for reference in wanted:
        by_registry.setdefault(reference.registry, []).append(reference)
    if len(by_registry) > 1 and connection.user is not None:
        raise UsageError(
            "--user would be one login for several registries: log in to each with wharf login"
        )
    errors: list[ClientError] = []
    for registry, several in by_registry.items():
        connection.run(registry, functools.partial(_remove, several, yes, errors))
    for error in errors[:-1]:
        say(str(error))
    if errors:
        raise errors[-1]


async def _remove(
    wanted: Sequence[references.Reference], yes: bool, errors: list[ClientError], api: Registry
) -> None:
    views: dict[str, View] = {}
    targets: list[Target] = []
    for reference in wanted:
        try:
            if reference.repository not in views:
                views[reference.repository] = await view(api, reference.repository)
            targets.append(await _target(api, reference, views[reference.repository]))
        except ClientError as error:
            errors.append(error)
    for target in targets:
        for line in warnings(target, views[target.reference.repository], targets):
            print(line, file=sys.stderr)
    if not targets:
        return
    if not yes:
        if not sys.stdin.isatty():
            errors.append(
                UsageError(
                    "there is no terminal to ask whether to delete, so nothing was deleted: say "
                    "--yes"
                )
            )
            return
        print(f"{_question(targets)} [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            errors.append(ClientError("nothing was deleted"))
            return
    for target in targets:
        try:
            await _delete(api, target, views[target.reference.repository], waited=not yes)
            print(f"deleted {target.reference}")
        except ClientError as error:
            errors.append(error)


def _question(targets: Sequence[Target]) -> str:
    if len(targets) == 1:
        reference = targets[0].reference
        what = f"tag {reference.tag}" if reference.tag else f"manifest {reference.digest}"
        return f"Delete the {what} from {reference.registry}/{reference.repository}?"
    tags = sum(target.tag is not None for target in targets)
    manifests = len(targets) - tags
    counted = [
        f"{number} {noun}{'s' if number > 1 else ''}"
        for number, noun in ((tags, "tag"), (manifests, "manifest"))
        if number
    ]
    return f"Delete these {' and '.join(counted)} from {targets[0].reference.registry}?"


async def _target(api: Registry, wanted: references.Reference, seen: View) -> Target:
    if wanted.tag is None:
        # The view has only tagged manifests, so ask whether this digest exists.
        assert wanted.digest
        await api.head(wanted.repository, wanted.digest)
        return Target(wanted, wanted.digest)
    if wanted.tag not in seen.heads:
        raise NotFound(f"{wanted.registry}/{wanted.repository} has no tag {wanted.tag}")
    return Target(wanted, seen.heads[wanted.tag].digest)


async def _delete(api: Registry, target: Target, seen: View, *, waited: bool) -> None:
    repository = target.reference.repository
    if target.tag is None:
        if waited:
            now = await view(api, repository)
            same = set(now.tags_of(target.digest)) <= set(seen.tags_of(target.digest)) and set(
                now.needed_by(target.digest)
            ) <= set(seen.needed_by(target.digest))
            if not same:
                raise ClientError(
                    f"{target.reference} was not deleted: since it was shown, another tag or index "
                    "has begun to need it; look again"
                )
            seen = now
        await _delete_manifest(api, target, seen.listing(target.digest))
        return
    now_at = (await api.head(repository, target.tag)).digest
    if now_at != target.digest:
        raise ClientError(
            f"{target.reference} was not removed: it has moved since it was shown, from "
            f"{target.digest} to {now_at}; look again"
        )
    try:
        await api.delete(repository, target.tag)
    except Unsupported as error:
        others = [tag for tag in seen.tags_of(target.digest) if tag != target.tag]
        along = f", and {tags_in_words(others)} with it" if others else ""
        raise Unsupported(
            f"{error}: {target.reference} was not removed. By its digest the whole manifest can be "
            f"deleted{along}: wharf rm {target.reference.with_digest(target.digest)}"
        ) from error


async def _delete_manifest(api: Registry, target: Target, lists: Sequence[str]) -> None:
    """Takes a manifest out of these lists of referrers, then deletes it. Does neither without the
    right to do both."""
    repository, digest = target.reference.repository, target.digest
    if lists and await api.has_referrers(repository, digest):
        lists = []
    if lists:
        await api.may_delete(repository)
    for tag in lists:
        try:
            await referrers.take_out(api, repository, tag, {digest})
        except ClientError as error:
            raise type(error)(
                f"{target.reference} was not deleted: it has to be taken out of the list of "
                f"referrers {repository}:{tag} first, and {error}"
            ) from error
    await api.delete(repository, digest)
    for tag in lists:
        # A client that attached something meanwhile may have written the manifest into it again.
        try:
            await referrers.take_out(api, repository, tag, {digest})
        except ClientError as error:
            raise type(error)(
                f"{target.reference} is deleted, but the list of referrers {repository}:{tag} may "
                f"name it again: {error}. Afterwards: wharf repair {api.name}/{repository}"
            ) from error
