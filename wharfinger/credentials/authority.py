"""The certificate authority whose key stays on the controller: it signs what a host requests."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from wharfinger.deployment.certificate import Certificate
from wharfinger.host.keys import certificates
from wharfinger.host.keys.due import covered, days_left, usable
from wharfinger.host.keys.pki import Pki, authority_name
from wharfinger.host.system.errors import HostError
from wharfinger.host.system.files import exists, read_bytes, write_atomically
from wharfinger.host.system.runner import SystemRunner


class OfflineAuthority:
    """The authority of one registry, in a folder of the controller.

    The key is HOST-ca.key, 0600. The next authority waits as HOST-ca_next until the host has it, so
    that the run after an interrupted one continues.
    """

    def __init__(self, folder: Path, hostname: str) -> None:
        self.folder = folder
        self.hostname = hostname
        self.runner = SystemRunner()
        # A directory for each host: several hosts are served at the same time.
        self.pki = Pki(self.runner, folder, f".{hostname}-work")
        self.pki.clean()

    def _path(self, name: str) -> Path:
        return self.folder / f"{self.hostname}-{name}"

    def _read(self, name: str) -> bytes:
        return read_bytes(self._path(name)) or b""

    def _write(self, name: str, data: bytes) -> None:
        write_atomically(self._path(name), data, 0o600 if name.endswith(".key") else 0o644)

    def sign(self, wanted: dict[str, Any]) -> dict[str, str]:
        """`tls`, and if the host gets another authority, `ca` and `cross`. Raises HostError."""
        # An earlier run may have been interrupted after the host had taken what was prepared.
        self.adopt(str(wanted["present"]).encode())
        names = [str(name) for name in wanted["names"]]
        request = str(wanted["request"]).encode()
        kind, cross = str(wanted["authority"]), b""
        if kind == "new":
            name = self._new(wanted)
        elif kind == "next":
            name = self._next(wanted)
            cross = self._read("ca_next_cross.crt")
        else:
            name = "ca"
            self._require(str(wanted["present"]))
        authority = (self._read(f"{name}.crt"), self._read(f"{name}.key"))
        leaf = self.pki.sign(request, names, authority, int(wanted["days"]))
        signed = {"tls": leaf.decode()}
        if kind:
            signed |= {"ca": authority[0].decode(), "cross": cross.decode()}
        return signed

    def _new(self, wanted: dict[str, Any]) -> str:
        """The authority that is here already, for a host that was reinstalled; else a new one."""
        names = [str(name) for name in wanted["all_names"]]
        certificate = certificates.facts(self.runner, self._path("ca.crt"), self._path("ca.key"))
        if (
            usable(certificate, time.time())
            and certificate is not None
            and _covers(certificate, names)
        ):
            return "ca"
        self._prepare(names, int(wanted["ca_days"]))
        return "ca_next"

    def _next(self, wanted: dict[str, Any]) -> str:
        names = [str(name) for name in wanted["all_names"]]
        self._require(str(wanted["present"]))
        ready = certificates.facts(
            self.runner, self._path("ca_next.crt"), self._path("ca_next.key")
        )
        if (
            usable(ready, time.time())
            and ready is not None
            and _covers(ready, names)
            and certificates.issued_by(
                self.runner, self._path("ca_next_cross.crt"), self._path("ca.crt")
            )
        ):
            return "ca_next"
        self._prepare(names, int(wanted["ca_days"]))
        old = (self._read("ca.crt"), self._read("ca.key"))
        certificate = certificates.facts(self.runner, self._path("ca.crt"))
        assert certificate is not None
        days = days_left(certificate, time.time(), int(wanted["ca_days"]))
        key = self._read("ca_next.key")
        self._write("ca_next_cross.crt", self.pki.cross(key, self._name(), names, old, days))
        return "ca_next"

    def _prepare(self, names: list[str], days: int) -> None:
        key = self.pki.key("ec")
        self._path("ca_next_cross.crt").unlink(missing_ok=True)
        self._write("ca_next.key", key)
        self._write("ca_next.crt", self.pki.authority(key, self._name(), names, days))

    def _name(self) -> str:
        return authority_name(self.hostname, time.time())

    def _require(self, present: str) -> None:
        """Ensures that the key of the host's authority is here, with its certificate."""
        path = self._path("ca.key")
        if not exists(path):
            raise HostError(
                f"certificates_ca_offline: the key of the host's authority is not at {path}: "
                "restore it there from a backup (mode 0600), or, if it is lost, remove the "
                "authority from the host (rm /etc/wharfinger/certificates/ca.*), run site.yml, "
                "and let all clients trust the new one"
            )
        if self._read("ca.crt") != present.encode():
            self._write("ca.crt", present.encode())
        certificate = certificates.facts(self.runner, self._path("ca.crt"), path)
        if certificate is None or not certificate.key_matches:
            raise HostError(
                f"certificates_ca_offline: {path} is not the key of the host's authority: restore "
                "the right one from a backup"
            )

    def take(self, key: bytes) -> bool:
        """Stores the host's key so that it outlives a power loss: the host then deletes its own."""
        changed = self._read("ca.key") != key
        self._write("ca.key", key)
        return changed

    def adopt(self, present: bytes) -> bool:
        """Moves what was prepared into place once the host has it; the previous key is kept."""
        if not present or present != self._read("ca_next.crt"):
            return False
        if exists(self._path("ca.key")):
            self._write("ca_before.key", self._read("ca.key"))
        self._write("ca.key", self._read("ca_next.key"))
        self._write("ca.crt", present)
        for name in ("ca_next.key", "ca_next.crt", "ca_next_cross.crt"):
            self._path(name).unlink(missing_ok=True)
        return True


def _covers(certificate: Certificate, names: list[str]) -> bool:
    """Whether the authority may issue certificates for all these names."""
    return covered(names, certificate.permitted) == names
