"""Finds what an upgraded host has and a freshly deployed host does not."""

from __future__ import annotations

import json
import re
from pathlib import Path

from support import hosts, picture

# The registry's data, and the reports of jobs.
DATA = re.compile(r"/var/lib/wharfinger/(registry|contents|succeeded)/.*")
# Files whose content, too, is the same on all hosts.
ALIKE = re.compile(
    r"/(etc/(systemd|cron\.d|logrotate\.d)|usr/local)/.*"
    r"|/etc/nginx/(nginx\.conf|wharfinger/wharfinger\.js)|/etc/docker/daemon\.json"
)
GENERATION = re.compile(r"(/var/lib/wharfinger/generations)/(\w+)/(\d+)(.*)")


def more(upgraded: str, fresh: str) -> list[str]:
    """Items that only the host `upgraded` has, or has with another owner, mode or version."""
    for name in (upgraded, fresh):
        # A renewal leaves small files, which the fresh host may not have yet.
        hosts.host(name).check_output("systemctl start wharfinger-renew.service")
    expected, actual = traces(fresh), traces(upgraded)
    return [
        f"{name} ({what})" for name, what in sorted(actual.items()) if expected.get(name) != what
    ]


def traces(name: str) -> dict[str, str]:
    """A host's packages, files, images, networks and volumes with their properties, by names that
    are equal on all hosts. The previous generation, which is kept for going back, is left out."""
    script = Path(picture.__file__).read_text(encoding="utf-8")
    items: dict[str, str] = json.loads(hosts.script(name, script))
    address = str(hosts.variables(name)["ansible_host"])
    state = hosts.state(name)
    generations = [
        (kind, generation)
        for kind, record in state["kinds"].items()
        for generation in record["generations"]
    ]
    phases = {
        (kind, str(generation["number"])): generation["phase"] for kind, generation in generations
    }
    previous = json.dumps(
        [generation for _, generation in generations if generation["phase"] == "retired"]
    )
    kept = {}
    for item, what in items.items():
        kind, _, rest = item.partition(" ")
        if kind in {"container", "process"}:
            continue  # Site.tidy checks the containers
        if kind == "image":
            identity, _, rest = rest.partition(" ")
            if identity in previous or rest in previous:
                continue
        elif kind == "package":
            # A package that an earlier release needed stays on record until remove.yml removes it.
            if rest in state["installed"]["packages"] or what.endswith(" auto"):
                continue
        elif kind == "network":
            rest = rest.partition(" ")[2]
        elif kind == "file":
            if DATA.fullmatch(rest):
                continue
            if parts := GENERATION.fullmatch(rest):
                folder, container, number, below = parts.groups()
                phase = phases.get((container, number), f"unknown {number}")
                if phase == "retired":
                    continue
                rest = f"{folder}/{container}/{phase}{below}"
            if " -> " not in what and not ALIKE.fullmatch(rest):
                what = " ".join(what.split()[:2])  # owner and mode
        kept[f"{kind} {rest}".replace(name, "NAME").replace(address, "ADDRESS")] = what
    return kept
