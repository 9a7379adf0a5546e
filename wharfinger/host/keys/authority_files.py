"""Reads and writes the authority's files in certificates/."""

from __future__ import annotations

from ...deployment.certificate import Certificate
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import exists, read_bytes, write_atomically
from . import certificates


class AuthorityFiles:
    """The files by name. With `check`, a file that cannot be read counts as missing."""

    def __init__(self, host: Host, check: bool) -> None:
        self.host = host
        self.check = check
        self.folder = host.paths.certificates

    def facts(self, name: str) -> Certificate | None:
        """None if there is none. Raises HostError if there is one that cannot be read, so that no
        new one is made for that."""
        path = self.folder / f"{name}.crt"
        certificate = certificates.facts(self.host.runner, path, self.folder / f"{name}.key")
        if certificate is None and exists(path) and not self.check:
            raise HostError(
                f"certificates: openssl does not read {path} (it did not answer in time, or the "
                f"file is damaged): run again; if it stays so, bring {self.folder} back from a "
                "backup"
            )
        return certificate

    def read(self, name: str) -> bytes:
        return read_bytes(self.folder / name) or b""

    def write(self, name: str, data: bytes) -> None:
        write_atomically(self.folder / name, data, 0o600 if name.endswith(".key") else 0o644)

    def remove(self, *names: str) -> None:
        for name in names:
            (self.folder / name).unlink(missing_ok=True)
