"""Each kind of damage in a repository, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .layout import EMPTY, MALFORMED, MISSING, Link, Storage
from .model import Damage

_WHAT = {
    EMPTY: "is empty, as a power loss can leave it",
    MALFORMED: "holds no digest",
}


STALE_LIST = "stale list"
UNREAD = "unread manifest"
# Kinds that a client can cause by deleting: the disk is fine.
INCOMPLETE = (
    "missing child",
    "missing layer link",
    "missing blob",
    "orphan revision link",
    "wrong size",
)
_CANNOT = "cannot be read"
_FAILS = "a garbage collection fails there"


def stray_tag(storage: Storage, repository: str, link: Link) -> Damage:
    """A tag whose link has no digest."""
    path = str(storage.link_path(repository, tag=link.name))
    name = f"{repository}:{link.name}"
    if link.problem == MISSING:
        kind = "unfinished tag"
        sentence = (
            f"{name} has no current/link, as a push or a removal that was cut off leaves it: it is"
            " listed, but cannot be pulled. Push the tag again, or let"
            " playbooks/garbage_collect.yml clear it away"
        )
    else:
        kind = f"{link.problem} tag link"
        what = _WHAT.get(link.problem, _CANNOT)
        sentence = (
            f"The tag {name} names nothing: its link {what}. While it is there, no manifest of"
            f" {repository} can be deleted by digest. Push the tag again, or delete the tag"
        )
    return Damage(kind, repository, None, path, sentence, (name,), (repository,))


def lost_tag(storage: Storage, repository: str, tag: str, digest: str) -> Damage:
    """A tag that names a missing manifest."""
    path = str(storage.link_path(repository, tag=tag))
    name = f"{repository}:{tag}"
    sentence = (
        f"The tag {name} names {digest}, which is not in {repository}: push the tag again, or"
        " delete it"
    )
    return Damage("lost tag", repository, digest, path, sentence, (name,), (repository,))


def unreadable_link(storage: Storage, repository: str, link: Link) -> Damage:
    """A manifest's link that does not contain its digest."""
    path = storage.link_path(repository, digest=link.name)
    what = _WHAT.get(link.problem, _CANNOT)
    if not link.problem:
        what = f"names {link.target}"
    sentence = (
        f"The link of the manifest {repository}@{link.name} {what}: the manifest cannot be pulled"
        f" by its digest{_stops(link)}. Push the image again, or write the digest into the link:"
        f" printf %s {link.name} > {path}"
    )
    return Damage(
        f"{link.problem or 'wrong'} revision link",
        repository,
        link.name,
        str(path),
        sentence,
        (),
        (repository,),
    )


def _stops(link: Link) -> str:
    return f", and {_FAILS}" if link.problem else ""


def unreadable_layer_link(storage: Storage, repository: str, link: Link) -> Damage:
    """A layer's link without a digest."""
    path = storage.layer_path(repository, link.name)
    sentence = (
        f"The link of the blob {link.name} in {repository} {_WHAT.get(link.problem, _CANNOT)}: it"
        f" cannot be pulled or pushed there, and {_FAILS}. Write the digest into the link:"
        f" printf %s {link.name} > {path}"
    )
    kind = f"{link.problem} layer link"
    return Damage(kind, repository, link.name, str(path), sentence, (), (repository,))


def uncollected_manifest(storage: Storage, repository: str, digest: str, media_type: str) -> Damage:
    """A manifest of a kind that this registry cannot read."""
    sentence = (
        f"The manifest {repository}@{digest} is of a kind that this registry cannot read"
        f" ({media_type}), so it cannot be pulled. A garbage collection keeps it and all blobs of"
        f" {repository}. If nobody needs it, delete it by its digest; otherwise copy it elsewhere"
        " with the registry that it was pushed to"
    )
    return _unread(storage, repository, digest, sentence)


def unjudged_manifest(storage: Storage, repository: str, digest: str, why: str) -> Damage:
    """An undamaged manifest that the registry cannot read."""
    sentence = (
        f"The manifest {repository}@{digest} is undamaged, but the registry cannot read it"
        f" ({why}), so it cannot be pulled. What it refers to is not known: nothing untagged and no"
        f" blob is removed from {repository}. Other repositories are cleaned up as usual. If nobody"
        " needs it, delete it by its digest"
    )
    return _unread(storage, repository, digest, sentence)


def _unread(storage: Storage, repository: str, digest: str, sentence: str) -> Damage:
    path = str(storage.link_path(repository, digest=digest))
    return Damage(UNREAD, repository, digest, path, sentence, (), (repository,))


def stray_name(path: Path) -> Damage:
    """Something among the repositories that is not a repository."""
    sentence = (
        f"{path} lies among the repositories, but no repository can have this name (or it is a"
        f" symbolic link): {_FAILS}. Move it away"
    )
    return Damage("stray folder", None, None, str(path), sentence)


def unreadable_manifest(storage: Storage, repository: str, digest: str, why: str) -> Damage:
    """A manifest that cannot be read."""
    sentence = (
        f"The manifest {repository}@{digest} is unreadable: {why}. What it needs cannot be known,"
        f" so nothing untagged is removed from {repository}. Restore {storage.blob_path(digest)}"
        " from a backup; or remove that file, if it exists, and push the image again"
    )
    return Damage(
        "unreadable manifest",
        repository,
        digest,
        str(storage.blob_path(digest)),
        sentence,
        (),
        (repository,),
    )


def orphan_link(storage: Storage, repository: str, digest: str) -> Damage:
    """A manifest's link whose blob is gone."""
    path = storage.link_path(repository, digest=digest)
    sentence = (
        f"The manifest {repository}@{digest} is not there, only its link: a garbage collection"
        f" would remove its layers. Restore {storage.blob_path(digest)} from a backup or push the"
        f" image again; or give it up and remove {path}"
    )
    return Damage(
        "orphan revision link", repository, digest, str(path), sentence, (), (repository,)
    )


def missing_child(
    storage: Storage, repository: str, digest: str, *, is_mirror: bool = False
) -> Damage:
    """A manifest that an index names and that its repository does not have. `is_mirror`: a mirror
    writes there, and keeps this platform."""
    path = storage.link_path(repository, digest=digest)
    way = (
        "Its mirror keeps that platform: copy it again with playbooks/mirror.yml"
        if is_mirror
        else "Push the image again with all its platforms"
    )
    sentence = (
        f"An index in {repository} names {digest}, which is not in {repository}: the image"
        f" cannot be pulled for that platform. {way}"
    )
    return Damage("missing child", repository, digest, str(path), sentence, (), (repository,))


def stale_list(
    storage: Storage, repository: str, tag: str, digest: str, gone: Sequence[str]
) -> Damage:
    """A list of referrers that names a deleted manifest."""
    path = storage.link_path(repository, tag=tag)
    more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
    sentence = (
        f"The list of referrers {repository}:{tag} names {gone[0]}{more}, which was deleted:"
        f" nothing can be signed with or attached to {tag.replace('-', ':')} any more (400"
        f" MANIFEST_BLOB_UNKNOWN). Mend it: wharf repair HOST/{repository}"
    )
    return Damage(STALE_LIST, repository, digest, str(path), sentence, (), (repository,))


def missing_layer_link(storage: Storage, repository: str, digest: str) -> Damage:
    """A blob that is stored, but not linked in this repository."""
    path = storage.layer_path(repository, digest)
    sentence = (
        f"An image in {repository} needs the blob {digest}, which is stored but not linked there:"
        " the image cannot be pulled. Push it again"
    )
    return Damage("missing layer link", repository, digest, str(path), sentence, (), (repository,))


def wrong_size(storage: Storage, repository: str, digest: str, size: int, claimed: int) -> Damage:
    """A manifest that claims a wrong size for a blob."""
    path = storage.blob_path(digest)
    sentence = (
        f"A manifest in {repository} says that {digest} has {claimed} bytes, but it has {size}, and"
        " its digest is right: the manifest was made wrongly, and clients refuse it. Make the image"
        " again and push it"
    )
    return Damage("wrong size", repository, digest, str(path), sentence, (), (repository,))


def damaged_blob(storage: Storage, digest: str, kind: str, why: str) -> Damage:
    """A blob that images need and that is missing or damaged."""
    path = storage.blob_path(digest)
    if kind == "missing blob":
        way = f"Restore {path} from a backup, or push an image with this blob again"
    else:
        way = (
            f"Restore {path} from a backup; or remove that file (while it is there, the registry"
            " takes it for good and accepts no other) and push an image with this blob again"
        )
    return Damage(kind, None, digest, str(path), f"The blob {digest} is damaged: {why}. {way}")


def harmless_blob(storage: Storage, digest: str, kind: str, why: str) -> Damage:
    """A damaged blob that nothing needs."""
    path = storage.blob_path(digest)
    sentence = (
        f"The blob {digest} is damaged ({why}), but no manifest refers to it; a garbage collection"
        f" removes it ({path})"
    )
    return Damage(kind, None, digest, str(path), sentence)
