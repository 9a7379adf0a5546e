"""Certificates and keys, kept: by a deployment, and by an operator's playbook.

certificates  a deployment: what is missing is made, the server's certificate is renewed in time
rotate        an operator: another signing key, server's certificate or authority, or what is due
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..rollout import proxy
from ..system import clock_check
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import exists, read_bytes, write_atomically
from ..system.state import State
from . import certificates, keeping, publication
from .authority import Authority, Wanted
from .due import DAY, renew_from
from .keeping import Settings
from .rotation import NEXT, WAIT, Signing

if TYPE_CHECKING:
    from . import acme

WHAT = ("signing", "tls", "ca", "all", "due")
# Seconds until a new certificate must be what clients are given.
_PATIENCE = 10.0
# Seconds from the certificates to the token server in a deployment that builds images on its way.
_DEPLOYMENT = 900.0


@dataclass
class _Done:
    """What came of it. until: when a rotation goes on; wanted: what an offline key must sign."""

    actions: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    until: float | None = None
    wanted: Wanted | None = None


@dataclass
class Keeper:
    """The certificates of one host under these settings. `alone`: the timer acts, no person."""

    host: Host
    state: State
    settings: Settings
    check: bool = False
    alone: bool = False
    done: _Done = field(default_factory=_Done)

    # -- the signing key ---------------------------------------------------------------------------

    def signing(self, act: Callable[[Signing], None]) -> None:
        one = Signing(self.host, self.state, self.settings, check=self.check)
        try:
            act(one)
            self.done.until = one.advance() or self.done.until
        finally:
            self.done.actions += one.actions

    # -- the server's certificate ------------------------------------------------------------------

    def authority(self, act: Callable[[Authority], None]) -> None:
        one = Authority(self.host, self.settings, self.check, self.alone)
        try:
            act(one)
        finally:
            self.done.actions += one.actions
            self.done.notes += one.notes

    def server(
        self,
        *,
        anew: bool = False,
        signed: Mapping[str, str] | None = None,
        by_acme: bool = True,
        to_nginx: bool = True,
    ) -> None:
        """The server's certificate is there and not about to end, whoever issues it. `anew`: a new
        one in any case. Without `to_nginx` it is served only with the site (`site`)."""
        source, problem = self.settings.tls_source, None
        if source == "acme" and not self.check:
            try:
                self._by_acme(anew, ask=by_acme)
            except HostError as found:
                problem = found  # meanwhile what there is must not end
        self.own_server(anew=anew, signed=signed)
        self.publish(to_nginx=to_nginx)
        if problem is not None:
            raise problem

    def own_server(self, *, anew: bool = False, signed: Mapping[str, str] | None = None) -> None:
        """The same for the host's own authority, where that issues it; not published yet."""
        if not self.settings.has_own_ca or self._foreign():
            return
        if self.settings.ca_offline:
            self._by_offline_key(anew, signed)
        elif anew and self.settings.tls_source == "own_ca":
            self.authority(Authority.renew_server)
        else:
            self.authority(Authority.keep)

    def _foreign(self) -> bool:
        """Whether a usable certificate of an ACME server is in place."""
        if self.settings.tls_source != "acme":
            return False
        folder = self.host.paths.certificates
        found = certificates.facts(self.host.runner, folder / "tls.crt", folder / "tls.key")
        return (
            found is not None
            and bool(found["key_matches"])
            and float(str(found["not_after"])) > self.host.clock.now()
            and not certificates.issued_by(self.host.runner, folder / "tls.crt", folder / "ca.crt")
        )

    def _by_acme(self, anew: bool, ask: bool) -> None:
        """The ACME server's certificate is in place; without `ask`, the one that came last."""
        from . import acme  # only here: few hosts need it

        if not ask:
            got = acme.last(self.host, self.settings.raw)
            if got is not None:
                self._install(got)
            return
        try:
            got = acme.obtain(self.host, self.settings.raw, force=anew, now=not self.alone)
        except acme.AcmeError as problem:
            # Once per attempt: the fetch of the challenge path takes its time.
            doubts = acme.reachability(self.host, self.settings.raw) if problem.tried else []
            raise HostError("\n".join([str(problem), *doubts])) from problem
        if got.new:
            self.done.notes += acme.reachability(self.host, self.settings.raw)
        self._install(got)

    def _install(self, got: acme.Obtained) -> None:
        folder = self.host.paths.certificates
        present = (read_bytes(folder / "tls.crt"), read_bytes(folder / "tls.key"))
        if present == (got.chain, got.key):
            return
        # Between the two they do not fit, and nginx keeps what it has.
        write_atomically(folder / "tls.key", got.key, 0o600)
        write_atomically(folder / "tls.crt", got.chain, 0o644)
        self.done.actions.append(f"{folder}/tls.crt: the ACME server's certificate is in place")

    def _by_offline_key(
        self, anew: bool, signed: Mapping[str, str] | None, follow: bool = False
    ) -> None:
        """What the key's keeper has signed is in place, or is asked for."""

        def act(one: Authority) -> None:
            if signed:
                one.accept(signed)
            asks = not signed
            self.done.wanted = one.wanted(anew=anew and asks, follow=follow and asks)

        self.authority(act)

    def another_authority(
        self, *, finish: bool = False, signed: Mapping[str, str] | None = None
    ) -> None:
        """Another authority follows the present one, or (`finish`) the one before goes."""
        if finish and not signed:
            self.authority(Authority.forget if self.settings.ca_offline else Authority.finish)
        if self.settings.ca_offline:
            self._by_offline_key(False, signed, follow=not finish)
        elif not finish:
            self.authority(Authority.rotate)
        self.publish()

    def publish(self, *, to_nginx: bool = True) -> None:
        """nginx, then clients and docker on this host, have what there is now; what nginx really
        serves is looked at."""
        host, check = self.host, self.check
        served = publication.served(host) if to_nginx else None
        if served is not None:
            actions = proxy.apply(
                host, self.state, proxy.serving_now(self.state), tls=served, check=check
            )
            self.done.actions += actions
            if actions and not check and exists(host.paths.site):
                self._look_at_what_is_served()
        self.done.actions += publication.for_clients(
            host, self.state, self.settings.tls_source, self.settings.trusted_by_docker, check
        )

    def news(self) -> list[str]:
        """What was done that an operator has to take up."""
        return [one for one in self.done.actions if one.startswith("an authority follows")]

    def _look_at_what_is_served(self) -> None:
        found = certificates.facts(self.host.runner, self.host.paths.certificates / "tls.crt")
        assert found is not None
        deadline = self.host.clock.now() + _PATIENCE
        while True:
            seen = self.host.served("127.0.0.1", self.settings.port, self.settings.hostname, 5)
            if seen == found["fingerprint"]:
                return
            if self.host.clock.now() >= deadline:
                raise HostError(
                    f"nginx was given a new certificate for {self.settings.hostname}, but "
                    f"{'another' if seen else 'none'} is served at port {self.settings.port}: "
                    "look at `nginx -T` and /var/log/nginx/error.log"
                )
            self.host.clock.sleep(0.2)


def next_steps(host: Host, state: State) -> list[str]:
    """What is under way, one sentence each, for people."""
    found = []
    if state.rotation is not None:
        text = NEXT[state.rotation.step]
        if state.rotation.step == WAIT and state.rotation.until is not None:
            text += f" (until {_moment(state.rotation.until)})"
        found.append(f"{text}; the timer goes on with it, or playbooks/rotate_certificates.yml")
    before = _authority_before(host)
    if before is not None:
        found.append(
            f"clients may still know only the authority before, which ends {day(before)}: once "
            "all trust the present one, run playbooks/rotate_certificates.yml -e rotate=ca -e "
            "finish=true"
        )
    return found


def _authority_before(host: Host) -> dict[str, Any] | None:
    """The authority that clients may still know alone; None where the server's certificate is not
    the host's own."""
    try:
        if keeping.load(host).tls_source != "own_ca":
            return None
    except HostError:
        return None
    return certificates.facts(host.runner, host.paths.certificates / "ca_previous.crt")


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def day(found: Mapping[str, Any]) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(float(found["not_after"])))


# -- the commands ----------------------------------------------------------------------------------


def keep(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`certificates`: what is missing is made and published; the server's certificate is renewed in
    time. The signing key's rotation is the timer's.

    Request: {"settings": see keeping.py, "signed": what an offline key has signed, or null,
    "clock_is_right": whether a person says so}. Returns `ca` (the authority's certificate for
    clients, PEM, "" where none is needed), `wanted` (what the offline key has to sign, or null),
    `notes`, `next` and `until`. Raises InDoubt where something is due and the clock is in doubt.
    """
    settings = keeping.read(request["settings"])
    state = host.store.load()
    keeper = Keeper(host, state, settings, check)
    _remember_lifetime(host, state, settings, check)
    try:
        before = keeping.load(host)
        same_place = (before.hostname, before.port) == (settings.hostname, settings.port)
    except HostError:
        same_place = True
    in_doubt = clock_check.doubt(host, confirmed=bool(request.get("clock_is_right")), check=check)
    if in_doubt and not request.get("signed"):
        _hold(keeper, in_doubt)
    keeper.done.actions += keeping.store(host, settings, check)
    keeper.signing(Signing.keep)
    # An ACME server asks at this very host, which has to serve first: see `rotate`.
    # Under another name or port nginx serves it only together with the site that has them.
    keeper.server(signed=request.get("signed"), by_acme=False, to_nginx=same_place)
    return answer(keeper)


def _hold(keeper: Keeper, in_doubt: str) -> None:
    """Raises InDoubt where a key or certificate would be made by a clock that is in doubt."""
    dry = Keeper(keeper.host, keeper.state, keeper.settings, check=True)
    dry.signing(Signing.keep)
    dry.own_server()
    if dry.done.actions or dry.done.wanted is not None:
        raise clock_check.InDoubt(f"certificates: nothing was made or renewed: {in_doubt}")


def _remember_lifetime(host: Host, state: State, settings: Settings, check: bool) -> None:
    """Tokens of an earlier, longer lifetime are still about, and are given out until the token
    server has the new one: a rotation waits for those too."""
    try:
        before = keeping.load(host).token_lifetime
    except HostError:
        return
    until = host.clock.now() + before + _DEPLOYMENT
    if before > settings.token_lifetime and until > state.tokens_until and not check:
        state.tokens_until = until
        host.store.save(state)


def rotate(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`rotate`: goes as far as it goes without waiting; called again, it goes on.

    Request: {"what": one of WHAT, "revoke": false, "finish": false, "signed": what an offline key
    has signed, or null, "clock_is_right": whether a person says so}. The settings are those of the
    last deployment: an edit of the inventory comes into force by site.yml. Returns what
    `certificates` returns, and `wait`: seconds until it goes on, or null. Raises InDoubt where what
    is due is asked for and the clock is in doubt.
    """
    what = str(request.get("what") or "due")
    if what not in WHAT:
        raise HostError(f"rotate: {what!r} is none of {', '.join(WHAT)}")
    state = host.store.load()
    settings = keeping.load(host)
    keeper = Keeper(host, state, settings, check)
    in_doubt = clock_check.doubt(host, confirmed=bool(request.get("clock_is_right")), check=check)
    if in_doubt and what == "due":
        raise clock_check.InDoubt(f"certificates: nothing was renewed: {in_doubt}")
    revoke, finish = bool(request.get("revoke")), bool(request.get("finish"))
    signed = request.get("signed")
    # What refuses comes first: nothing is half done then.
    if what in ("ca", "all") and settings.tls_source == "own_ca":
        keeper.another_authority(finish=finish, signed=signed)
    elif what != "signing":
        keeper.server(anew=what in ("tls", "all"), signed=signed)
    if what in ("signing", "all") and settings.auth == "token":
        keeper.signing(lambda one: one.begin(revoke=revoke))
    elif what == "due":
        keeper.signing(begin_if_due)
    return answer(keeper)


def begin_if_due(one: Signing) -> None:
    one.take_up_strays()
    if one.state.rotation is None and one.due():
        one.begin(revoke=False)


def answer(keeper: Keeper) -> dict[str, Any]:
    done, host = keeper.done, keeper.host
    text = host.paths.for_clients
    answer: dict[str, Any] = {
        "actions": done.actions,
        "notes": done.notes,
        "ca": text.read_text() if exists(text) else "",
        "wanted": done.wanted and done.wanted.answer(),
        "next": next_steps(host, keeper.state),
        "until": done.until,
        "wait": None,
    }
    if done.until is not None:
        answer["wait"] = max(0, round(done.until - host.clock.now() + 0.5))
        answer["until_text"] = _moment(done.until)
    return answer


def expiring(host: Host, settings: Settings) -> list[str]:
    """What nears its end and no timer can renew, or what one should have renewed long ago."""
    folder, now, found = host.paths.certificates, host.clock.now(), []
    tls = certificates.facts(host.runner, folder / "tls.crt")
    if tls is not None and now > renew_from(tls, settings.renew_days):
        if settings.tls_source == "provided":
            found.append(
                f"certificates: the provided certificate ends {day(tls)}: bring its successor "
                "and run site.yml"
            )
        elif now > float(str(tls["not_after"])) - DAY:
            found.append(f"certificates: the server's certificate ends {day(tls)}")
    before = _authority_before(host)
    if before is not None and now > float(str(before["not_after"])) - settings.renew_days * DAY:
        found.append(
            f"certificates: the authority before ends {day(before)}, and clients may know only "
            "that one: let all trust the present one, then run "
            "playbooks/rotate_certificates.yml -e rotate=ca -e finish=true"
        )
    authority = certificates.facts(host.runner, folder / "ca.crt")
    if (
        authority is not None
        and settings.tls_source == "own_ca"
        and now > float(str(authority["not_after"])) - settings.renew_days * DAY
    ):
        found.append(
            f"certificates: the authority ends {day(authority)}: run "
            "playbooks/rotate_certificates.yml -e rotate=ca"
        )
    return found
