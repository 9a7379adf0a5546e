"""The server's certificate that the host's own authority issues."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..system.context import Host
from ..system.errors import HostError
from . import certificates
from .authority_files import AuthorityFiles
from .due import covered, days_left, server_due, usable
from .pki import Pki
from .settings import Settings

FINISH = "playbooks/rotate_certificates.yml -e rotate=ca -e finish=true"


@dataclass
class IssuedCertificate:
    """The server's certificate. `actions` and `notes` are those of the authority."""

    host: Host
    settings: Settings
    check: bool
    files: AuthorityFiles
    pki: Pki
    actions: list[str]
    notes: list[str]

    def __post_init__(self) -> None:
        self.folder = self.files.folder

    def names(self) -> list[str]:
        """The names in the server's certificate. While there is a previous authority, only names
        for which that may vouch too: its clients would refuse a certificate with another name."""
        names = self.settings.names
        for authority in ("ca", "ca_previous"):
            certificate = self.files.facts(authority)
            allowed = names if certificate is None else covered(names, certificate.permitted)
            if self.settings.hostname in allowed:
                names = allowed
        return names

    def due(self) -> bool:
        certificate = self.files.facts("tls")
        if certificate is not None:
            trusted = certificates.issued_by(
                self.host.runner, self.folder / "tls.crt", self.folder / "ca.crt"
            )
            certificate = replace(certificate, trusted=trusted)
        chain, cross = self.files.read("tls.crt"), self.files.read("ca_cross.crt")
        return (
            server_due(
                certificate,
                now=self.host.clock.now(),
                names=self.names(),
                renew_days=self.settings.renew_days,
            )
            # The chain leads to the previous authority exactly as long as there is one.
            or not chain.endswith(cross)
            or (chain.count(b"-----BEGIN") > 1 and not cross)
        )

    def ensure(self, *, force: bool = False) -> None:
        if not (force or self.due()):
            return
        self.actions.append("a server's certificate was made")
        if self.check:
            return
        self.require_key()
        authority = self.files.facts("ca")
        if not usable(authority, self.host.clock.now()) or authority is None:
            raise HostError(
                f"certificates: the authority in {self.folder} is missing, has expired or has lost "
                "its key: run site.yml, which makes it or says what is wrong"
            )
        key = self.pki.key("ec")
        made = self.pki.server(
            key,
            self.names(),
            (self.files.read("ca.crt"), self.files.read("ca.key")),
            days_left(authority, self.host.clock.now(), self.settings.tls_days),
        )
        self.install(key, made)

    def install(self, key: bytes, leaf: bytes) -> None:
        """Writes both files in this order. After a kill in between they do not match, and are made
        again."""
        self.files.write("tls.key", key)
        self.files.write("tls.crt", leaf + self.files.read("ca_cross.crt"))
        left_out = [name for name in self.settings.names if name not in self.names()]
        if left_out and not self.notes:
            self.notes.append(self.left_out(left_out))

    def left_out(self, names: list[str]) -> str:
        return (
            f"{', '.join(names)}: not in the server's certificate yet, because clients that know "
            "only the previous authority would refuse it: let all clients trust the new one, then "
            f"run {FINISH}"
        )

    def require_key(self) -> None:
        if self.settings.ca_offline:
            raise HostError(
                "certificates: the authority's key is not on this host (certificates_ca_offline): "
                "run playbooks/rotate_certificates.yml or site.yml from the controller that has it"
            )
