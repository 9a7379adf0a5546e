"""What makes a registry this registry beside its images: a row for each file that is saved.

What is not here is never restored: signing keys (a revoked key must not come back, and tokens live
for minutes), generations, images, jobs, rotations under way and locks. site.yml writes all else.
"""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..system.files import write_atomically
from ..system.paths import Paths


@dataclass(frozen=True)
class Saved:
    """A file of the host, or with a `/` at its end a directory. `path` is below etc ("etc/…") or
    var ("var/…"). `always`: it replaces the host's own, which a bare host has made just before."""

    path: str
    holds: str
    always: bool = False

    def at(self, paths: Paths) -> Path:
        """Where it lies on this host."""
        top, _, below = self.path.partition("/")
        return (paths.etc if top == "etc" else paths.var) / below


SAVED = (
    Saved("etc/certificates/ca.crt", "the authority that clients trust"),
    Saved("etc/certificates/ca.key", "its key, unless that is on the controller"),
    Saved("etc/certificates/ca_previous.crt", "the previous authority, while clients change over"),
    Saved("etc/certificates/ca_cross.crt", "the new authority, signed by the previous one"),
    Saved("etc/certificates/tls.crt", "the server's certificate"),
    Saved("etc/certificates/tls.key", "its key"),
    Saved("etc/acme/", "the account at the ACME server"),
    Saved("etc/secrets/http_secret", "what signs the state of uploads", always=True),
    Saved("var/users.json", "users and robots with the hashes of their passwords"),
    Saved("var/removed_accounts.json", "which accounts were removed, and when"),
    Saved("var/clock.json", "how late it was at least", always=True),
)


def present(paths: Paths) -> Iterator[Path]:
    """Those that are on this host."""
    for saved in SAVED:
        path = saved.at(paths)
        if path.exists():
            yield path


def conflicting(paths: Paths, restored: Mapping[Saved, Path]) -> list[Path]:
    """The files of this host that differ from those that came from a snapshot, and that a restore
    must not replace: they belong to another deployment."""
    return [
        path
        for saved in SAVED
        if not saved.always
        and (path := saved.at(paths)).exists()
        and not (saved in restored and _same(path, restored[saved]))
    ]


def put(paths: Paths, restored: Mapping[Saved, Path]) -> None:
    """Copies the files that came from a snapshot to their places on this host: /etc and /var may be
    on different disks."""
    for saved, source in restored.items():
        target = saved.at(paths)
        if target.exists() and not saved.always:
            continue
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if source.is_dir():
            partial = target.with_name(f".{target.name}.new")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(source, partial, symlinks=True)
            partial.rename(target)
        else:
            write_atomically(target, source.read_bytes(), stat.S_IMODE(source.stat().st_mode))


def _same(first: Path, second: Path) -> bool:
    if first.is_dir():
        return True  # a directory has what its owner adds to it
    return second.is_file() and first.read_bytes() == second.read_bytes()
