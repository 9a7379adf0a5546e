"""Each kind of damage in a repository, with what to do about it."""

from __future__ import annotations

from pathlib import Path

from .model import Damage
from .storage import EMPTY, MALFORMED, MISSING, Link, Storage

_WHAT = {
    EMPTY: "is empty, as a power loss can leave it",
    MALFORMED: "holds no digest",
}


_CANNOT = "cannot be read"
_ENDS = "a garbage collection ends there"


def stray_tag(storage: Storage, repository: str, link: Link) -> Damage:
    """A tag whose link says nothing."""
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
    """A tag that names a manifest which is not there."""
    path = str(storage.link_path(repository, tag=tag))
    name = f"{repository}:{tag}"
    sentence = (
        f"The tag {name} names {digest}, which is not in {repository}: push the tag again, or"
        " delete it"
    )
    return Damage("lost tag", repository, digest, path, sentence, (name,), (repository,))


def unreadable_link(storage: Storage, repository: str, link: Link) -> Damage:
    """A manifest's link that does not name the manifest."""
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
    return f", and {_ENDS}" if link.problem else ""


def unreadable_layer_link(storage: Storage, repository: str, link: Link) -> Damage:
    """A layer's link that holds no digest."""
    path = storage.layer_path(repository, link.name)
    sentence = (
        f"The link of the blob {link.name} in {repository} {_WHAT.get(link.problem, _CANNOT)}: it"
        f" cannot be pulled or pushed there, and {_ENDS}. Write the digest into the link:"
        f" printf %s {link.name} > {path}"
    )
    kind = f"{link.problem} layer link"
    return Damage(kind, repository, link.name, str(path), sentence, (), (repository,))


def uncollected_manifest(storage: Storage, repository: str, digest: str, media_type: str) -> Damage:
    """A manifest of a kind that this registry does not know."""
    path = storage.link_path(repository, digest=digest)
    sentence = (
        f"The manifest {repository}@{digest} is of a kind that this registry cannot read"
        f" ({media_type}): it cannot be pulled, and {_ENDS}. Delete it by its digest, or keep it"
        " elsewhere first with the registry that it was pushed to"
    )
    return Damage(
        "uncollected manifest", repository, digest, str(path), sentence, (), (repository,)
    )


def stray_name(path: Path) -> Damage:
    """Something among the repositories that is none."""
    sentence = (
        f"{path} lies among the repositories, but no repository can have this name (or it is a"
        f" symbolic link): {_ENDS}. Move it away"
    )
    return Damage("stray folder", None, None, str(path), sentence)


def unreadable_manifest(storage: Storage, repository: str, digest: str, why: str) -> Damage:
    """A manifest of which nothing is known."""
    sentence = (
        f"The manifest {repository}@{digest} is unreadable: {why}. What it needs cannot be known,"
        f" so nothing untagged is removed from {repository}. Restore {storage.blob_path(digest)}"
        " from a backup; or remove that file, where it is there, and push the image again"
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
