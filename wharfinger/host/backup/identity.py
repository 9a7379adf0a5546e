"""What makes a registry this registry beside its images: a row for each file that is saved.

What is not here is never restored: signing keys (a revoked key must not come back, and tokens live
for minutes), generations, images, jobs, rotations under way and locks. site.yml writes all else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..system.paths import Paths


@dataclass(frozen=True)
class Saved:
    """A file of the host, or with a `/` at its end a directory. `path` is below etc ("etc/…") or
    var ("var/…")."""

    path: str
    holds: str

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
    Saved("etc/secrets/http_secret", "what signs the state of uploads"),
    Saved("var/users.json", "users and robots with the hashes of their passwords"),
    Saved("var/removed_accounts.json", "which accounts were removed, and when"),
    Saved("var/clock.json", "how late it was at least"),
)


def present(paths: Paths) -> Iterator[Path]:
    """Those that are on this host."""
    for saved in SAVED:
        path = saved.at(paths)
        if path.exists():
            yield path
