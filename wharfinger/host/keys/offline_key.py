"""An authority whose key is not on this host: what its keeper must sign, and has signed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..system.errors import HostError
from ..system.files import exists
from .authority import Authority
from .due import covered


@dataclass
class Wanted:
    """What the keeper of an offline key must sign: see `OfflineKey.wanted`."""

    request: str
    names: list[str]
    days: int
    authority: str  # "" | "new" | "next"
    all_names: list[str]  # for which a new authority may vouch
    ca_days: int
    present: str  # the authority's certificate, "" if there is none

    def answer(self) -> dict[str, Any]:
        return dict(vars(self))


class OfflineKey:
    """The exchange between this host and the keeper of its authority's key."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.files = authority.files
        self.folder = self.files.folder
        self.settings = authority.settings

    def wanted(self, *, force: bool = False, replace: bool = False) -> Wanted | None:
        """What an offline authority must sign for this host; None if nothing. `force`: always a new
        certificate; `replace`: a new authority too. Raises HostError if the present one cannot be
        replaced."""
        present = self.files.facts("ca")
        now = self.authority.host.clock.now()
        if not self.authority.usable(present, now):
            authority = "new"
        elif replace or self.authority.uncovered(present) or self.authority.aged(present, now):
            assert present is not None
            covers = covered([self.settings.hostname], present.permitted)
            authority = "next" if covers else "new"
            if self.authority.overlap and authority == "next":
                if replace and not self.authority.issued.due():
                    raise HostError(self.authority.unfinished())
                authority = ""
        else:
            authority = ""
        if not (authority or force or self.authority.issued.due()):
            return None
        if authority == "next":
            assert present is not None
            names = covered(self.settings.names, present.permitted)
        else:
            names = self.settings.names if authority else self.authority.issued.names()
        settings = self.settings
        return Wanted(
            self._request(names),
            names,
            settings.tls_days,
            authority,
            settings.names,
            settings.ca_days,
            self.files.read("ca.crt").decode("ascii", "replace"),
        )

    def _request(self, names: list[str]) -> str:
        """The request for a certificate of a new key, which is kept as tls_next.key."""
        if self.authority.check:
            return ""
        # A waiting key is used again, so that a certificate that was signed meanwhile fits.
        key = self.files.read("tls_next.key") or self.authority.pki.key("ec")
        if key != self.files.read("tls_next.key"):
            self.files.write("tls_next.key", key)
        return self.authority.pki.request(key, names).decode()

    def accept(self, signed: Mapping[str, str]) -> None:
        """Installs what the keeper of the offline key has signed, as PEM texts: "tls", the server's
        certificate; for a new authority also "ca", and "cross" if the previous one stays."""
        if signed.get("ca") and signed["ca"].encode() != self.files.read("ca.crt"):
            self.authority.actions.append("the authority's certificate is in place")
            if signed.get("cross"):
                self.files.write("ca_next_cross.crt", signed["cross"].encode())
            else:
                self.files.remove("ca_previous.crt", "ca_cross.crt")
            self.files.write("ca_next.crt", signed["ca"].encode())
            self.authority.promote()
        if signed.get("tls") and exists(self.folder / "tls_next.key"):
            self.files.write("tls_next.crt", signed["tls"].encode())
            certificate = self.files.facts("tls_next")
            self.files.remove("tls_next.crt")
            if certificate is None or not certificate.key_matches:
                raise HostError(
                    "certificates: what was signed belongs to another request of this host: run "
                    "the playbook again"
                )
            self.authority.issued.install(self.files.read("tls_next.key"), signed["tls"].encode())
            self.files.remove("tls_next.key")
