"""A certificate from an ACME server (RFC 8555), by Debian's certbot, HTTP-01 through our nginx.

certbot only proves the names and fetches the certificate. It gets a request (`--csr`), so the key
and the decision when to renew are ours, and certbot keeps no records that a kill could leave
incomplete. It has directories of its own, which Debian's certbot.timer and other certbots never
use.

/etc/wharfinger/acme/ACCOUNT/           certbot's --config-dir: the account's key; one for each ACME
                                        directory, e-mail address and external account
/etc/wharfinger/acme/ACCOUNT/last.pem   the last certificate: the requested names, chain and key
/var/lib/wharfinger/acme/               what nginx serves at /.well-known/acme-challenge/
/var/lib/wharfinger/acme-work/          certbot's work and log; the last failure (failed.json)
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...deployment.certificate import Certificate
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import directory, read_bytes, read_text, remove_tree, write_atomically
from ..system.processes import is_own
from ..system.runner import Result
from . import certificates
from .acme_errors import account_is_gone, explain, not_before
from .due import aged, normal
from .pki import Pki, alternative_name

CHALLENGES = "/.well-known/acme-challenge/"

_HOUR = 3600.0
# Let's Encrypt allows five failed checks of a name in an hour.
_FIRST_PAUSE, _LONGEST_PAUSE, _SHORTEST_LIMIT = _HOUR, 12 * _HOUR, _HOUR / 4
_LONGEST_WAIT = 7 * 24 * _HOUR
# certbot itself waits up to 90 s for each of two answers.
_PATIENCE = 600
_FETCH_PATIENCE = 5.0


@dataclass(frozen=True)
class Obtained:
    """The server's certificate with intermediate ones, and its key (PEM). `new`: it was just
    made."""

    chain: bytes
    key: bytes
    new: bool


class AcmeError(HostError):
    """There is no new certificate. `again`: when the timer tries again (seconds since 1970);
    `tried`: False if that time has not come yet, and the message is that of the last attempt."""

    def __init__(self, message: str, again: float, *, tried: bool) -> None:
        super().__init__(message)
        self.again = again
        self.tried = tried


def obtain(
    host: Host, settings: Mapping[str, Any], *, force: bool = False, now: bool = False
) -> Obtained:
    """The certificate for settings["names"]: the last one, or a new one if that is due, has other
    names, or came by another account or directory. The caller holds the host's lock.

    `force`: always a new one. `now`: without the pause after a failure, because a person waits (so
    does `force`). Raises AcmeError if the server gives none, and HostError if no request can be
    made.
    """
    order = _Order(host, settings)
    last = order.last()
    if last is not None and not force and not order.due():
        return last
    if not (force or now):
        order.respect_the_pause()
    return order.place()


def last(host: Host, settings: Mapping[str, Any]) -> Obtained | None:
    """The last certificate for these settings, if it is still valid; nothing is requested."""
    order = _Order(host, settings)
    certificate = order.facts()
    if (
        certificate is None
        or not certificate.key_matches
        or certificate.not_after <= host.clock.now()
    ):
        return None
    return order.last()


class _Order:
    """The order of a certificate: for these names, from one server, by one account."""

    def __init__(self, host: Host, settings: Mapping[str, Any]) -> None:
        acme: Mapping[str, Any] = settings["acme"]
        self.host = host
        self.names = [str(name) for name in settings.get("names") or [settings["hostname"]]]
        self.port = int(settings.get("http_port") or 80)
        self.renew_days = float(settings.get("renew_days", 30))
        self.directory = str(acme["directory"])
        self.email = str(acme.get("email") or "")
        self.kid = str(acme.get("eab_kid") or "")
        self.hmac = str(acme.get("eab_hmac_key") or "")
        self.ca = str(acme.get("ca") or "")
        self.accounts = host.paths.etc / "acme"
        self.folder = self.accounts / account(self.directory, self.email, self.kid)
        self.kept = self.folder / "last.pem"
        self.webroot = host.paths.var / "acme"
        self.work = host.paths.var / "acme-work"
        self.failed = self.work / "failed.json"
        self.log = self.work / "logs" / "letsencrypt.log"

    # -- what there is -----------------------------------------------------------------------------

    def last(self) -> Obtained | None:
        data = read_bytes(self.kept) or b""
        blocks = re.findall(rb"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----\n", data, re.DOTALL)
        if b"CERTIFICATE" not in blocks or not any(b"KEY" in kind for kind in blocks):
            return None
        start, middle = data.index(b"-----BEGIN"), data.rindex(b"-----BEGIN")
        return Obtained(data[start:middle], data[middle:], new=False)

    def facts(self) -> Certificate | None:
        return certificates.facts(self.host.runner, self.kept, self.kept)

    def due(self) -> bool:
        certificate = self.facts()
        first, _, _ = (read_text(self.kept) or "").partition("\n")
        return (
            certificate is None
            or not certificate.key_matches
            or first != self._heading()
            or aged(certificate, self.host.clock.now(), self.renew_days)
        )

    def _heading(self) -> str:
        """The requested names: an authority may add others."""
        return f"names: {' '.join(sorted(normal(self.names)))}"

    # -- asking ------------------------------------------------------------------------------------

    def place(self) -> Obtained:
        self._check()
        self._make_directories()
        self._check_the_proxy()
        request = self.work / "request"
        remove_tree(request)
        request.mkdir(mode=0o700)
        try:
            key = Pki(self.host.runner, request).key("ec")
            chain = self._ask(request, key)
        except _Refused as problem:
            raise self._remember(str(problem)) from None
        finally:
            remove_tree(request)
        head = f"{self._heading()}\n".encode()
        write_atomically(self.kept, head + _ended(chain) + _ended(key), 0o600)
        self.failed.unlink(missing_ok=True)
        self._forget_other_accounts()
        return Obtained(_ended(chain), _ended(key), new=True)

    def _check(self) -> None:
        addresses = [name for name in self.names if alternative_name(name).startswith("IP:")]
        if addresses:
            raise HostError(
                f"certificates: certbot cannot get a certificate for addresses: take "
                f"{', '.join(addresses)} out of registry_extra_hostnames, or write "
                "certificates_tls_source: own_ca"
            )
        for name, text in (
            ("email", self.email),
            ("eab_kid", self.kid),
            ("eab_hmac_key", self.hmac),
        ):
            if re.search(r"[\x00-\x1f\x7f]", text):
                raise HostError(
                    f"certificates_acme_{name}: it has a line break or another control character: "
                    "write it on one line"
                )

    def _check_the_proxy(self) -> None:
        """After a failed request an authority may refuse the next ones for a while, so test
        first."""
        for name in self.names:
            met = _fetch(self.host, name, "127.0.0.1", self.port)
            if met is not None:
                raise HostError(
                    f"certificates: nothing was asked of {self.directory}, because nginx on this "
                    f"host does not hand out {CHALLENGES} of {name} at port {self.port} ({met}): "
                    "run the whole site.yml, and look at `nginx -T` for another site of this name"
                )

    def _make_directories(self) -> None:
        root = self.host.root_id
        for path, mode in (
            (self.accounts, 0o700),
            (self.folder, 0o700),
            (self.work, 0o700),
            # nginx serves files below this one.
            (self.webroot, 0o755),
        ):
            directory(path, mode, root, root, check=False)

    def _ask(self, request: Path, key: bytes) -> bytes:
        """The chain for this key. Raises _Refused with certbot's reason."""
        (request / "key").write_bytes(key)
        self._make_request(request)
        write_atomically(request / "certbot.ini", self._configuration().encode(), 0o600)
        environment = {}
        if self.ca:
            (request / "ca.crt").write_text(self.ca)
            environment["REQUESTS_CA_BUNDLE"] = str(request / "ca.crt")
        said = self._certbot(request, environment)
        if not said.ok and account_is_gone(self._log_of(said)):
            # There is another server at this address, or it was set up again.
            remove_tree(self.folder / "accounts")
            write_atomically(request / "certbot.ini", self._configuration().encode(), 0o600)
            said = self._certbot(request, environment)
        if not said.ok:
            raise _Refused(self._explain(said))
        return self._checked(request)

    def _make_request(self, request: Path) -> None:
        """A request without a subject, like certbot's own: clients only look at the names."""
        said = self.host.runner.run(
            [
                *("openssl", "req", "-new", "-key", str(request / "key"), "-subj", "/"),
                *("-addext", f"subjectAltName={','.join(map(alternative_name, self.names))}"),
                *("-out", str(request / "request.pem")),
            ]
        )
        if not said.ok:
            raise HostError(
                f"openssl req failed ({said.words}): see that the host's openssl is 3.0 or newer"
            )

    def _configuration(self) -> str:
        """certbot's options in a file: arguments are visible to all, and end in certbot's log. The
        external account is only needed, and only given, while there is no account yet."""
        nobody = "register-unsafely-without-email = true"
        lines = [f"email = {self.email}" if self.email else nobody]
        if self.kid and not any(self.folder.glob("accounts/**/regr.json")):
            lines += [f"eab-kid = {self.kid}", f"eab-hmac-key = {self.hmac}"]
        return "\n".join([*lines, ""])

    def _certbot(self, request: Path, environment: Mapping[str, str]) -> Result:
        return self.host.runner.run(
            [
                *("certbot", "certonly", "--non-interactive"),
                *("--config", str(request / "certbot.ini")),
                *("--server", self.directory),
                *("--config-dir", str(self.folder)),
                *("--work-dir", str(self.work)),
                *("--logs-dir", str(self.log.parent)),
                *("--max-log-backups", "10"),
                *("--agree-tos", "--no-eff-email"),
                *("--preferred-challenges", "http"),
                *("--webroot", "--webroot-path", str(self.webroot)),
                *("--csr", str(request / "request.pem")),
                *("--cert-path", str(request / "leaf.pem")),
                *("--chain-path", str(request / "intermediate.pem")),
                *("--fullchain-path", str(request / "chain.pem")),
            ],
            timeout=_PATIENCE,
            environment=environment,
        )

    def _log_of(self, said: Result) -> str:
        """certbot's log, if this attempt has written it."""
        return (read_text(self.log) or "") if "Saving debug log" in said.error else ""

    def _explain(self, said: Result) -> str:
        if said.code == 127:
            return "certbot is not installed: run site.yml, which installs it"
        if said.code == 124:
            return (
                f"certbot did not end within {_PATIENCE} s: see that {self.directory} can be "
                "reached from this host"
            )
        log = self._log_of(said)
        text = explain(said.output, said.error, log, self.directory, (self.hmac,))
        return f"{text} (certbot's log: {self.log})" if "Saving debug log" in said.error else text

    def _checked(self, request: Path) -> bytes:
        certificate = certificates.facts(self.host.runner, request / "chain.pem", request / "key")
        seen = ""
        if certificate is None:
            seen = "it is not a certificate"
        elif not certificate.key_matches:
            seen = "it is for another key"
        elif certificate.not_after <= self.host.clock.now():
            seen = "by this host's clock it has already ended"
        else:
            missing = normal(self.names) - normal(certificate.names)
            seen = f"{', '.join(sorted(missing))} is missing in it" if missing else ""
        if seen:
            raise _Refused(
                f"the certificate from {self.directory} cannot be used: {seen}: look at this "
                "host's clock and at the ACME server"
            )
        return (request / "chain.pem").read_bytes()

    def _forget_other_accounts(self) -> None:
        for path in self.accounts.iterdir():
            if path != self.folder:
                remove_tree(path)

    # -- failures, and when to try again -----------------------------------------------------------

    def _what(self) -> str:
        """A digest of all that a person may have corrected in the inventory."""
        return _digest(self.folder.name, *self.names, self.hmac, self.ca)

    def respect_the_pause(self) -> None:
        failed = self._failed()
        if failed and failed["at"] <= self.host.clock.now() < failed["again"]:
            raise AcmeError(str(failed["message"]), float(failed["again"]), tried=False)

    def _failed(self) -> dict[str, Any]:
        """The last failure; {} if there is none, or it was for another order."""
        try:
            failure = json.loads(read_text(self.failed) or "{}")
            known = {"what", "count", "at", "again", "message"} <= set(failure)
        except (ValueError, TypeError):
            return {}
        return dict(failure) if known and failure["what"] == self._what() else {}

    def _remember(self, seen: str) -> AcmeError:
        now = self.host.clock.now()
        count = int(self._failed().get("count", 0)) + 1
        again = now + self._pause(count)
        again = max(again, min(not_before(seen), now + _LONGEST_WAIT))
        message = f"certificates: {seen}"
        memory = {"what": self._what(), "count": count, "at": now, "again": again}
        text = json.dumps({**memory, "message": message}, indent=1, sort_keys=True)
        write_atomically(self.failed, f"{text}\n".encode(), 0o600)
        return AcmeError(message, again, tried=True)

    def _pause(self, count: int) -> float:
        """Longer each time, but short enough for several attempts before the certificate ends."""
        certificate = self.facts()
        left = certificate.not_after - self.host.clock.now() if certificate else 0.0
        longest = max(_SHORTEST_LIMIT, left / 6) if left > 0 else _LONGEST_PAUSE
        return min(_FIRST_PAUSE * 2.0 ** min(count - 1, 10), longest, _LONGEST_PAUSE)


class _Refused(Exception):
    """An attempt that failed, with the message for people."""


def account(directory: str, email: str, kid: str) -> str:
    """The name of the folder of an account at a server."""
    return _digest(directory, email, kid)[:12]


def accounts(folder: Path) -> list[str]:
    """The accounts by which certificates have come; folder: /etc/wharfinger/acme."""
    return sorted(path.parent.name for path in folder.glob("*/last.pem"))


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _ended(pem: bytes) -> bytes:
    return pem if pem.endswith(b"\n") else pem + b"\n"


# -- where the names lead --------------------------------------------------------------------------


def addresses_of(name: str) -> list[str]:
    """The addresses of `name`, as this host resolves it. Raises OSError if there is none."""
    entries = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


def reachability(
    host: Host,
    settings: Mapping[str, Any],
    *,
    resolve: Callable[[str], list[str]] = addresses_of,
    own: Callable[[str], bool] = is_own,
) -> list[str]:
    """A warning for each name that does not resolve to this host, with the result of a request for
    the challenge path: through NAT, or by another DNS, an ACME server may still reach this host."""
    doubts = []
    for name in settings.get("names") or [settings["hostname"]]:
        try:
            foreign = [address for address in resolve(name) if not own(address)]
        except OSError as problem:
            doubts.append(
                f"certificates: {name} does not resolve on this host ({problem.strerror}): the "
                "ACME server must resolve it by its DNS, and reach port 80 of this host"
            )
            continue
        for address in foreign:
            met = _fetch(host, name, address, 80)
            doubts.append(
                f"certificates: {name} resolves to {address}, which is not an address of this host"
                + (
                    f", but its port 80 leads here ({CHALLENGES} was fetched)"
                    if met is None
                    else f", and a request for {CHALLENGES} there met {met}: unless the ACME "
                    "server sees another DNS entry, let it lead to this host, or forward port 80 "
                    "to it"
                )
            )
    return doubts


def _fetch(host: Host, name: str, address: str, port: int) -> str | None:
    """None if our file was returned, else what happened instead."""
    root = host.root_id
    folder = host.paths.var / "acme"
    for path in (folder, folder / ".well-known", folder / CHALLENGES.strip("/")):
        directory(path, 0o755, root, root, check=False)
    token = f"wharfinger-{secrets.token_urlsafe(16)}"
    content = secrets.token_urlsafe(32)
    path = folder / CHALLENGES.strip("/") / token
    write_atomically(path, content.encode(), 0o644)
    try:
        status, body = host.probe(
            address, port, f"{CHALLENGES}{token}", _FETCH_PATIENCE, {"Host": name}
        )
    except (OSError, http.client.HTTPException) as problem:
        return str(getattr(problem, "strerror", None) or problem or type(problem).__name__)
    finally:
        path.unlink(missing_ok=True)
    if status != 200:
        return f"status {status}"
    return None if body == content.encode() else "another server"
