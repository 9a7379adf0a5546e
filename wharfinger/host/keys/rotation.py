"""Makes the token signing key, and rotates it so that no token is refused before it expires.

Each step is recorded in state.json before the next begins, so a killed step is repeated:

  trust    make the next key; every process of the registry trusts it too
  sign     every process of the token server signs with it
  wait     until all tokens of the previous key have expired, plus the registry's leeway
  forget   the registry trusts only the new key
  revoke   instead of all these: switch to the new key at once; tokens of the old one are refused

The trusted certificates are in the registry's live directory, which every generation reads at its
start, also one that docker restarts or that a rollback returns to.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..rollout.generations import Generations, generations_of
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import exists, read_bytes, read_text, write_atomically
from ..system.names import REGISTRY, TOKEN_SERVER
from ..system.signing_keys import SIGNS_WITH
from ..system.state import KINDS, Rotation, State
from . import certificates, publication
from .due import aged
from .pki import Pki
from .settings import Settings

TRUST, SIGN, WAIT, FORGET, REVOKE = "trust", "sign", "wait", "forget", "revoke"
# Seconds by which the registry accepts a token after its end (distribution's leeway).
LEEWAY = 60

NEXT = {
    TRUST: "the registry is going to trust the next signing key",
    SIGN: "the token server is going to sign with the next key",
    WAIT: "the tokens of the previous signing key are running out",
    FORGET: "the registry is going to trust the present signing key only",
    REVOKE: "the previous signing key is being revoked",
}


class Signing:
    """The signing key of one host. `actions`: what was done (with `check`: would be done)."""

    def __init__(
        self, host: Host, state: State, settings: Settings, *, check: bool = False
    ) -> None:
        self.host = host
        self.state = state
        self.settings = settings
        self.check = check
        self.folder = host.paths.certificates
        self.pki = Pki(host.runner, self.folder)
        self.actions: list[str] = []

    def _path(self, name: str) -> Path:
        return self.folder / name

    def _write(self, name: str, data: bytes) -> None:
        write_atomically(self._path(name), data, 0o600 if name.endswith(".key") else 0o644)

    def _step(self, step: str) -> None:
        assert self.state.rotation is not None
        self.state.rotation.step = step
        self.host.store.save(self.state)

    # -- what is to be done ------------------------------------------------------------------------

    def ensure(self) -> None:
        """Ensures a key with its certificate, and publishes them. A lost key is replaced by a
        rotation, so that its tokens are valid until they expire."""
        if self.settings.auth != "token":
            self._no_tokens()
            return
        self.take_up_strays()
        key, certificate = self._path("signing.key"), self._path("signing.crt")
        facts = certificates.facts(self.host.runner, certificate, key)
        if self.state.rotation is None and not (facts and facts.key_matches):
            if exists(certificate) and self.state.kind(TOKEN_SERVER).serving is not None:
                self.actions.append("the signing key is lost and is being replaced")
                self.begin(revoke=False)
                return
            self.actions.append("the signing key and its certificate were made")
            if not self.check:
                # A key that has only lost its certificate stays: its tokens are still valid.
                if exists(certificate) or not exists(key):
                    self._write("signing.key", self.pki.signing_key(self._algorithm()))
                self._certify("signing")
        elif self.state.rotation is None and facts and not self._can_sign(facts.algorithm):
            self.actions.append(
                f"the signing key is {facts.algorithm}, with which docker_auth cannot sign: it "
                "is rotated to RSA first"
            )
            self.begin(revoke=False)
            return
        if self.state.rotation is None or self.state.rotation.step == WAIT:
            self._publish()  # the other steps do it themselves

    def _can_sign(self, algorithm: object) -> bool:
        """Whether the token server in the inventory can sign with such a key."""
        return algorithm in ("", *SIGNS_WITH[self.settings.token_server])

    def _algorithm(self) -> str:
        """The next key's algorithm: the first with which the inventory's token server signs and
        the serving generations work. After a rollback to a release that only knew RSA, it is
        RSA."""
        return next(
            algorithm
            for algorithm in SIGNS_WITH[self.settings.token_server]
            if all(self._generations(kind).records.works_with(algorithm) for kind in KINDS)
        )

    def _no_tokens(self) -> None:
        """Ends a rotation: a registry that checks passwords itself trusts no key."""
        if self.state.rotation is not None and not self.check:
            for name in ("signing_next.crt", "signing_next.key", "signing_previous.crt"):
                self._path(name).unlink(missing_ok=True)
            self._end()

    def take_up_strays(self) -> None:
        """Handles keys of a rotation that is not on record (state.json was lost or restored). A key
        that has signed is trusted until its tokens have expired."""
        if self.check or self.state.rotation is not None or self.settings.auth != "token":
            return
        if exists(self._path("signing_previous.crt")):
            now = self.host.clock.now()
            self.state.rotation = Rotation(step=WAIT, since=now, until=self._tokens_end())
            self.host.store.save(self.state)
            self.actions.append(
                "a previous signing key was found: it is trusted until its tokens expire"
            )
        else:
            for name in ("signing_next.crt", "signing_next.key"):
                self._path(name).unlink(missing_ok=True)

    def due(self) -> bool:
        """Whether the key's certificate is near its end."""
        certificate = certificates.facts(
            self.host.runner, self._path("signing.crt"), self._path("signing.key")
        )
        return self.settings.auth == "token" and aged(
            certificate, self.host.clock.now(), self.settings.renew_days
        )

    def begin(self, *, revoke: bool) -> None:
        """Begins a rotation; `advance` carries it out. `revoke` also changes one under way."""
        if self.check:
            if self.state.rotation is None or revoke:
                self.actions.append("the signing key is being replaced")
            return
        if self.state.rotation is None:
            step = REVOKE if revoke else TRUST
            self.state.rotation = Rotation(step=step, since=self.host.clock.now())
            self.host.store.save(self.state)
            self.actions.append("the signing key is being replaced")
        elif revoke:
            self._step(REVOKE)

    def begin_if_due(self) -> None:
        """The same if the key's certificate is near its end and no rotation is under way."""
        self.take_up_strays()
        if self.state.rotation is None and self.due():
            self.begin(revoke=False)

    def advance(self) -> float | None:
        """Continues the rotation as far as it can now. Returns when it can go on (seconds since
        1970); None if nothing is left to do."""
        if self.check or self.state.rotation is None:
            return None
        steps = {
            TRUST: self._trust,
            SIGN: self._sign,
            WAIT: self._wait,
            FORGET: self._forget,
            REVOKE: self._revoke,
        }
        while self.state.rotation is not None:
            until = steps[self.state.rotation.step]()
            if until is not None:
                return until
        return None

    # -- the steps ---------------------------------------------------------------------------------

    def _trust(self) -> None:
        if not exists(self._path("signing_next.crt")):
            self._make_next()
        self._publish()
        self._refresh(REGISTRY)
        self.actions.append("the registry trusts the next signing key too")
        self._step(SIGN)

    def _sign(self) -> None:
        self._promote(keep_previous=True)
        self._publish()
        serves = self._refresh(TOKEN_SERVER)
        self.actions.append("the token server signs with the new key")
        assert self.state.rotation is not None
        if serves:
            self.state.rotation.until = self._tokens_end()
        self._step(WAIT)

    def _wait(self) -> float | None:
        assert self.state.rotation is not None
        until = self.state.rotation.until
        if until is not None and self.host.clock.now() < until:
            return until
        self._step(FORGET)
        return None

    def _forget(self) -> None:
        self._path("signing_previous.crt").unlink(missing_ok=True)
        self._publish()
        self._refresh(REGISTRY)
        self.actions.append("the registry trusts the new signing key only")
        self._end()

    def _revoke(self) -> None:
        # If a rotation is under way, the next key may sign already: then it is revoked too.
        if not exists(self._path("signing_next.crt")):
            self._make_next()
        self._promote(keep_previous=False)
        self._path("signing_previous.crt").unlink(missing_ok=True)
        self._publish()
        restarted = [
            failure
            # docker_auth reads its key only once, so a new process is needed for the registry's
            # check.
            for kind in (TOKEN_SERVER, REGISTRY)
            if (failure := self._refresh_or_restart(kind)) is not None
        ]
        self._end()
        if restarted:
            raise HostError("\n".join(restarted))
        self.actions.append(
            "the old signing key is revoked: its tokens are refused, and requests that were under "
            "way with them were cut off"
        )

    def _refresh_or_restart(self, kind: str) -> str | None:
        """Makes this kind forget the old key; returns a message if that needed a restart."""
        try:
            self._refresh(kind, revoke=True)
            return None
        except HostError as problem:
            # It still uses the old files; after a restart it reads the present ones.
            generations = self._generations(kind)
            serving = generations.serving
            assert serving is not None
            name = generations.records.name(serving.number)
            self.host.engine.stop(name, 0)
            self.host.engine.start(name)
            return (
                f"the old signing key is revoked, for which {name} was started again, because no "
                f"new generation could take its place: {problem}"
            )

    def _end(self) -> None:
        self.state.rotation = None
        self.host.store.save(self.state)

    def _tokens_end(self) -> float:
        """When all tokens that were issued until now have expired. Their lifetime is also read from
        the token server's own file, since a deployment may have ended before it changed that."""
        text = read_text(self.host.paths.token_server / "auth_config.yml") or ""
        expiration = re.search(r"^ +expiration: ([0-9]+)$", text, re.MULTILINE)
        lifetime = max(
            self.settings.token_lifetime, float(expiration.group(1)) if expiration else 0
        )
        return max(self.host.clock.now() + lifetime, self.state.tokens_until) + LEEWAY

    # -- their parts -------------------------------------------------------------------------------

    def _make_next(self) -> None:
        """Writes the certificate last: without it, the next key does not count."""
        self._write("signing_next.key", self.pki.signing_key(self._algorithm()))
        self._certify("signing_next")

    def _certify(self, name: str) -> None:
        key = read_bytes(self._path(f"{name}.key")) or b""
        self._write(
            f"{name}.crt",
            self.pki.signing(key, self.settings.hostname, self.settings.signing_days),
        )

    def _promote(self, *, keep_previous: bool) -> None:
        """Makes the next key the present one. After a kill it can be repeated."""
        next_certificate = read_bytes(self._path("signing_next.crt"))
        if next_certificate is None:
            return
        present = read_bytes(self._path("signing.crt"))
        if keep_previous and present is not None and present != next_certificate:
            self._write("signing_previous.crt", present)
        self._write("signing.key", read_bytes(self._path("signing_next.key")) or b"")
        self._write("signing.crt", next_certificate)
        self._path("signing_next.crt").unlink()
        self._path("signing_next.key").unlink(missing_ok=True)

    def _publish(self) -> None:
        self.actions += publication.signing(self.host, self.check)

    def _generations(self, kind: str, *, revoke: bool = False) -> Generations:
        request = {"drain_timeout": self.settings.drain_timeout, "revoke": revoke}
        return generations_of(self.host, self.state, kind, request)

    def _refresh(self, kind: str, *, revoke: bool = False) -> bool:
        """Gives this kind the present startup inputs, and ends all its older processes. Returns
        whether a generation serves."""
        generations = self._generations(kind, revoke=revoke)
        generations.repair()
        serving = generations.refresh()
        self.actions += generations.actions
        return serving is not None
