"""The host's own certificate authority, and the server's certificate that it issues.

An authority is followed by another like this: the new one's certificate is also signed by the old
one (`ca_cross.crt`), and nginx sends that along, so that who knows only either of them follows the
chain to it. What is written first is named ca_next and takes its place in one order that can be
begun again anywhere; until `finish`, the old authority's certificate stays as ca_previous.crt. Its
key is gone at once: nothing is signed with it any more.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..system.context import Host
from ..system.errors import HostError
from ..system.files import exists, read_bytes, write_atomically
from . import certificates
from .due import AUTHORITY_DAYS, aged, ahead, covered, days_left, server_due, usable
from .pki import Pki, authority_name
from .settings import Settings

_FINISH = "playbooks/rotate_certificates.yml -e rotate=ca -e finish=true"


@dataclass
class Wanted:
    """What the keeper of an offline key has to sign: see `Authority.wanted`."""

    request: str
    names: list[str]
    days: int
    authority: str  # "" | "new" | "next"
    all_names: list[str]  # for which a new authority may vouch
    ca_days: int
    present: str  # the authority's certificate, "" where there is none

    def answer(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass
class Authority:
    """The authority and what it issues, as they are and as they should be.

    `actions` says what was done (with `check`: would be), `notes` what an operator should know.
    `alone`: no person is there, the timer acts.
    """

    host: Host
    settings: Settings
    check: bool = False
    alone: bool = False
    actions: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder = self.host.paths.certificates
        self.pki = Pki(self.host.runner, self.folder)

    # -- what is there -----------------------------------------------------------------------------

    def facts(self, name: str) -> dict[str, Any] | None:
        """None where there is none. Raises HostError where there is one that cannot be read: that
        is no reason to make another."""
        path = self.folder / f"{name}.crt"
        found = certificates.facts(self.host.runner, path, self.folder / f"{name}.key")
        if found is None and exists(path) and not self.check:
            raise HostError(
                f"certificates: openssl does not read {path} (it did not answer in time, or the "
                f"file is damaged): run again; if it stays so, bring {self.folder} back from a "
                "backup"
            )
        return found

    def _read(self, name: str) -> bytes:
        return read_bytes(self.folder / name) or b""

    def _write(self, name: str, data: bytes) -> None:
        write_atomically(self.folder / name, data, 0o600 if name.endswith(".key") else 0o644)

    def _remove(self, *names: str) -> None:
        for name in names:
            (self.folder / name).unlink(missing_ok=True)

    @property
    def overlap(self) -> bool:
        """Whether there is an authority before that clients may still know alone."""
        return exists(self.folder / "ca_previous.crt")

    # -- the authority -----------------------------------------------------------------------------

    def ensure(self) -> None:
        """The authority is there and may vouch for the registry's names, and the server's
        certificate is of it and not about to end."""
        self._promote()
        found = self.facts("ca")
        now = self.host.clock.now()
        if not self._usable(found, now):
            self._begin(f"the authority {self._why_unusable(found, now)}")
        elif missing := self._uncovered(found):
            if self._can_follow(found) or self.settings.hostname in missing:
                self._follow(found, f"the authority may not vouch for {', '.join(missing)}")
            else:
                self.notes.append(self._left_out(missing))
        elif self._aged(found, now):
            self._follow(found, "the authority is in its last year")
        self._server()

    def rotate(self) -> None:
        """Another authority follows. Raises HostError where the one before it is still there, or
        cannot be followed by any."""
        self._promote()
        found = self.facts("ca")
        if self.overlap:
            if not self._server_due():
                raise HostError(self._unfinished())
            # An earlier run was cut off when the server's certificate was still to be made.
            self._server()
            return
        if not self._usable(found, self.host.clock.now()):
            self._begin("the authority was to be replaced")
        else:
            self._follow(found, "it was asked for")
        self._server()

    def renew_server(self) -> None:
        """A new server's certificate, whatever the age of the present one. Raises HostError where
        the authority cannot issue one."""
        self._promote()
        self._server(anew=True)

    def finish(self) -> None:
        """The authority before is gone: who knows only that one is a client no more."""
        self.forget()
        self._server()

    def forget(self) -> None:
        """The same without the server's new certificate, which an offline authority has to sign."""
        self._promote()
        if self.overlap:
            self.actions.append("the authority before is removed, and no client needs to know it")
            if not self.check:
                self._remove("ca_previous.crt", "ca_cross.crt")

    def _usable(self, found: Mapping[str, Any] | None, now: float) -> bool:
        if self.settings.ca_offline and found is not None:
            return float(found["not_after"]) > now
        return usable(found, now)

    def _is_current(self, found: Mapping[str, Any]) -> bool:
        """Whether clients trust it and it may vouch for this host."""
        return float(found["not_after"]) > self.host.clock.now() and bool(
            covered([self.settings.hostname], found["permitted"])
        )

    def _why_unusable(self, found: Mapping[str, Any] | None, now: float) -> str:
        if found is None:
            return "is not there yet"
        if float(found["not_after"]) <= now:
            return "has expired"
        return "has lost its key"

    def _can_follow(self, found: Mapping[str, Any] | None) -> bool:
        """Whether another authority can follow this one now, cross-signed by it."""
        return not self.overlap and found is not None and found["path_length"] != 0

    def _aged(self, found: Mapping[str, Any] | None, now: float) -> bool:
        return self._can_follow(found) and aged(found, now, AUTHORITY_DAYS)

    def _uncovered(self, found: Mapping[str, Any] | None) -> list[str]:
        allowed = covered(self.settings.names, (found or {}).get("permitted"))
        return [name for name in self.settings.names if name not in allowed]

    def _unfinished(self) -> str:
        begun = time.strftime("%Y-%m-%d", time.gmtime(self._begun()))
        return (
            f"certificates: the authority was already followed by another on {begun}, and clients "
            f"may still know only the one before: see that all trust {self.folder}/ca.crt, then "
            f"run {_FINISH}"
        )

    def _begun(self) -> float:
        found = self.facts("ca")
        return float(found["not_before"]) if found else 0

    def _begin(self, why: str) -> None:
        """An authority without one before it: clients must trust it anew. So the timer never makes
        one, and nobody makes one in the place of one that has only lost its key."""
        present = self.facts("ca")
        lost = self.host.paths.certificates / "ca.key"
        if present is not None and not present["key_matches"] and self._is_current(present):
            raise HostError(
                f"certificates: {lost}, the authority's key, is not there or not the right one: "
                "bring it back from a backup; if it is lost, take the authority away (rm "
                f"{self.folder}/ca.*), run site.yml, and let all clients trust the new one"
            )
        if present is not None and ahead(present, self.host.clock.now()):
            begins = time.strftime("%Y-%m-%d", time.gmtime(float(present["not_before"])))
            raise HostError(
                f"certificates: by this host's clock the authority is valid only from {begins} on: "
                "set the clock right (timedatectl); if it is right, and was wrong when the "
                f"authority was made, take that away (rm {self.folder}/ca.*), run site.yml, and "
                "let all clients trust the new one"
            )
        if present is not None and present["key_matches"] and self._is_current(present):
            raise HostError(
                f"certificates: openssl gave two answers about {self.folder}/ca.crt: run again"
            )
        if self.alone:
            raise HostError(
                f"certificates: {why}, and another would have to be trusted by all clients anew: "
                "run site.yml, which makes one"
            )
        self.actions.append(f"an authority was made, because {why}")
        if self.check:
            return
        self._require_key()
        key = self.pki.key("ec")
        made = self.pki.authority(key, self._name(), self.settings.names, self.settings.ca_days)
        self._remove("ca_previous.crt", "ca_cross.crt")
        self._write("ca_next.key", key)
        self._write("ca_next.crt", made)
        self._promote()

    def _follow(self, found: Mapping[str, Any] | None, why: str) -> None:
        """An authority that the present one has signed too."""
        assert found is not None
        if not covered([self.settings.hostname], found["permitted"]):
            # A cross certificate would lead nobody to a name that the old one may not vouch for.
            self._begin(f"{why}; clients must trust it anew")
            return
        if found["path_length"] == 0:
            raise HostError(
                f"certificates: {why}, but it was made without the right to sign another, so "
                "clients cannot be led from it to a new one: take it away on the host "
                f"(rm {self.folder}/ca.*), run site.yml, and let all clients trust the new one"
            )
        self.actions.append(f"an authority follows the present one, because {why}")
        if self.check:
            return
        self._require_key()
        names, name = self.settings.names, self._name()
        old = (self._read("ca.crt"), self._read("ca.key"))
        days = days_left(found, self.host.clock.now(), self.settings.ca_days)
        key = self.pki.key("ec")
        made = self.pki.authority(key, name, names, self.settings.ca_days)
        cross = self.pki.cross(key, name, names, old, days)
        self._write("ca_next.key", key)
        self._write("ca_next_cross.crt", cross)
        self._write("ca_next.crt", made)
        self._promote()

    def _require_key(self) -> None:
        if self.settings.ca_offline:
            raise HostError(
                "certificates: the authority's key is not on this host (certificates_ca_offline): "
                "run playbooks/rotate_certificates.yml or site.yml from the controller that has it"
            )

    def _name(self) -> str:
        return authority_name(self.settings.hostname, self.host.clock.now())

    def _promote(self) -> None:
        """What lies ready as ca_next takes its place; begun again after a kill, it goes on."""
        if self.check or not exists(self.folder / "ca_next.crt"):
            # Without its certificate, which is written last, the rest was never ready.
            if not self.check:
                self._remove("ca_next.key", "ca_next_cross.crt")
            return
        following = self._read("ca_next.crt")
        if self._read("ca.crt") != following and exists(self.folder / "ca_next_cross.crt"):
            self._write("ca_previous.crt", self._read("ca.crt"))
        if exists(self.folder / "ca_next_cross.crt"):
            self._write("ca_cross.crt", self._read("ca_next_cross.crt"))
        if exists(self.folder / "ca_next.key"):
            self._write("ca.key", self._read("ca_next.key"))
        self._write("ca.crt", following)
        self._remove("ca_next_cross.crt", "ca_next.key", "ca_next.crt")

    # -- the server's certificate ------------------------------------------------------------------

    def server_names(self) -> list[str]:
        """The names in the server's certificate. While there is an authority before, only those for
        which it may vouch too: with another name, all its clients would refuse the certificate."""
        names = self.settings.names
        for authority in ("ca", "ca_previous"):
            found = self.facts(authority)
            allowed = covered(names, found["permitted"]) if found is not None else names
            if self.settings.hostname in allowed:
                names = allowed
        return names

    def wanted(self, *, anew: bool = False, follow: bool = False) -> Wanted | None:
        """What an offline authority has to sign for this host; None where nothing. `anew`: a
        certificate in any case; `follow`: another authority too. Raises HostError where none can
        follow."""
        found = self.facts("ca")
        now = self.host.clock.now()
        if not self._usable(found, now):
            authority = "new"
        elif follow or self._uncovered(found) or self._aged(found, now):
            assert found is not None
            covers = covered([self.settings.hostname], found["permitted"])
            authority = "next" if covers else "new"
            if self.overlap and authority == "next":
                if follow and not self._server_due():
                    raise HostError(self._unfinished())
                authority = ""
        else:
            authority = ""
        if not (authority or anew or self._server_due()):
            return None
        if authority == "next":
            assert found is not None
            names = covered(self.settings.names, found["permitted"])
        else:
            names = self.settings.names if authority else self.server_names()
        settings = self.settings
        return Wanted(
            self._request(names),
            names,
            settings.tls_days,
            authority,
            settings.names,
            settings.ca_days,
            self._read("ca.crt").decode("ascii", "replace"),
        )

    def _request(self, names: list[str]) -> str:
        """The request for a certificate of a new key, which waits as tls_next.key."""
        if self.check:
            return ""
        # One that waits already is asked for once more: what is signed meanwhile still fits.
        key = self._read("tls_next.key") or self.pki.key("ec")
        if key != self._read("tls_next.key"):
            self._write("tls_next.key", key)
        return self.pki.request(key, names).decode()

    def accept(self, signed: Mapping[str, str]) -> None:
        """What the keeper of the offline key has signed: {"tls"} and, for a new authority, {"ca"},
        and {"cross"} where the one before stays. PEM texts; "tls" is the server's certificate."""
        if signed.get("ca") and signed["ca"].encode() != self._read("ca.crt"):
            self.actions.append("the authority's certificate is in place")
            if signed.get("cross"):
                self._write("ca_next_cross.crt", signed["cross"].encode())
            else:
                self._remove("ca_previous.crt", "ca_cross.crt")
            self._write("ca_next.crt", signed["ca"].encode())
            self._promote()
        if signed.get("tls") and exists(self.folder / "tls_next.key"):
            self._write("tls_next.crt", signed["tls"].encode())
            fits = (self.facts("tls_next") or {}).get("key_matches")
            self._remove("tls_next.crt")
            if not fits:
                raise HostError(
                    "certificates: what was signed belongs to another request of this host: run "
                    "the playbook once more"
                )
            self._install(self._read("tls_next.key"), signed["tls"].encode())
            self._remove("tls_next.key")

    def _server_due(self) -> bool:
        found = self.facts("tls")
        if found is not None:
            found["trusted"] = certificates.issued_by(
                self.host.runner, self.folder / "tls.crt", self.folder / "ca.crt"
            )
        return (
            server_due(
                found,
                now=self.host.clock.now(),
                names=self.server_names(),
                renew_days=self.settings.renew_days,
            )
            # The chain leads to the authority before as long as there is one, and no longer.
            or not self._read("tls.crt").endswith(self._read("ca_cross.crt"))
            or (self._read("tls.crt").count(b"-----BEGIN") > 1 and not self._read("ca_cross.crt"))
        )

    def _server(self, *, anew: bool = False) -> None:
        if not (anew or self._server_due()):
            return
        self.actions.append("a server's certificate was made")
        if self.check:
            return
        self._require_key()
        authority = self.facts("ca")
        if not usable(authority, self.host.clock.now()) or authority is None:
            raise HostError(
                f"certificates: the authority in {self.folder} is missing, has expired or has lost "
                "its key: run site.yml, which makes it or says what is wrong"
            )
        key = self.pki.key("ec")
        made = self.pki.server(
            key,
            self.server_names(),
            (self._read("ca.crt"), self._read("ca.key")),
            days_left(authority, self.host.clock.now(), self.settings.tls_days),
        )
        self._install(key, made)

    def _install(self, key: bytes, leaf: bytes) -> None:
        """Both files, in this order: between them they do not fit, and are made once more."""
        self._write("tls.key", key)
        self._write("tls.crt", leaf + self._read("ca_cross.crt"))
        left_out = [one for one in self.settings.names if one not in self.server_names()]
        if left_out and not self.notes:
            self.notes.append(self._left_out(left_out))

    def _left_out(self, names: list[str]) -> str:
        return (
            f"{', '.join(names)}: not in the server's certificate yet, because clients that know "
            "only the authority before would refuse it: let all clients trust the new one, then "
            f"run {_FINISH}"
        )
