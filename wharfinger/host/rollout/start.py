"""A new generation: its slot, its directory, its container."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ..system import names, signing_keys
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import read_text, remove_tree, write_atomically
from ..system.state import STARTING, Generation
from .records import Records
from .specification import HTTP_SECRET, Specification, definition


def has_valid_address(records: Records, generation: Generation) -> bool:
    """Whether the generation's address still belongs to its slot: the network may have changed."""
    slots = names.slots(records.kind, records.network["subnet"])
    return slots.get(generation.slot) == generation.address


def add_generation(records: Records, spec: Specification, deployment: str) -> Generation:
    """Records a new generation in the free slot as starting. Raises HostError, before anything is
    changed, if it could not serve."""
    slots = names.slots(records.kind, records.network["subnet"])
    serving, clock = records.serving, records.host.clock
    _check_can_serve(records, spec)
    # An address stays taken until its container is gone, recorded or not.
    containers = records.host.engine.containers(records.labels)
    taken = {container.address for container in containers if container.alive}
    taken |= {serving.address} if serving is not None else set()
    free = [slot for slot, address in slots.items() if address not in taken]
    if not free:
        raise HostError(
            f"{records.kind}: both its addresses are taken: remove the container that does not "
            f"serve (docker ps --filter label=wharfinger.kind={records.kind}) and run again"
        )
    slot = free[0]
    numbers = [int(container.labels.get("wharfinger.generation", 0)) for container in containers]
    generation = Generation(
        number=max([records.record.next, *(number + 1 for number in numbers)]),
        slot=slot,
        address=slots[slot],
        port=spec.port,
        spec=spec.hash,
        image=spec.image,
        phase=STARTING,
        since=clock.now(),
        stop_timeout=spec.stop_timeout,
        settings=spec.settings,
        deployment=deployment,
        changed=clock.now(),
        readonly=spec.readonly,
    )
    if serving is not None and serving.settings == spec.settings:
        # With other startup inputs only, it is still the same deployment.
        generation.deployment, generation.changed = serving.deployment, serving.changed
    records.record.next = generation.number + 1
    records.record.generations.append(generation)
    records.save()
    return generation


def _check_can_serve(records: Records, spec: Specification) -> None:
    foreign = foreign_key(records, spec)
    if foreign is not None:
        raise HostError(
            f"{records.kind}: {foreign}: run the whole site.yml, which rotates the key first; "
            "if a rotation is under way, run playbooks/rotate_certificates.yml before that"
        )
    for mount in spec.mounts:
        if not Path(str(mount["source"])).exists():
            raise HostError(
                f"{records.kind}: {mount['source']} is not there, so nothing was started: if it "
                "is on a file system of its own, mount it (`mount -a`)"
            )


def foreign_key(records: Records, spec: Specification) -> str | None:
    """Says which key in use a container of `spec` cannot work with; None if it works with all."""
    used = ["signing.crt", "signing_next.crt"]
    if records.kind == names.REGISTRY:
        used.append("signing_previous.crt")
    for name in used:
        key = signing_keys.read(read_text(records.host.paths.certificates / name) or "")
        if key is not None and not spec.works_with(key.algorithm):
            verb = "trusts tokens of" if records.kind == names.REGISTRY else "signs with"
            known = ", ".join(spec.algorithms)
            return f"it {verb} {known} only, and the key of {name} is {key.algorithm}"
    return None


def start(records: Records, spec: Specification, generation: Generation) -> None:
    """Writes the generation's directory and starts its container."""
    directory = records.directory(generation.number)
    _write(records.host, spec, directory)
    name = records.name(generation.number)
    labels = {
        **records.labels,
        "wharfinger.generation": str(generation.number),
        "wharfinger.spec": spec.hash,
    }
    records.host.engine.create(
        name,
        definition(
            spec,
            labels=labels,
            network=records.network["name"],
            address=generation.address,
            files=str(directory / "files"),
        ),
    )
    records.host.engine.start(name)


def _write(host: Host, spec: Specification, directory: Path) -> None:
    """The generation's own directory: spec.json, for root only since it may hold the storage's
    keys, and files/, which the container sees."""
    remove_tree(directory)
    directory.mkdir(mode=0o700, parents=True)
    files = directory / "files"
    files.mkdir(mode=0o750)
    write_atomically(directory / "spec.json", json.dumps(spec.raw, indent=1).encode(), 0o600)
    for name, text in spec.files.items():
        if HTTP_SECRET in text:
            text = text.replace(HTTP_SECRET, _http_secret(host))
        write_atomically(files / name, text.encode(), 0o640, host.root_id, spec.files_group)
    # Last, because only the group's right to read lets the container in.
    os.chown(files, host.root_id, spec.files_group)


def _http_secret(host: Host) -> str:
    secret = (read_text(host.paths.http_secret) or "").strip()
    if not secret:
        raise HostError(
            f"{host.paths.http_secret} is missing: run the whole site.yml, which makes it"
        )
    return secret
