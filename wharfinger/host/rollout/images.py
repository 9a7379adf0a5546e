"""`images`: the images are on the host, are the right ones, and are remembered. Those that nothing
goes back to any more are taken away once what replaced them serves."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...oci.digests import SHA256
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import exists
from ..system.state import RETIRED, State, merged

# What images/build.py puts on its images: they have a health check of their own.
LABEL = "io.wharfinger.inputs"
# What it puts on a registry that knows the middleware of images/registry/members.go.
INDEX_MEMBERS = "io.wharfinger.index-members"
# What leads docker's command to another engine, or to another image of that name.
_OTHER_ENGINES = (
    *("DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"),
    *("DOCKER_API_VERSION", "DOCKER_CONTENT_TRUST", "DOCKER_DEFAULT_PLATFORM"),
)
# Seconds for pulling one image over a slow line.
_PATIENCE = 1800


def images(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Request: {"load": [{kind, path, reference, ids, source, inputs}], "pull": [{kind, reference,
    digest}]}. `ids`: the ids that the image may have (classic and containerd image store differ).

    The digest of the first pull is recorded; from then on that reference must have it. An archive
    below /var/lib/wharfinger/images is removed once it is loaded. Returns the record: kind →
    {source, reference, id, inputs, digest, made_by_toolkit, index_members}.
    """
    state = host.store.load()
    actions: list[str] = []
    for one in request.get("load") or ():
        actions += _record(host, state, check, one["kind"], *_load(host, one, check))
    for one in request.get("pull") or ():
        actions += _record(host, state, check, one["kind"], *_pull(host, state, one, check))
    return {"actions": actions, "images": state.images}


def _record(
    host: Host,
    state: State,
    check: bool,
    kind: str,
    image: dict[str, Any] | None,
    actions: list[str],
) -> list[str]:
    if image is None or state.images.get(kind) == image:
        return actions
    if not check:
        before = state.images.get(kind) or {}
        if (
            before.get("reference") == image["reference"]
            and before["id"] != image["id"]
            and before["reference"] in (state.installed.get("images") or ())
        ):
            # The new one has taken its name away.
            state.installed = merged(state.installed, {"images": [before["id"]]})
        state.images[kind] = image
        # Also those that came before, for `remove`. Where docker had it already, it is not ours.
        if actions:
            came = {"images": [image["reference"]]}
            state.installed = merged(state.installed, came)
        host.store.save(state)
    return [*actions, f"{kind}: the image {image['reference']} is recorded"]


def _load(
    host: Host, one: Mapping[str, Any], check: bool
) -> tuple[dict[str, Any] | None, list[str]]:
    reference, path = str(one["reference"]), Path(one["path"])
    found = present(host, one["ids"])
    actions = []
    if found is None:
        actions.append(f"{one['kind']}: the image {reference} is loaded from {path}")
        if check:
            return None, actions
        if not exists(path):
            raise HostError(f"the image archive {path} is not on this host: run the playbook again")
        said = host.engine.load(path)
        found = present(host, one["ids"])
        if found is None:
            raise HostError(
                f"the image archive {path} does not hold {reference} (docker said: {said}; none of "
                f"the ids {', '.join(one['ids'])} is there): make the image again"
            )
    elif reference not in (found.get("RepoTags") or ()):
        actions.append(f"{one['kind']}: the image is named {reference}")
    if reference not in (found.get("RepoTags") or ()) and not check:
        host.engine.tag(found["Id"], reference)
    if path.is_relative_to(host.paths.images) and not check:
        path.unlink(missing_ok=True)
    record = {
        "source": one["source"],
        "reference": reference,
        "id": found["Id"],
        "inputs": one.get("inputs"),
        "digest": None,
        "made_by_toolkit": True,
        "index_members": INDEX_MEMBERS in _labels(found),
    }
    return record, actions


def _labels(image: Mapping[str, Any]) -> Mapping[str, str]:
    """The labels in docker's description of an image."""
    return (image.get("Config") or {}).get("Labels") or {}


def present(host: Host, ids: list[str]) -> dict[str, Any] | None:
    """Docker's description of the first of `ids` that it has."""
    for identity in ids:
        found = host.engine.image(identity)
        if found is not None:
            return found
    return None


def _pull(
    host: Host, state: State, one: Mapping[str, Any], check: bool
) -> tuple[dict[str, Any] | None, list[str]]:
    reference = str(one["reference"])
    known = state.images.get(one["kind"]) or {}
    same = known.get("source") == "pull" and known.get("reference") == reference
    digest = one.get("digest") or (known.get("digest") if same else None)
    if same and known.get("digest") == digest and host.engine.image(known["id"]):
        return known, []
    if check:
        return None, [f"{one['kind']}: the image {reference} is pulled"]
    wanted = f"{repository(reference)}@{digest}" if digest else reference
    said = host.runner.run(
        ["docker", "pull", wanted],
        timeout=_PATIENCE,
        # ./deploy on the host itself passes its caller's on. Where the password lies
        # (DOCKER_CONFIG) is his to say.
        environment={
            **dict.fromkeys(_OTHER_ENGINES, ""),
            "DOCKER_HOST": f"unix://{host.paths.docker_socket}",
        },
    )
    if not said.ok:
        hint = ""
        if one.get("digest"):
            hint = f"; {digest} is pinned for {reference} (images/pinned.yml or images_pinned)"
        elif digest:
            hint = f"; {digest} was recorded on this host at the first pull of {reference}"
        raise HostError(
            f"the image {wanted} cannot be pulled (docker said: {said.words}){hint}: look at the "
            "reference and the host's network, or write images_source: build"
        )
    got = pulled_digest(said.output) or digest
    found = host.engine.image(wanted)
    if found is None or got is None:
        raise HostError(f"docker pulled {wanted} but does not have it: look at docker's log")
    if digest:
        host.engine.tag(found["Id"], reference)
    record = {
        "source": "pull",
        "reference": reference,
        "id": found["Id"],
        "inputs": None,
        "digest": got,
        "made_by_toolkit": LABEL in _labels(found),
        "index_members": INDEX_MEMBERS in _labels(found),
    }
    return record, [f"{one['kind']}: the image {reference} was pulled ({got})"]


def take_away_unused(host: Host, state: State, check: bool) -> list[str]:
    """Away with what the toolkit brought and neither serves nor is gone back to. What somebody's
    container uses stays, and so does an image that has another name too, with that name."""
    brought = list(state.installed.get("images") or ())
    found = {name: host.engine.image(name) for name in brought}
    kept = {one["id"] for one in state.images.values()}
    for kind in state.kinds.values():
        kept |= {one.image for one in kind.generations if one.phase != RETIRED}
        kept |= {kind.previous.image} if kind.previous is not None else set()
    unused = [name for name, one in found.items() if one is not None and one["Id"] not in kept]
    if unused:
        used = host.engine.used_images()
        unused = [name for name in unused if (found[name] or {})["Id"] not in used]
    if check:
        return [f"image {name}: removed" for name in unused]
    gone = {name for name, one in found.items() if one is None}
    actions = []
    for name in unused:
        # That one stays is no reason to fail: what replaced it serves.
        with contextlib.suppress(HostError):
            if host.engine.remove_image(name):
                actions.append(f"image {name}: removed")
                gone.add(name)
    if gone:
        state.installed["images"] = [name for name in brought if name not in gone]
        host.store.save(state)
    return actions


def repository(reference: str) -> str:
    """The reference without tag and digest; a port is no tag."""
    name = reference.partition("@")[0]
    head, colon, tail = name.rpartition(":")
    return head if colon and "/" not in tail else name


def pulled_digest(output: str) -> str | None:
    """The digest that `docker pull` reports."""
    found = re.search(rf"^Digest: ({SHA256.pattern})$", output, re.MULTILINE)
    return found.group(1) if found else None
