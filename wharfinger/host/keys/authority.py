"""The host's own certificate authority, and the server's certificate that it issues.

A new authority replaces the present one like this: the old one also signs the new one's certificate
(`ca_cross.crt`), and nginx sends that along. So a client that knows only one of the two can verify
the chain. The new files are first written as ca_next, and then moved in a fixed order, which can be
repeated after a kill. The old authority's certificate stays as ca_previous.crt until `finish`. Its
key is removed at once: nothing is signed with it any more.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ...deployment.certificate import Certificate
from ..system.context import Host
from ..system.durations import day
from ..system.errors import HostError
from ..system.files import exists
from .authority_files import AuthorityFiles
from .due import AUTHORITY_DAYS, aged, ahead, covered, days_left, usable
from .issued_certificate import FINISH, IssuedCertificate
from .pki import Pki, authority_name
from .settings import Settings


@dataclass
class Authority:
    """The authority and the server's certificate that it issues.

    `actions`: what was done (with `check`: would be done); `notes`: what an operator should know.
    `alone`: the timer acts, without a person.
    """

    host: Host
    settings: Settings
    check: bool = False
    alone: bool = False
    actions: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.files = AuthorityFiles(self.host, self.check)
        self.folder = self.files.folder
        self.pki = Pki(self.host.runner, self.folder)
        self.issued = IssuedCertificate(
            *(self.host, self.settings, self.check, self.files, self.pki),
            actions=self.actions,
            notes=self.notes,
        )

    @property
    def overlap(self) -> bool:
        """Whether there is a previous authority, which may be the only one that clients know."""
        return exists(self.folder / "ca_previous.crt")

    # -- the authority -----------------------------------------------------------------------------

    def ensure(self) -> None:
        """Ensures an authority that may vouch for the registry's names, and a server's certificate
        of it that is not about to end."""
        self.promote()
        present = self.files.facts("ca")
        now = self.host.clock.now()
        if not self.usable(present, now):
            self._begin(f"the authority {self._why_unusable(present, now)}")
        elif missing := self.uncovered(present):
            if self._can_cross_sign(present) or self.settings.hostname in missing:
                self._replace(present, f"the authority may not vouch for {', '.join(missing)}")
            else:
                self.notes.append(self.issued.left_out(missing))
        elif self.aged(present, now):
            self._replace(present, "the authority is in its last year")
        self.issued.ensure()

    def rotate(self) -> None:
        """Replaces the authority. Raises HostError if the previous one is still there, or if the
        present one cannot be replaced."""
        self.promote()
        present = self.files.facts("ca")
        if self.overlap:
            if not self.issued.due():
                raise HostError(self.unfinished())
            # An earlier run was interrupted before it made the server's certificate.
            self.issued.ensure()
            return
        if not self.usable(present, self.host.clock.now()):
            self._begin("the authority was to be replaced")
        else:
            self._replace(present, "it was asked for")
        self.issued.ensure()

    def renew_server(self) -> None:
        """Makes a new server's certificate, whatever the age of the present one. Raises HostError
        if the authority cannot issue it."""
        self.promote()
        self.issued.ensure(force=True)

    def finish(self) -> None:
        """Removes the previous authority: clients that know only that one no longer connect."""
        self.forget()
        self.issued.ensure()

    def forget(self) -> None:
        """The same, but without a new server's certificate, which an offline authority must
        sign."""
        self.promote()
        if self.overlap:
            self.actions.append("the previous authority is removed: no client needs it any more")
            if not self.check:
                self.files.remove("ca_previous.crt", "ca_cross.crt")

    def usable(self, certificate: Certificate | None, now: float) -> bool:
        if self.settings.ca_offline and certificate is not None:
            return certificate.not_after > now
        return usable(certificate, now)

    def _is_current(self, certificate: Certificate) -> bool:
        """Whether it is valid and may vouch for this host."""
        return certificate.not_after > self.host.clock.now() and bool(
            covered([self.settings.hostname], certificate.permitted)
        )

    def _why_unusable(self, certificate: Certificate | None, now: float) -> str:
        if certificate is None:
            return "is not there yet"
        if certificate.not_after <= now:
            return "has expired"
        return "has lost its key"

    def _can_cross_sign(self, certificate: Certificate | None) -> bool:
        """Whether this authority can sign a new one that replaces it."""
        return not self.overlap and certificate is not None and certificate.path_length != 0

    def aged(self, certificate: Certificate | None, now: float) -> bool:
        return self._can_cross_sign(certificate) and aged(certificate, now, AUTHORITY_DAYS)

    def uncovered(self, certificate: Certificate | None) -> list[str]:
        allowed = covered(self.settings.names, certificate.permitted if certificate else None)
        return [name for name in self.settings.names if name not in allowed]

    def unfinished(self) -> str:
        begun = day(self._begun())
        return (
            f"certificates: the authority was already replaced on {begun}, and clients may still "
            f"know only the previous one: see that all trust {self.folder}/ca.crt, then run "
            f"{FINISH}"
        )

    def _begun(self) -> float:
        present = self.files.facts("ca")
        return present.not_before if present else 0

    def _begin(self, why: str) -> None:
        """Makes an authority that no other has signed: all clients must be made to trust it. So the
        timer never does that, and an authority that has only lost its key is not replaced."""
        present = self.files.facts("ca")
        lost = self.host.paths.certificates / "ca.key"
        if present is not None and not present.key_matches and self._is_current(present):
            raise HostError(
                f"certificates: {lost}, the authority's key, is not there or not the right one: "
                "bring it back from a backup; if it is lost, take the authority away (rm "
                f"{self.folder}/ca.*), run site.yml, and let all clients trust the new one"
            )
        if present is not None and ahead(present, self.host.clock.now()):
            begins = day(present.not_before)
            raise HostError(
                f"certificates: by this host's clock the authority is valid only from {begins} on: "
                "set the clock right (timedatectl); if it is right, and was wrong when the "
                f"authority was made, take that away (rm {self.folder}/ca.*), run site.yml, and "
                "let all clients trust the new one"
            )
        if present is not None and present.key_matches and self._is_current(present):
            raise HostError(
                f"certificates: openssl gave two answers about {self.folder}/ca.crt: run again"
            )
        if self.alone:
            raise HostError(
                f"certificates: {why}, and all clients would have to be made to trust a new one: "
                "run site.yml, which makes it"
            )
        self.actions.append(f"an authority was made, because {why}")
        if self.check:
            return
        self.issued.require_key()
        key = self.pki.key("ec")
        made = self.pki.authority(key, self._name(), self.settings.names, self.settings.ca_days)
        self.files.remove("ca_previous.crt", "ca_cross.crt")
        self.files.write("ca_next.key", key)
        self.files.write("ca_next.crt", made)
        self.promote()

    def _replace(self, present: Certificate | None, why: str) -> None:
        """Makes an authority that the present one also signs."""
        assert present is not None
        if not covered([self.settings.hostname], present.permitted):
            # A cross certificate is useless for a name for which the old one may not vouch.
            self._begin(f"{why}; all clients must be made to trust it")
            return
        if present.path_length == 0:
            raise HostError(
                f"certificates: {why}, but it was made without the right to sign another, so "
                "clients cannot be led from it to a new one: take it away on the host "
                f"(rm {self.folder}/ca.*), run site.yml, and let all clients trust the new one"
            )
        self.actions.append(f"a new authority replaces the present one, because {why}")
        if self.check:
            return
        self.issued.require_key()
        names, name = self.settings.names, self._name()
        old = (self.files.read("ca.crt"), self.files.read("ca.key"))
        days = days_left(present, self.host.clock.now(), self.settings.ca_days)
        key = self.pki.key("ec")
        made = self.pki.authority(key, name, names, self.settings.ca_days)
        cross = self.pki.cross(key, name, names, old, days)
        self.files.write("ca_next.key", key)
        self.files.write("ca_next_cross.crt", cross)
        self.files.write("ca_next.crt", made)
        self.promote()

    def _name(self) -> str:
        return authority_name(self.settings.hostname, self.host.clock.now())

    def promote(self) -> None:
        """Moves the files of ca_next to their places. After a kill it can be repeated."""
        if self.check or not exists(self.folder / "ca_next.crt"):
            # Its certificate is written last: without that, the other files are incomplete.
            if not self.check:
                self.files.remove("ca_next.key", "ca_next_cross.crt")
            return
        next_certificate = self.files.read("ca_next.crt")
        if self.files.read("ca.crt") != next_certificate and exists(
            self.folder / "ca_next_cross.crt"
        ):
            self.files.write("ca_previous.crt", self.files.read("ca.crt"))
        if exists(self.folder / "ca_next_cross.crt"):
            self.files.write("ca_cross.crt", self.files.read("ca_next_cross.crt"))
        if exists(self.folder / "ca_next.key"):
            self.files.write("ca.key", self.files.read("ca_next.key"))
        self.files.write("ca.crt", next_certificate)
        self.files.remove("ca_next_cross.crt", "ca_next.key", "ca_next.crt")
