"""The images role's decisions: what to make on the controller, what to pull on the host."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wharfinger.oci.digests import SHA256
from wharfinger.oci.names import HOST, REPOSITORY, TAG

REGISTRY = "registry"
TOKEN_SERVER = "token_server"

#: What docker can pull: [HOST[:PORT]/]NAME[:TAG][@DIGEST].
REFERENCE = re.compile(
    rf"(?:{HOST.pattern}/)?{REPOSITORY.pattern}(?::{TAG.pattern})?(?:@{SHA256.pattern})?"
)


@dataclass(frozen=True)
class Plan:
    """`source` as chosen; `make`: kinds to build or unpack; `pull`: requests for the host;
    `replaced`: sentences about images that the host has pulled and that are not the pinned ones."""

    source: str
    make: list[str] = field(default_factory=list)
    pull: list[dict[str, Any]] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)


def plan(
    *,
    source: str,
    reachable: bool,
    auth: str,
    server: str,
    references: Mapping[str, str],
    wanted: Mapping[str, Mapping[str, Any]],
    recorded: Mapping[str, Mapping[str, Any]],
    refresh: bool = False,
    pinned: Mapping[str, str] | None = None,
) -> Plan:
    """What must be done so that the host has the images that the inventory asks for.

    source: images_source. `auto` keeps what the host has recorded; on a host without a record it
    pulls where an image registry can be reached (`reachable`), and builds otherwise.
    auth, server: registry_auth and docker_auth_server.
    references: for `registry`, `token_server` and `docker_auth` the image to pull, or "".
    wanted: kind → {"inputs": …} of the builder (`build`), and {"ids": […]} too of a bundle: its
    images may have been made again from the same inputs with newer Debian packages.
    recorded: kind → the host's record {"source", "reference", "id", "inputs", "digest", "present"}.
    refresh: images_refresh, builds the token server's image again although its inputs are the same.
    pinned: reference → the digest that it must have, or "" (images/pinned.yml, images_pinned).
    """
    chosen = source if source != "auto" else _automatic(reachable, recorded)
    made: list[str] = []
    pulled: list[dict[str, Any]] = []
    replaced: list[str] = []
    for kind in [REGISTRY, *([TOKEN_SERVER] if auth == "token" else [])]:
        reference = _pulled_from(kind, chosen, server, references)
        record = recorded.get(kind, {})
        if reference is None:
            # Only the token server's image has Debian packages.
            stale = refresh and kind == TOKEN_SERVER
            if stale or not _made_of(record, wanted.get(kind, {})):
                made.append(kind)
            continue
        digest = (pinned or {}).get(reference) or None
        known = _is(record, "reference", reference)
        if not known or digest not in (None, record.get("digest")):
            pulled.append({"kind": kind, "reference": reference, "digest": digest})
        if known and digest not in (None, record.get("digest")):
            replaced.append(
                f"{kind}: this host has pulled {record.get('digest')} as {reference}, but "
                f"{digest} is pinned for it (images/pinned.yml or images_pinned): the pinned image "
                "replaces it as a new generation, and playbooks/rollback.yml goes back. The same "
                "tag may have been published again; if not, find out who published the other image"
            )
    return Plan(chosen, made, pulled, replaced)


def _automatic(reachable: bool, recorded: Mapping[str, Mapping[str, Any]]) -> str:
    """The recorded source; without a record `pull` if a registry can be reached, else `build`."""
    choice = recorded.get(REGISTRY, {}).get("source")
    return str(choice) if choice else ("pull" if reachable else "build")


def _pulled_from(kind: str, chosen: str, server: str, references: Mapping[str, str]) -> str | None:
    """The reference to pull this kind from; None if it is made on the controller.

    The toolkit's own token server is in no public image registry: `pull` builds it, unless
    images_token_server names a team's own copy. docker_auth is in no package registry: it is
    pulled, whatever the source, unless it comes in a bundle.
    """
    if kind == TOKEN_SERVER and server == "cesanta":
        return references["docker_auth"]
    if chosen != "pull":
        return None
    return references[kind] or None


def _made_of(record: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether the host has this image: one of the ids, or without ids, made of the same inputs."""
    if not _is(record, "inputs", wanted.get("inputs")):
        return False
    return "ids" not in wanted or record.get("id") in wanted["ids"]


def _is(record: Mapping[str, Any], key: str, value: object) -> bool:
    """Whether the host has the image, and its record has this value."""
    return bool(record.get("present")) and value is not None and record.get(key) == value


def registry_host(reference: str) -> str:
    """The host that serves an image reference; for Docker Hub it is not the reference's own."""
    host, slash, _ = reference.partition("/")
    if not slash or host == "docker.io" or not ("." in host or ":" in host or host == "localhost"):
        return "registry-1.docker.io"
    return host
