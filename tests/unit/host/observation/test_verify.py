"""The verification against a small registry with real TLS, correct and broken in many ways."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.unit.host.world import Machine, host_of
from wharfinger.host.backup import recovery
from wharfinger.host.commands import run
from wharfinger.host.contents import reports
from wharfinger.host.rollout.challenge import challenge, claims, error_words, granted
from wharfinger.host.system.errors import HostError

ISSUER, SERVICE = "issuer", "service"


class Registry:
    """What the server remembers, and how it misbehaves (`faults`)."""

    def __init__(self, password: str) -> None:
        self.password = password
        self.auth = "token"
        self.faults: set[str] = set()
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.port = 0
        self.requests: list[str] = []
        self.hosts: set[str] = set()
        self.name = "localhost"

    @property
    def base(self) -> str:
        return f"https://{self.name}:{self.port}"

    def token(self, user: str, scope: str) -> str:
        name = scope.split(":")[1]
        rights = ["pull", "push"]
        if not name.startswith(f"{user}/") and "gives too much" not in self.faults:
            rights = []
        payload = {
            "iss": "another" if "issuer" in self.faults else ISSUER,
            "aud": SERVICE,
            "access": [{"type": "repository", "name": name, "actions": rights}],
        }
        return f"h.{base64.urlsafe_b64encode(json.dumps(payload).encode()).decode()}.s".replace(
            "=", ""
        )

    def may(self, header: str, name: str) -> bool:
        if self.auth == "htpasswd":
            return header == f"Basic {self.login}"
        payload = claims(header.removeprefix("Bearer ")) if header else None
        return payload is not None and "push" in granted(payload, name)

    @property
    def login(self) -> str:
        return base64.b64encode(f"wharfinger-verification:{self.password}".encode()).decode()


def handler(registry: Registry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def error(self, status: int, code: str, detail: str | None = None) -> None:
            entry: dict[str, Any] = {"code": code, "message": code.lower()}
            if detail:
                entry["detail"] = detail
            self.answer(status, json.dumps({"errors": [entry]}).encode())

        def serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            registry.requests.append(f"{self.command} {parts.path}")
            registry.hosts.add(str(self.headers.get("Host")))
            if parts.path == "/auth":
                self.auth(query)
            else:
                self.v2(parts.path, query, body)

        def auth(self, query: dict[str, str]) -> None:
            if "token server down" in registry.faults:
                return self.answer(502, b"<html>502 Bad Gateway</html>")
            header = self.headers.get("Authorization", "")
            user = "wharfinger-verification" if header else ""
            if header and (header != f"Basic {registry.login}" or "refuses" in registry.faults):
                return self.answer(401)
            if not header and "anonymous" not in registry.faults:
                return self.answer(401)
            if "anonymous" in registry.faults and not header:
                registry.faults.add("gives too much")
            token = registry.token(user, query["scope"])
            return self.answer(200, json.dumps({"token": token}).encode())

        def v2(self, path: str, query: dict[str, str], body: bytes) -> None:
            faults = registry.faults
            if "registry down" in faults:
                return self.answer(502, b"<html>502 Bad Gateway</html>")
            if "another server" in faults:
                return self.answer(404, b"<html>404 Not Found</html>")
            header = self.headers.get("Authorization", "")
            name, _, rest = path.removeprefix("/v2/").partition(
                "/blobs/" if "/blobs/" in path else "/manifests/"
            )
            if path == "/v2/" and not (registry.auth == "htpasswd" and registry.may(header, "")):
                realm = "https://elsewhere/auth" if "realm" in faults else f"{registry.base}/auth"
                asks = f'Bearer realm="{realm}",service="{SERVICE}"'
                if registry.auth == "htpasswd" or "basic" in faults:
                    asks = 'Basic realm="x"'
                return self.answer(401, WWW_Authenticate=asks)
            if path == "/v2/":
                return self.answer(200)
            if "token refused" in faults and header:
                return self.error(401, "UNAUTHORIZED")
            if not registry.may(header, name) and "open" not in faults:
                return self.error(401, "UNAUTHORIZED")
            digest = "sha256:" + hashlib.sha256(body).hexdigest()
            if self.command == "POST":
                if "disk full" in faults:
                    return self.error(500, "UNKNOWN", "write: no space left on device")
                if "too large" in faults:
                    return self.answer(413, b"<html>413</html>")
                base = "http://localhost" if "scheme" in faults else registry.base
                return self.answer(202, Location=f"{base}/v2/{name}/blobs/uploads/1?_state=x")
            if self.command == "PUT" and "/manifests/" in path:
                registry.manifests[rest] = registry.manifests[digest] = body
                return self.answer(201, Docker_Content_Digest=digest)
            if self.command == "PUT":
                registry.blobs[query["digest"]] = body
                return self.answer(201)
            if "/manifests/" in path:
                manifest = registry.manifests[rest]
                actual = "sha256:" + hashlib.sha256(manifest).hexdigest()
                if "rotten" in faults:
                    manifest = manifest[:-1]
                return self.answer(200, manifest, Docker_Content_Digest=actual)
            if "unreadable" in faults:
                return self.answer(403, b"<html>403</html>")
            if "shows redirect" in faults:
                return self.answer(307, Location="http://internal/")
            return self.answer(200, registry.blobs[rest])

        do_GET = do_POST = do_PUT = serve

    return Handler


def openssl(folder: Path, command: str) -> None:
    subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca (an authority), tls (for localhost), name (for another host), weak (without keyUsage)."""
    folder = tmp_path_factory.mktemp("certificates")
    curve = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    openssl(
        folder,
        f"req -x509 {curve} -keyout ca.key -out ca.crt -subj /CN=CA -days 3"
        " -addext keyUsage=critical,keyCertSign,cRLSign",
    )
    openssl(folder, f"req -x509 {curve} -keyout weak.key -out weak.crt -subj /CN=CA -days 3")
    for name, host, days in (("tls", "localhost", 2), ("name", "other.example", 2)):
        (folder / f"{name}.cnf").write_text(
            f"subjectAltName=DNS:{host}\nbasicConstraints=critical,CA:FALSE\n"
            "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        )
        openssl(folder, f"req {curve} -keyout {name}.key -out {name}.csr -subj /CN={host}")
        openssl(
            folder,
            f"x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days {days}"
            f" -extfile {name}.cnf -out {name}.crt",
        )
    return folder


Start = Callable[..., tuple[Registry, Callable[..., dict[str, Any]]]]


@pytest.fixture
def start(tmp_path: Path, certificates: Path) -> Iterator[Start]:
    """Starts a registry; returns it and a function that verifies it."""
    servers: list[ThreadingHTTPServer] = []

    def begin(*faults: str, certificate: str = "tls", auth: str = "token") -> Any:
        host = host_of(tmp_path, Machine())
        run("prepare", {}, host=host)
        registry = Registry(host.paths.verification_password.read_text().strip())
        registry.faults, registry.auth = set(faults), auth
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler(registry))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(
            certificates / f"{certificate}.crt", certificates / f"{certificate}.key"
        )
        server.socket = context.wrap_socket(server.socket, server_side=True)
        registry.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)

        def verify(**request: Any) -> dict[str, Any]:
            defaults = {
                "hostname": "localhost",
                "port": registry.port,
                "ca_file": str(certificates / "ca.crt"),
                "auth": auth,
                "service": SERVICE,
                "issuer": ISSUER,
            }
            return run("verify", {**defaults, **request}, host=host)

        return registry, verify

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


def test_an_honest_registry_is_proven_by_push_pull_and_denials(start: Start) -> None:
    registry, verify = start()
    answer = verify()
    assert answer["done"] == [
        "login",
        "push",
        "pull by tag",
        "pull by digest",
        "a push to a repository without rights: denied",
        "a push without login: denied",
    ]
    assert answer["digest"] in registry.manifests
    before = (dict(registry.blobs), dict(registry.manifests))
    assert verify()["digest"] == answer["digest"]
    assert (registry.blobs, registry.manifests) == before
    assert registry.password not in json.dumps(answer)


def test_htpasswd_is_proven_with_a_wrong_password_denied(start: Start) -> None:
    _, verify = start(auth="htpasswd")
    assert verify()["done"] == [
        "login",
        "push",
        "pull by tag",
        "pull by digest",
        "a push with a wrong password: denied",
        "a push without login: denied",
    ]


LOGS = "look at `docker logs` of its container (wharfinger-host status names it)"
NGINX = "look at `nginx -T` and /var/log/nginx/error.log"


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (
            "registry down",
            f"registry: GET /v2/ without login is answered with 502 instead of 401: {LOGS}",
        ),
        (
            "another server",
            f"proxy: GET /v2/ without login is answered with 404 instead of 401: {NGINX}",
        ),
        (
            "basic",
            "registry: GET /v2/ asks for basic login instead of bearer: another registry may "
            "answer here; look at `nginx -T` and its configuration",
        ),
        (
            "realm",
            "registry: clients are sent to https://elsewhere/auth for a token, which is not at "
            f"https://localhost:PORT: {LOGS}",
        ),
        (
            "token server down",
            f"token server: the request for a token is answered with 502 instead of 200: {LOGS}",
        ),
        (
            "refuses",
            "token server: it refuses the verification account's password: run site.yml, "
            "which renders the account again; then look at its `docker logs`",
        ),
        ("issuer", f"token server: its token has iss 'another' instead of 'issuer': {LOGS}"),
        (
            "gives too much",
            "token server: the verification account is given push on "
            "wharfinger-verification-denied/probe, which nobody allowed: look at registry_access; "
            "do not use this registry until this is clear",
        ),
        (
            "anonymous",
            "token server: someone who is not signed in is given push on "
            "wharfinger-verification/probe, which nobody allowed: look at registry_access; do not "
            "use this registry until this is clear",
        ),
        (
            "token refused",
            "registry: it refuses the token server's token (UNAUTHORIZED: unauthorized): its "
            "signing certificate, issuer or service do not agree, or a clock is off; run site.yml "
            "again",
        ),
        (
            "open",
            "registry: a push to a repository without rights is accepted: it must be denied; do "
            "not use this registry until this is clear",
        ),
        (
            "disk full",
            "storage: the start of an upload is answered with 500 UNKNOWN: unknown "
            '("write: no space left on device") instead of 202: look at storage_path: '
            "free space, owner and mode "
            "(wharfinger-host status)",
        ),
        (
            "too large",
            f"proxy: the start of an upload is answered with 413 instead of 202: {NGINX}",
        ),
        (
            "scheme",
            "proxy: a client is sent to http://localhost instead of https://localhost:PORT: look "
            "at X-Forwarded-Proto and Host in the site file",
        ),
        (
            "unreadable",
            "storage: a blob that was just pushed is answered with 403: look at the group and mode "
            "of storage_path: nginx reads blobs through them",
        ),
        (
            "shows redirect",
            f"proxy: it shows clients the internal redirect of a blob: {NGINX}",
        ),
    ],
)
def test_the_hop_that_fails_is_named_with_what_was_seen_and_what_to_look_at(
    start: Start, fault: str, text: str
) -> None:
    registry, verify = start(fault)
    with pytest.raises(HostError) as caught:
        verify()
    assert str(caught.value) == "verification failed at " + text.replace("PORT", str(registry.port))
    assert registry.password not in str(caught.value)


def test_a_manifest_that_comes_back_changed_is_a_failure_of_the_storage(start: Start) -> None:
    _, verify = start("rotten")
    with pytest.raises(
        HostError, match=r"^verification failed at storage: pull by tag: the digest"
    ):
        verify()


@pytest.fixture
def leads(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """leads("192.0.2.7"): where other.example leads; the host's own address is 127.0.0.1."""
    look_up = socket.getaddrinfo

    def to(*addresses: str) -> None:
        def answer(name: str, *rest: Any, **more: Any) -> Any:
            if name != "other.example":
                return look_up(name, *rest, **more)
            if not addresses:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses
            ]

        monkeypatch.setattr(socket, "getaddrinfo", answer)
        monkeypatch.setattr(
            "wharfinger.host.observation.verify.primary_address", lambda: "127.0.0.1"
        )

    return to


ENTER = (
    " The registry was verified at its own address, 127.0.0.1. Clients find it once DNS has: "
    "other.example. A 127.0.0.1"
)


@pytest.mark.parametrize(
    ("addresses", "said"),
    [
        ([], "other.example does not resolve on this host."),
        (
            ["192.0.2.7", "192.0.2.8"],
            "other.example leads to 192.0.2.7, 192.0.2.8, which is not an address of this host "
            "(right behind NAT or a load balancer).",
        ),
    ],
)
def test_a_name_that_does_not_lead_here_is_a_warning_and_the_host_is_proven_all_the_same(
    start: Start, leads: Callable[..., None], addresses: list[str], said: str
) -> None:
    registry, verify = start(certificate="name")
    registry.name = "other.example"
    leads(*addresses)
    answer = verify(hostname="other.example")
    assert "pull by digest" in answer["done"]
    assert answer["warnings"] == [said + ENTER]
    assert registry.hosts == {f"other.example:{registry.port}"}


def test_a_name_that_leads_here_is_worth_no_warning(
    start: Start, leads: Callable[..., None]
) -> None:
    registry, verify = start(certificate="name")
    registry.name = "other.example"
    leads("192.0.2.7", "127.0.0.1")
    assert verify(hostname="other.example")["warnings"] == []


def test_a_deployment_ends_with_what_is_wrong_with_backups_and_notes_its_time(
    start: Start, leads: Callable[..., None], tmp_path: Path
) -> None:
    _, verify = start()
    leads("127.0.0.1")
    host = host_of(tmp_path, Machine())
    reports.report_failure(host, "backup", HostError("backup: the disk is full"))
    recovery.note_backup(host, "0" * 64, 0, 1)
    answer = verify(deployment_began=host.clock.now() - 100)
    assert answer["warnings"] == ["backup: the disk is full"]
    facts = recovery.look(host)
    assert facts is not None
    assert facts["deployment_seconds"] == pytest.approx(100, abs=1)


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [("name", "Hostname mismatch"), ("ca", "unsuitable certificate purpose")],
)
def test_a_certificate_that_does_not_fit_is_refused(
    start: Start, certificate: str, reason: str
) -> None:
    registry, verify = start(certificate=certificate)
    with pytest.raises(HostError) as caught:
        verify()
    assert str(caught.value).startswith(
        "verification failed at TLS: the certificate that answers at "
        f"https://localhost:{registry.port} is refused: {reason}"
    )


def test_a_certificate_of_an_unknown_authority_is_refused(start: Start, certificates: Path) -> None:
    _, verify = start()
    with pytest.raises(HostError, match=r"^verification failed at TLS: the certificate that"):
        verify(ca_file=str(certificates / "name.crt"))


def test_an_authority_that_stricter_clients_would_refuse_is_refused(
    start: Start, certificates: Path
) -> None:
    openssl(
        certificates,
        "x509 -req -in tls.csr -CA weak.crt -CAkey weak.key -CAcreateserial -days 2"
        " -extfile tls.cnf -out weakly.crt",
    )
    (certificates / "weakly.key").write_bytes((certificates / "tls.key").read_bytes())
    _, verify = start(certificate="weakly")
    with pytest.raises(HostError, match=r"CA cert does not include key usage extension"):
        verify(ca_file=str(certificates / "weak.crt"))


def test_nothing_that_listens_is_the_proxys_failure(start: Start) -> None:
    _, verify = start()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(HostError) as caught:
        verify(port=port)
    assert str(caught.value) == (
        f"verification failed at proxy: nothing listens at 127.0.0.1, port {port}: {NGINX}"
    )


@pytest.mark.parametrize(
    ("problem", "why"),
    [
        (TimeoutError("timed out"), "no connection within 30 s"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "No route to host"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "Network is unreachable"),
    ],
)
def test_an_own_address_that_cannot_be_reached_is_a_firewalls_failure(
    start: Start,
    leads: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    problem: OSError,
    why: str,
) -> None:
    _, verify = start()

    def connect(*_: Any) -> None:
        raise problem

    leads("192.0.2.7")
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(HostError) as caught:
        verify(hostname="other.example", port=443)
    assert str(caught.value) == (
        "verification failed at proxy: port 443 of this host's own address 127.0.0.1 cannot be "
        f"reached ({why}): look at this host's firewall (nft list ruleset, iptables -S)"
    )


def test_a_connection_that_is_cut_off_is_the_proxys_failure(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, verify = start()

    def connect(*_: Any) -> None:
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(HostError) as caught:
        verify()
    assert str(caught.value) == (
        "verification failed at proxy: GET /v2/ gets no answer ([Errno 104] Connection reset by "
        f"peer): {NGINX}"
    )


def test_challenges_are_read_as_they_come() -> None:
    read = challenge('Bearer realm="https://h/auth",service="a, \\"b\\"", scope=x')
    assert read is not None
    assert (read.scheme, dict(read.parameters)) == (
        "bearer",
        {"realm": "https://h/auth", "service": 'a, "b"', "scope": "x"},
    )
    assert challenge(None) is None


@pytest.mark.parametrize("token", ["", "a.b", "a.!.c", "a.W10.c", "a.eyJ.c"])
def test_text_that_is_not_a_token_has_no_claims(token: str) -> None:
    assert claims(token) is None


def test_only_a_registrys_error_document_has_words() -> None:
    assert error_words(b'{"errors":[{"code":"DENIED","message":"no"}]}') == "DENIED: no"
    assert error_words(b"<html>") is None
    assert error_words(b'{"errors":[]}') is None
