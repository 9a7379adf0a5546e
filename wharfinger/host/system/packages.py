"""Which packages of those that the toolkit installed can be removed without harm to others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from .context import Host

_NOT_INSTALLED = 127


def installed(host: Host, names: Sequence[str]) -> list[str]:
    """Those of `names` that are installed; all of them if there is no dpkg."""
    if not names:
        return []
    said = host.runner.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n", *names], timeout=10
    )
    if said.code == _NOT_INSTALLED:
        return list(names)
    present = {line.split()[0] for line in said.output.splitlines() if line.endswith(" installed")}
    return [name for name in names if name in present]


def removable(host: Host, names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """(packages to purge, package → why it stays). Purged are `names` and what apt installed only
    for them. A package stays if one that somebody else installed depends on it.

    If apt cannot answer, `names` are returned as they are: it gives its reason at the removal.
    """
    said = host.runner.run(["apt-mark", "showmanual"], timeout=30)
    others = set(said.output.split()) - set(names)
    # What is unneeded already before the removal was not installed by the toolkit.
    left_over = _removed(host, ["autoremove"]) or set()
    stay: dict[str, str] = {}
    while go := [name for name in names if name not in stay]:
        removed = _removed(host, ["--auto-remove", "purge", *go])
        if removed is None:
            return go, stay
        if not removed & others:
            return sorted(removed - left_over), stay
        known = len(stay)
        for name in go:
            needed_by = (_removed(host, ["purge", name]) or set()) & others
            if needed_by:
                stay[name] = f"{', '.join(sorted(needed_by))} needs it"
        if len(stay) == known:
            return go, stay
    return [], stay


def clashing(host: Host, names: Sequence[str]) -> set[str]:
    """The packages that apt would remove to install `names`, because they conflict. Empty if apt
    cannot tell, as before its first `apt-get update`."""
    return _removed(host, ["install", "--no-install-recommends", *names]) or set()


def _removed(host: Host, command: Sequence[str]) -> set[str] | None:
    """What apt-get would remove; None if it fails."""
    said = host.runner.run(["apt-get", "--simulate", *command], timeout=60)
    if not said.ok:
        return None
    return set(re.findall(r"^(?:Remv|Purg) (\S+)", said.output, re.MULTILINE))


def strange_files(
    host: Host, folder: Path, packages: Sequence[str], ours: Iterable[Path]
) -> list[str]:
    """Files in `folder` that somebody else made or changed: not `ours`, nor as packaged.

    `packages`: their configuration files are compared with the packaged ones. Links in
    modules-enabled are made by packages.
    """
    own = [str(path) for path in ours]
    said = host.runner.run(["dpkg-query", "--search", f"{folder}/*"], timeout=30)
    known = {line.partition(": ")[2] for line in said.output.splitlines()}
    strange = [
        str(path)
        for path in sorted(folder.rglob("*"))
        if (path.is_symlink() or not path.is_dir())
        and not any(str(path) == name or str(path).startswith(f"{name}/") for name in own)
        and str(path) not in known
        and not (path.is_symlink() and path.parent.name == "modules-enabled")
    ]
    compared = host.runner.run(["dpkg", "--verify", *packages], timeout=30)
    changed = re.findall(r"^..5\S* c (\S+)$", compared.output, re.MULTILINE)
    return strange + [path for path in changed if path.startswith(f"{folder}/")]
