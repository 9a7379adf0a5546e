"""`verify`: a real login, push, pull and denials, through TLS, as a remote client would do them.

It uses strict TLS with the given authority, and the host's own address under the registry's name;
no proxies, no redirects. It always pushes the same bytes under the same names, so that the storage
does not grow.

The name may not lead to this host yet: many people change DNS last, and until then it does not know
the name, or leads to the previous machine. That gives a warning, and says nothing about the
registry.
"""

from __future__ import annotations

import errno
import http.client
import json
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import urlencode, urlsplit

from ...oci.digests import digest_of
from ...oci.media_types import OCI_IMAGE
from ..backup.recovery import note_deployment
from ..rollout.challenge import Challenge, challenge, claims, error_words, granted
from ..rollout.readiness_check import ACCOUNT, REPOSITORY, TAG, basic
from ..system import restoring
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import exists, read_text
from ..system.processes import is_own, primary_address
from . import observe
from .watching import of_backups

# The account has no rights here.
FORBIDDEN = f"{ACCOUNT}-denied/probe"
_LAYER = b"This blob proves that this registry can be pushed to and pulled from.\n"
_CONFIG = b"{}"
# Seconds for any single answer.
_PATIENCE = 30
# There is no route to the address, or no host at it.
_UNREACHABLE = {errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN}

_ADVICE = {
    "TLS": "look at /etc/wharfinger/certificates and at what else may answer at this address "
    "(openssl s_client)",
    "proxy": "look at `nginx -T` and /var/log/nginx/error.log",
    "token server": "look at `docker logs` of its container (wharfinger-host status names it)",
    "registry": "look at `docker logs` of its container (wharfinger-host status names it)",
    "storage": "look at storage_path: free space, owner and mode (wharfinger-host status)",
}


def failure(hop: str, seen: str, advice: str | None = None) -> HostError:
    """The error: which hop failed, what was seen there, what to look at."""
    return HostError(f"verification failed at {hop}: {seen}: {advice or _ADVICE[hop]}")


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Way:
    """How the host reaches itself under a name.

    resolved: the name's addresses, as the host resolves it. address: the host's own address that is
    used. leads_here: whether the name resolves to the host.
    """

    resolved: list[str]
    address: str
    leads_here: bool

    @classmethod
    def to(cls, hostname: str) -> Way:
        """The way to this host by this name, or else by the address of its default route."""
        resolved = observe.Names([hostname]).answers()[1][hostname]
        own = [address for address in resolved if is_own(address)]
        # Of the addresses of localhost, every nginx listens on the IPv4 one.
        own.sort(key=lambda address: ":" in address)
        return cls(resolved, own[0] if own else primary_address() or "127.0.0.1", bool(own))

    def warning(self, hostname: str) -> str | None:
        """What to enter in DNS if the name does not lead to the host; None if it does."""
        if self.leads_here:
            return None
        leads = (
            f"leads to {', '.join(self.resolved)}, which is not an address of this host"
            if self.resolved
            else "does not resolve on this host"
        )
        kind = "AAAA" if ":" in self.address else "A"
        unless = " (right behind NAT or a load balancer)" if self.resolved else ""
        return (
            f"{hostname} {leads}{unless}. The registry was verified at its own address, "
            f"{self.address}. Clients find it once DNS has: {hostname}. {kind} {self.address}"
        )


class _Connection(http.client.HTTPSConnection):
    """A connection to `address` with another name in SNI, certificate check and Host."""

    def __init__(self, name: str, port: int, address: str, context: ssl.SSLContext) -> None:
        super().__init__(name, port, timeout=_PATIENCE, context=context)
        self._address, self._tls = address, context

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)


class Client:
    """A strict HTTPS client for one registry. Its errors name the hop that failed."""

    def __init__(self, hostname: str, port: int, ca_file: str | None, address: str) -> None:
        self.hostname = hostname
        self.port = port
        self.address = address
        self.base = f"https://{hostname}" + ("" if port == 443 else f":{port}")
        try:
            self._context = ssl.create_default_context(cafile=ca_file)
        except (OSError, ssl.SSLError) as problem:
            raise failure(
                "TLS", f"the authority's certificate {ca_file} cannot be read"
            ) from problem
        self._context.verify_flags |= ssl.VERIFY_X509_STRICT
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2

    def ask(
        self,
        method: str,
        target: str,
        *,
        body: bytes | IO[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """A request on a new connection. `target` is a path or a URL of this registry."""
        path = self._path(target)
        connection = _Connection(self.hostname, self.port, self.address, self._context)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            return Answer(
                response.status,
                {name.lower(): value for name, value in response.getheaders()},
                response.read(),
            )
        except ssl.SSLCertVerificationError as problem:
            raise failure(
                "TLS",
                f"the certificate that answers at {self.base} is refused: {problem.verify_message}",
            ) from problem
        except ssl.SSLError as problem:
            raise failure("TLS", f"no TLS with {self.base}: {problem.reason}") from problem
        except ConnectionRefusedError as problem:
            raise failure(
                "proxy", f"nothing listens at {self.address}, port {self.port}"
            ) from problem
        except TimeoutError as problem:
            if connection.sock is None:
                raise self._unreachable(f"no connection within {_PATIENCE} s") from problem
            # nginx accepted the request, but what is behind it did not answer.
            behind = "registry" if path.startswith("/v2/") else "token server"
            raise failure(
                behind, f"{method} {path.split('?')[0]} is not answered within {_PATIENCE} s"
            ) from problem
        except (OSError, http.client.HTTPException) as problem:
            if isinstance(problem, OSError) and problem.errno in _UNREACHABLE:
                raise self._unreachable(str(problem.strerror)) from problem
            raise failure(
                "proxy",
                f"{method} {path.split('?')[0]} gets no answer ({problem})",
            ) from problem
        finally:
            connection.close()

    def _path(self, target: str) -> str:
        """The path with its query. Raises a failure if the URL is another server's."""
        parts = urlsplit(target)
        if parts.netloc and f"{parts.scheme}://{parts.netloc}" != self.base:
            raise failure(
                "proxy",
                f"a client is sent to {parts.scheme}://{parts.netloc} instead of {self.base}",
                "look at X-Forwarded-Proto and Host in the site file",
            )
        return parts.path + (f"?{parts.query}" if parts.query else "")

    def _unreachable(self, why: str) -> HostError:
        return failure(
            "proxy",
            f"port {self.port} of this host's own address {self.address} cannot be reached ({why})",
            "look at this host's firewall (nft list ruleset, iptables -S)",
        )


def blame(answer: Answer, behind: str) -> str:
    """The hop that gave an unexpected answer. `behind`: the one that should have answered."""
    words = error_words(answer.body)
    if words is not None:
        lowered = words.lower()
        disk = ("no space", "permission denied", "input/output", "read-only file", "quota")
        return "storage" if any(words in lowered for words in disk) else behind
    # It is not an error document of the registry, but nginx's own page, or a bare status.
    return behind if answer.status in (502, 503, 504) else "proxy"


def expect(answer: Answer, wanted: tuple[int, ...], what: str, behind: str) -> Answer:
    """The answer, if its status is in `wanted`. Raises HostError with the hop to blame."""
    if answer.status in wanted:
        return answer
    words = error_words(answer.body)
    said = f"{answer.status}" + (f" {words}" if words else "")
    expected = " or ".join(map(str, wanted))
    raise failure(blame(answer, behind), f"{what} is answered with {said} instead of {expected}")


def manifest() -> bytes:
    """The manifest of the verification's artifact (OCI image specification 1.1)."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE,
        "artifactType": "application/vnd.wharfinger.verification",
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": digest_of(_CONFIG),
            "size": len(_CONFIG),
        },
        "layers": [
            {"mediaType": "text/plain", "digest": digest_of(_LAYER), "size": len(_LAYER)},
        ],
    }
    return json.dumps(document, separators=(",", ":")).encode()


class Verification:
    """The steps in order; `done`: what was proven."""

    def __init__(self, client: Client, auth: str, service: str, issuer: str, password: str) -> None:
        self.client = client
        self.auth = auth
        self.service = service
        self.issuer = issuer
        self.password = password
        self.done: list[str] = []

    def run(self) -> str:
        """Runs all steps; returns the manifest's digest."""
        challenge = self._challenge()
        if self.auth == "token":
            login = self._bearer(self._token(challenge, REPOSITORY, signed_in=True))
        else:
            login = basic(ACCOUNT, self.password)
            answer = self.client.ask("GET", "/v2/", headers=login)
            expect(answer, (200,), "the verification account's login", "registry")
        self.done.append("login")
        pushed = self._push(login)
        self._pull(login, pushed)
        if self.auth == "token":
            elsewhere = self._bearer(self._token(challenge, FORBIDDEN, signed_in=True, may=False))
            self._denied(elsewhere, FORBIDDEN, "a push to a repository without rights")
        else:
            wrong = basic(ACCOUNT, "not the password")
            self._denied(wrong, REPOSITORY, "a push with a wrong password")
        self._denied({}, REPOSITORY, "a push without login")
        if self.auth == "token":
            self._anonymous(challenge)
        return pushed

    def _challenge(self) -> Challenge:
        """The challenge with which /v2/ answers a request without login (401)."""
        answer = expect(
            self.client.ask("GET", "/v2/"), (401,), "GET /v2/ without login", "registry"
        )
        parsed = challenge(answer.headers.get("www-authenticate"))
        wanted = "bearer" if self.auth == "token" else "basic"
        if parsed is None or parsed.scheme != wanted:
            raise failure(
                "registry",
                f"GET /v2/ asks for {parsed.scheme if parsed else 'no'} login instead of {wanted}",
                "another registry may answer here; look at `nginx -T` and its configuration",
            )
        if self.auth == "token":
            realm, service = parsed.parameters.get("realm", ""), parsed.parameters.get("service")
            if not realm.startswith(f"{self.client.base}/"):
                raise failure(
                    "registry",
                    f"clients are sent to {realm} for a token, which is not at {self.client.base}",
                )
            if service != self.service:
                raise failure(
                    "registry",
                    f"it calls itself the service {service!r} instead of {self.service!r}",
                )
        return parsed

    def _token(
        self, challenge: Challenge, repository: str, *, signed_in: bool, may: bool = True
    ) -> str:
        """A token for pull and push on `repository`; `may`: whether it must grant these rights."""
        query = urlencode({"service": self.service, "scope": f"repository:{repository}:pull,push"})
        login = basic(ACCOUNT, self.password) if signed_in else {}
        answer = self.client.ask("GET", f"{challenge.parameters['realm']}?{query}", headers=login)
        if answer.status == 401 and signed_in:
            raise failure(
                "token server",
                "it refuses the verification account's password",
                "run site.yml, which renders the account again; then look at its `docker logs`",
            )
        expect(answer, (200,), "the request for a token", "token server")
        try:
            document = json.loads(answer.body)
            token = str(document.get("token") or document["access_token"])
        except (ValueError, KeyError, AttributeError) as problem:
            raise failure("token server", "its answer holds no token") from problem
        payload = claims(token)
        if payload is None:
            raise failure("token server", "its token is not a JSON web token")
        for key, wanted in (("iss", self.issuer), ("aud", self.service)):
            if payload.get(key) not in (wanted, [wanted]):
                raise failure(
                    "token server",
                    f"its token has {key} {payload.get(key)!r} instead of {wanted!r}",
                )
        actions = granted(payload, repository)
        if may and not {"pull", "push"} <= actions:
            raise failure("token server", f"the verification account may not push to {repository}")
        if not may and "push" in actions:
            who = "the verification account" if signed_in else "someone who is not signed in"
            raise failure(
                "token server",
                f"{who} is given push on {repository}, which nobody allowed",
                "look at registry_access; do not use this registry until this is clear",
            )
        return token

    @staticmethod
    def _bearer(token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}

    def _push(self, login: Mapping[str, str]) -> str:
        for data in (_CONFIG, _LAYER):
            self._upload(login, data)
        document = manifest()
        answer = self.client.ask(
            "PUT",
            f"/v2/{REPOSITORY}/manifests/{TAG}",
            body=document,
            headers={**login, "Content-Type": OCI_IMAGE},
        )
        expect(answer, (201,), "the push of a manifest", "registry")
        self._same(answer.headers.get("docker-content-digest"), digest_of(document), "push")
        self.done.append("push")
        return digest_of(document)

    def _upload(self, login: Mapping[str, str], data: bytes) -> None:
        """Uploads a blob in two requests (POST, PUT), as in the OCI distribution specification."""
        start = self.client.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/", body=b"", headers=login)
        if start.status in (401, 403) and self.auth == "token":
            raise failure(
                "registry",
                f"it refuses the token server's token ({error_words(start.body) or start.status})",
                "its signing certificate, issuer or service do not agree, or a clock is off; run "
                "site.yml again",
            )
        expect(start, (202,), "the start of an upload", "registry")
        location = start.headers.get("location", "")
        if not location:
            raise failure("registry", "the start of an upload has no Location")
        target = (
            location + ("&" if "?" in location else "?") + urlencode({"digest": digest_of(data)})
        )
        headers = {**login, "Content-Type": "application/octet-stream"}
        answer = self.client.ask("PUT", target, body=data, headers=headers)
        expect(answer, (201,), "the upload of a blob", "registry")

    def _pull(self, login: Mapping[str, str], pushed: str) -> None:
        accepted = {**login, "Accept": OCI_IMAGE}
        for reference in (TAG, pushed):
            answer = self.client.ask(
                "GET", f"/v2/{REPOSITORY}/manifests/{reference}", headers=accepted
            )
            what = "tag" if reference == TAG else "digest"
            expect(answer, (200,), f"the pull of a manifest by {what}", "registry")
            self._same(digest_of(answer.body), pushed, f"pull by {what}")
            self._same(answer.headers.get("docker-content-digest"), pushed, f"pull by {what}")
        for data in (_CONFIG, _LAYER):
            answer = self.client.ask(
                "GET", f"/v2/{REPOSITORY}/blobs/{digest_of(data)}", headers=login
            )
            if answer.status == 307:
                raise failure("proxy", "it shows clients the internal redirect of a blob")
            if answer.status in (403, 404):
                raise failure(
                    "storage",
                    f"a blob that was just pushed is answered with {answer.status}",
                    "look at the group and mode of storage_path: nginx reads blobs through them",
                )
            expect(answer, (200,), "the pull of a blob", "registry")
            self._same(digest_of(answer.body), digest_of(data), "pull of a blob")
        self.done += ["pull by tag", "pull by digest"]

    def _same(self, digest: str | None, wanted: str, where: str) -> None:
        if digest != wanted:
            raise failure("storage", f"{where}: the digest is {digest} instead of {wanted}")

    def _denied(self, login: Mapping[str, str], repository: str, what: str) -> None:
        answer = self.client.ask(
            "POST", f"/v2/{repository}/blobs/uploads/", body=b"", headers=login
        )
        if answer.status in (200, 201, 202):
            raise failure(
                "registry",
                f"{what} is accepted",
                "it must be denied; do not use this registry until this is clear",
            )
        expect(answer, (401, 403), what, "registry")
        self.done.append(f"{what}: denied")

    def _anonymous(self, challenge: Challenge) -> None:
        """If rules for `anonymous` give a token to clients without login, it must not allow a
        push."""
        query = urlencode({"service": self.service, "scope": f"repository:{REPOSITORY}:pull,push"})
        answer = self.client.ask("GET", f"{challenge.parameters['realm']}?{query}")
        if answer.status == 401:
            return
        token = self._token(challenge, REPOSITORY, signed_in=False, may=False)
        self._denied(self._bearer(token), REPOSITORY, "a push with a token without login")


def verify(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Request: {"hostname", "port", "auth": "token" | "htpasswd", "service", "issuer", "ca_file",
    "deployment_began"}.

    ca_file, optional: the authority to trust instead of the one that clients must trust
    (trusted.crt, else the system's roots). deployment_began, optional: when the deployment that
    ends with this began, by this host's clock. Returns digest, done (what was proven), seconds, and
    warnings: what to enter in DNS, if the hostname does not lead to this host, and backups that
    failed or are late. Raises HostError with the hop that failed (TLS, proxy, token server,
    registry, storage) and what to look at. A restore is over by this, and the jobs run again.
    """
    if check:
        return {"actions": []}
    password = (read_text(host.paths.verification_password) or "").strip()
    if not password:
        raise HostError(f"{host.paths.verification_password} is missing: run the whole site.yml")
    began = time.monotonic()
    hostname, authority = str(request["hostname"]), host.paths.for_clients
    ca_file = request.get("ca_file") or (str(authority) if exists(authority) else None)
    way = Way.to(hostname)
    client = Client(hostname, int(request.get("port") or 443), ca_file, way.address)
    steps = Verification(
        client,
        str(request.get("auth") or "token"),
        str(request.get("service") or hostname),
        str(request.get("issuer") or hostname),
        password,
    )
    proven = steps.run()
    restoring.verified(host.paths.restoring)
    warning = way.warning(hostname)
    if "deployment_began" in request:
        note_deployment(host, host.clock.now() - float(request["deployment_began"]))
    return {
        "actions": [],
        "digest": proven,
        "done": steps.done,
        "warnings": [*([warning] if warning else []), *of_backups(host)],
        "seconds": round(time.monotonic() - began, 3),
    }
