"""The server's certificate from any issuer: renewed in time, published, and checked as served."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..rollout import proxy
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import exists, read_bytes, write_atomically
from ..system.state import State
from . import certificates, publication
from .authority import Authority
from .offline_key import OfflineKey, Wanted
from .settings import Settings

if TYPE_CHECKING:
    from . import acme

# Seconds until nginx must serve a new certificate.
_PATIENCE = 10.0


@dataclass
class Outcome:
    """The result. until: when a rotation can go on; wanted: what an offline key must sign."""

    actions: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    until: float | None = None
    wanted: Wanted | None = None


@dataclass
class ServerCertificate:
    """The server's certificate of one host. `alone`: the timer acts, without a person."""

    host: Host
    state: State
    settings: Settings
    check: bool
    alone: bool
    outcome: Outcome

    @contextmanager
    def _authority(self) -> Iterator[Authority]:
        """The host's own authority. Its actions are in the outcome, even if the body fails."""
        authority = Authority(self.host, self.settings, self.check, self.alone)
        try:
            yield authority
        finally:
            self.outcome.actions += authority.actions
            self.outcome.notes += authority.notes

    def ensure(
        self,
        *,
        force: bool = False,
        signed: Mapping[str, str] | None = None,
        by_acme: bool = True,
        to_nginx: bool = True,
    ) -> None:
        """Ensures a server's certificate that is not about to end, from any issuer. `force`: always
        a new one. Without `to_nginx` it is not served before `site` runs."""
        source, problem = self.settings.tls_source, None
        if source == "acme" and not self.check:
            try:
                self._by_acme(force, ask=by_acme)
            except HostError as failure:
                problem = failure  # the present certificate must not end meanwhile
        self.by_own_authority(force=force, signed=signed)
        self.publish(to_nginx=to_nginx)
        if problem is not None:
            raise problem

    def by_own_authority(
        self, *, force: bool = False, signed: Mapping[str, str] | None = None
    ) -> None:
        """The same, if the host's own authority issues it; nothing is published yet."""
        if not self.settings.has_own_ca or self._foreign():
            return
        if self.settings.ca_offline:
            self._by_offline_key(force, signed)
            return
        with self._authority() as authority:
            if force and self.settings.tls_source == "own_ca":
                authority.renew_server()
            else:
                authority.ensure()

    def _foreign(self) -> bool:
        """Whether a usable certificate of an ACME server is in place."""
        if self.settings.tls_source != "acme":
            return False
        folder = self.host.paths.certificates
        certificate = certificates.facts(self.host.runner, folder / "tls.crt", folder / "tls.key")
        return (
            certificate is not None
            and bool(certificate.key_matches)
            and certificate.not_after > self.host.clock.now()
            and not certificates.issued_by(self.host.runner, folder / "tls.crt", folder / "ca.crt")
        )

    def _by_acme(self, force: bool, ask: bool) -> None:
        """Installs the ACME server's certificate; without `ask`, the last one."""
        from . import acme  # only here: 30 ms that hosts without ACME save

        if not ask:
            obtained = acme.last(self.host, self.settings.raw)
            if obtained is not None:
                self._install(obtained)
            return
        try:
            obtained = acme.obtain(self.host, self.settings.raw, force=force, now=not self.alone)
        except acme.AcmeError as problem:
            # Only once per attempt: the request for the challenge path takes time.
            doubts = acme.reachability(self.host, self.settings.raw) if problem.tried else []
            raise HostError("\n".join([str(problem), *doubts])) from problem
        if obtained.new:
            self.outcome.notes += acme.reachability(self.host, self.settings.raw)
        self._install(obtained)

    def _install(self, obtained: acme.Obtained) -> None:
        folder = self.host.paths.certificates
        present = (read_bytes(folder / "tls.crt"), read_bytes(folder / "tls.key"))
        if present == (obtained.chain, obtained.key):
            return
        # In between they do not match, and nginx keeps its certificate.
        write_atomically(folder / "tls.key", obtained.key, 0o600)
        write_atomically(folder / "tls.crt", obtained.chain, 0o644)
        self.outcome.actions.append(f"{folder}/tls.crt: the ACME server's certificate is in place")

    def _by_offline_key(
        self, force: bool, signed: Mapping[str, str] | None, replace: bool = False
    ) -> None:
        """Installs what the key's keeper has signed, or requests it."""
        with self._authority() as authority:
            key = OfflineKey(authority)
            if signed:
                key.accept(signed)
            asks = not signed
            self.outcome.wanted = key.wanted(force=force and asks, replace=replace and asks)

    def another_authority(
        self, *, finish: bool = False, signed: Mapping[str, str] | None = None
    ) -> None:
        """Replaces the authority, or (with `finish`) removes the previous one."""
        with self._authority() as authority:
            if finish and not signed:
                if self.settings.ca_offline:
                    authority.forget()
                else:
                    authority.finish()
            elif not finish and not self.settings.ca_offline:
                authority.rotate()
        if self.settings.ca_offline:
            self._by_offline_key(False, signed, replace=not finish)
        self.publish()

    def publish(self, *, to_nginx: bool = True) -> None:
        """Gives the present certificate to nginx, and the authority to clients and docker on this
        host; then checks what nginx really serves."""
        host, check = self.host, self.check
        served = publication.served(host) if to_nginx else None
        if served is not None:
            actions = proxy.apply(
                host, self.state, proxy.serving_now(self.state), tls=served, check=check
            )
            self.outcome.actions += actions
            if actions and not check and exists(host.paths.site):
                self._look_at_what_is_served()
        self.outcome.actions += publication.for_clients(
            host, self.state, self.settings.tls_source, self.settings.trusted_by_docker, check
        )

    def _look_at_what_is_served(self) -> None:
        certificate = certificates.facts(self.host.runner, self.host.paths.certificates / "tls.crt")
        assert certificate is not None
        deadline = self.host.clock.now() + _PATIENCE
        while True:
            seen = self.host.served("127.0.0.1", self.settings.port, self.settings.hostname, 5)
            if seen == certificate.fingerprint:
                return
            if self.host.clock.now() >= deadline:
                raise HostError(
                    f"nginx was given a new certificate for {self.settings.hostname}, but "
                    f"{'another' if seen else 'none'} is served at port {self.settings.port}: "
                    "look at `nginx -T` and /var/log/nginx/error.log"
                )
            self.host.clock.sleep(0.2)
