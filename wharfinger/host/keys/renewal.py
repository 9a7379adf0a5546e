"""Renews keys and certificates, for a deployment and for an operator's playbook.

certificates  a deployment: makes what is missing, and renews the server's certificate in time
rotate        an operator: replaces signing key, server's certificate or authority, or what is due
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..system import clock_check
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import exists
from ..system.state import State
from . import settings as key_settings
from .expiry import moment, next_steps
from .rotation import Signing
from .server_certificate import Outcome, ServerCertificate
from .settings import Settings

WHAT = ("signing", "tls", "ca", "all", "due")
# Seconds between the certificates and the token server in a deployment that builds images.
_DEPLOYMENT = 900.0


@dataclass
class Renewal:
    """The keys and certificates of one host under these settings. `alone`: the timer acts, without
    a person."""

    host: Host
    state: State
    settings: Settings
    check: bool = False
    alone: bool = False
    outcome: Outcome = field(default_factory=Outcome)

    @property
    def server(self) -> ServerCertificate:
        return ServerCertificate(
            self.host, self.state, self.settings, self.check, self.alone, self.outcome
        )

    @contextmanager
    def signing_key(self) -> Iterator[Signing]:
        """The signing key. After the body, a rotation continues as far as it can now."""
        key = Signing(self.host, self.state, self.settings, check=self.check)
        try:
            yield key
            self.outcome.until = key.advance() or self.outcome.until
        finally:
            self.outcome.actions += key.actions

    def news(self) -> list[str]:
        """Actions after which an operator has something to do."""
        actions = self.outcome.actions
        return [action for action in actions if action.startswith("a new authority replaces")]


def certificates(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`certificates`: makes and publishes what is missing, and renews the server's certificate in
    time. The timer rotates the signing key.

    Request: {"settings": see settings.py, "signed": what an offline key has signed, or null,
    "clock_is_right": whether a person says so}. Returns `ca` (the authority's certificate for
    clients, PEM, "" if they need none), `wanted` (what the offline key must sign, or null),
    `notes`, `next` and `until`. Raises InDoubt if something is due and the clock is in doubt.
    """
    settings = key_settings.read(request["settings"])
    state = host.store.load()
    renewal = Renewal(host, state, settings, check)
    _remember_lifetime(host, state, settings, check)
    try:
        previous = key_settings.load(host)
        same_place = (previous.hostname, previous.port) == (settings.hostname, settings.port)
    except HostError:
        same_place = True
    in_doubt = clock_check.doubt(host, confirmed=bool(request.get("clock_is_right")), check=check)
    if in_doubt and not request.get("signed"):
        _hold(renewal, in_doubt)
    renewal.outcome.actions += key_settings.store(host, settings, check)
    with renewal.signing_key() as key:
        key.ensure()
    # An ACME server sends requests to this host, which must serve first: see `rotate`.
    # nginx serves another name or port only after the site with them is in place.
    renewal.server.ensure(signed=request.get("signed"), by_acme=False, to_nginx=same_place)
    return answer(renewal)


def _hold(renewal: Renewal, in_doubt: str) -> None:
    """Raises InDoubt if a key or certificate would be made while the clock is in doubt."""
    dry = Renewal(renewal.host, renewal.state, renewal.settings, check=True)
    with dry.signing_key() as key:
        key.ensure()
    dry.server.by_own_authority()
    if dry.outcome.actions or dry.outcome.wanted is not None:
        raise clock_check.InDoubt(f"certificates: nothing was made or renewed: {in_doubt}")


def _remember_lifetime(host: Host, state: State, settings: Settings, check: bool) -> None:
    """Records how long tokens with an earlier, longer lifetime are valid: the token server issues
    them until it has the new lifetime, and a rotation must wait for them."""
    try:
        previous = key_settings.load(host).token_lifetime
    except HostError:
        return
    until = host.clock.now() + previous + _DEPLOYMENT
    if previous > settings.token_lifetime and until > state.tokens_until and not check:
        state.tokens_until = until
        host.store.save(state)


def rotate(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`rotate`: goes as far as it can without waiting; the next call continues.

    Request: {"what": one of WHAT, "revoke": false, "finish": false, "signed": what an offline key
    has signed, or null, "clock_is_right": whether a person says so}. The settings are those of the
    last deployment: site.yml brings edits of the inventory. Returns what `certificates` returns,
    and `wait`: seconds until it can continue, or null. Raises InDoubt if `what` is "due" and the
    clock is in doubt.
    """
    what = str(request.get("what") or "due")
    if what not in WHAT:
        raise HostError(f"rotate: {what!r} is none of {', '.join(WHAT)}")
    state = host.store.load()
    settings = key_settings.load(host)
    renewal = Renewal(host, state, settings, check)
    in_doubt = clock_check.doubt(host, confirmed=bool(request.get("clock_is_right")), check=check)
    if in_doubt and what == "due":
        raise clock_check.InDoubt(f"certificates: nothing was renewed: {in_doubt}")
    revoke, finish = bool(request.get("revoke")), bool(request.get("finish"))
    signed = request.get("signed")
    # What may refuse comes first, so that nothing is left half done.
    if what in ("ca", "all") and settings.tls_source == "own_ca":
        renewal.server.another_authority(finish=finish, signed=signed)
    elif what != "signing":
        renewal.server.ensure(force=what in ("tls", "all"), signed=signed)
    if what in ("signing", "all") and settings.auth == "token":
        with renewal.signing_key() as key:
            key.begin(revoke=revoke)
    elif what == "due":
        with renewal.signing_key() as key:
            key.begin_if_due()
    return answer(renewal)


def answer(renewal: Renewal) -> dict[str, Any]:
    outcome, host = renewal.outcome, renewal.host
    text = host.paths.for_clients
    answer: dict[str, Any] = {
        "actions": outcome.actions,
        "notes": outcome.notes,
        "ca": text.read_text() if exists(text) else "",
        "wanted": outcome.wanted and outcome.wanted.answer(),
        "next": next_steps(host, renewal.state),
        "until": outcome.until,
        "wait": None,
    }
    if outcome.until is not None:
        answer["wait"] = max(0, round(outcome.until - host.clock.now() + 0.5))
        answer["until_text"] = moment(outcome.until)
    return answer
