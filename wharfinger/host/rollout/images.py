"""`images`: brings the right images to the host and records them. An image that no rollback needs
any more is removed once its replacement serves."""

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

# The label that images/build.py puts on its images, which have a health check of their own.
LABEL = "io.wharfinger.inputs"
# Its label on a registry that has the middleware of images/registry/members.go.
INDEX_MEMBERS = "io.wharfinger.index-members"
# Variables that lead docker's command to another engine, or to another image of that name.
_OTHER_ENGINES = (
    *("DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"),
    *("DOCKER_API_VERSION", "DOCKER_CONTENT_TRUST", "DOCKER_DEFAULT_PLATFORM"),
)
# Seconds for pulling one image over a slow line.
_PATIENCE = 1800


def images(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Request: {"load": [{kind, path, reference, ids, source, inputs}], "pull": [{kind, reference,
    digest}]}. `ids`: the ids that the image may have; the classic and the containerd image store
    give it different ones.

    The digest of the first pull is recorded; from then on that reference must have it. An archive
    below /var/lib/wharfinger/images is removed once it is loaded. Returns the record: kind →
    {source, reference, id, inputs, digest, made_by_toolkit, index_members}.
    """
    state = host.store.load()
    actions: list[str] = []
    for image in request.get("load") or ():
        actions += _record(host, state, check, image["kind"], *_load(host, image, check))
    for image in request.get("pull") or ():
        actions += _record(host, state, check, image["kind"], *_pull(host, state, image, check))
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
        previous = state.images.get(kind) or {}
        if (
            previous.get("reference") == image["reference"]
            and previous["id"] != image["id"]
            and previous["reference"] in (state.installed.get("images") or ())
        ):
            # The new image has its name now, so `remove` can find the old one by its id only.
            state.installed = merged(state.installed, {"images": [previous["id"]]})
        state.images[kind] = image
        # For `remove`. An image that docker already had is not ours.
        if actions:
            added = {"images": [image["reference"]]}
            state.installed = merged(state.installed, added)
        host.store.save(state)
    return [*actions, f"{kind}: the image {image['reference']} is recorded"]


def _load(
    host: Host, wanted: Mapping[str, Any], check: bool
) -> tuple[dict[str, Any] | None, list[str]]:
    reference, path = str(wanted["reference"]), Path(wanted["path"])
    image = first_present(host, wanted["ids"])
    actions = []
    if image is None:
        actions.append(f"{wanted['kind']}: the image {reference} is loaded from {path}")
        if check:
            return None, actions
        if not exists(path):
            raise HostError(f"the image archive {path} is not on this host: run the playbook again")
        output = host.engine.load(path)
        image = first_present(host, wanted["ids"])
        if image is None:
            raise HostError(
                f"the image archive {path} does not hold {reference} (docker said: {output}; none "
                f"of the ids {', '.join(wanted['ids'])} is there): make the image again"
            )
    elif reference not in (image.get("RepoTags") or ()):
        actions.append(f"{wanted['kind']}: the image is named {reference}")
    if reference not in (image.get("RepoTags") or ()) and not check:
        host.engine.tag(image["Id"], reference)
    if path.is_relative_to(host.paths.images) and not check:
        path.unlink(missing_ok=True)
    record = {
        "source": wanted["source"],
        "reference": reference,
        "id": image["Id"],
        "inputs": wanted.get("inputs"),
        "digest": None,
        "made_by_toolkit": True,
        "index_members": INDEX_MEMBERS in _labels(image),
    }
    return record, actions


def _labels(image: Mapping[str, Any]) -> Mapping[str, str]:
    """The labels in docker's description of an image."""
    return (image.get("Config") or {}).get("Labels") or {}


def first_present(host: Host, ids: list[str]) -> dict[str, Any] | None:
    """Docker's description of the first of `ids` that it has."""
    for identity in ids:
        image = host.engine.image(identity)
        if image is not None:
            return image
    return None


def _pull(
    host: Host, state: State, wanted: Mapping[str, Any], check: bool
) -> tuple[dict[str, Any] | None, list[str]]:
    reference = str(wanted["reference"])
    known = state.images.get(wanted["kind"]) or {}
    same = known.get("source") == "pull" and known.get("reference") == reference
    digest = wanted.get("digest") or (known.get("digest") if same else None)
    if same and known.get("digest") == digest and host.engine.image(known["id"]):
        return known, []
    if check:
        return None, [f"{wanted['kind']}: the image {reference} is pulled"]
    source = f"{repository(reference)}@{digest}" if digest else reference
    result = host.runner.run(
        ["docker", "pull", source],
        timeout=_PATIENCE,
        # ./deploy on the host itself passes on its caller's variables. DOCKER_CONFIG stays: the
        # caller decides where docker finds passwords.
        environment={
            **dict.fromkeys(_OTHER_ENGINES, ""),
            "DOCKER_HOST": f"unix://{host.paths.docker_socket}",
        },
    )
    if not result.ok:
        hint = ""
        if wanted.get("digest"):
            hint = f"; {digest} is pinned for {reference} (images/pinned.yml or images_pinned)"
        elif digest:
            hint = f"; {digest} was recorded on this host at the first pull of {reference}"
        raise HostError(
            f"the image {source} cannot be pulled (docker said: {result.words}){hint}: look at the "
            "reference and the host's network, or write images_source: build"
        )
    pulled = pulled_digest(result.output) or digest
    image = host.engine.image(source)
    if image is None or pulled is None:
        raise HostError(f"docker pulled {source} but does not have it: look at docker's log")
    if digest:
        host.engine.tag(image["Id"], reference)
    record = {
        "source": "pull",
        "reference": reference,
        "id": image["Id"],
        "inputs": None,
        "digest": pulled,
        "made_by_toolkit": LABEL in _labels(image),
        "index_members": INDEX_MEMBERS in _labels(image),
    }
    return record, [f"{wanted['kind']}: the image {reference} was pulled ({pulled})"]


def remove_unused_images(host: Host, state: State, check: bool) -> list[str]:
    """Removes images that the toolkit brought and that neither a generation nor a rollback needs.
    An image that another container uses stays. So does an image that has a further name, under
    that name."""
    brought = list(state.installed.get("images") or ())
    images = {name: host.engine.image(name) for name in brought}
    kept = {record["id"] for record in state.images.values()}
    for kind in state.kinds.values():
        kept |= {generation.image for generation in kind.generations if generation.phase != RETIRED}
        kept |= {kind.previous.image} if kind.previous is not None else set()
    unused = [
        name for name, image in images.items() if image is not None and image["Id"] not in kept
    ]
    if unused:
        used_ids = host.engine.used_images()
        unused = [name for name in unused if (images[name] or {})["Id"] not in used_ids]
    if check:
        return [f"image {name}: removed" for name in unused]
    gone = {name for name, image in images.items() if image is None}
    actions = []
    for name in unused:
        # A leftover image is no reason to fail: its replacement serves.
        with contextlib.suppress(HostError):
            if host.engine.remove_image(name):
                actions.append(f"image {name}: removed")
                gone.add(name)
    if gone:
        state.installed["images"] = [name for name in brought if name not in gone]
        host.store.save(state)
    return actions


def repository(reference: str) -> str:
    """The reference without tag and digest. A port is not a tag."""
    name = reference.partition("@")[0]
    head, colon, tail = name.rpartition(":")
    return head if colon and "/" not in tail else name


def pulled_digest(output: str) -> str | None:
    """The digest that `docker pull` reports."""
    match = re.search(rf"^Digest: ({SHA256.pattern})$", output, re.MULTILINE)
    return match.group(1) if match else None
