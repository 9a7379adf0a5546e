"""A real nginx in front of a real registry, and the same registry without it, on local ports."""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import http.client
import http.server
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import jwt
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from local.site import NJS, SCRIPT, main_configuration, relocated, render
from support.networks import free_ports
from wharfinger.host.rollout.proxy import refusal
from wharfinger.host.system.nginx import SystemNginx
from wharfinger.host.system.paths import Paths
from wharfinger.host.system.runner import SystemRunner
from wharfinger.registry import configuration

NAME = "registry.example.com"
OTHER_NAME = "mirror.example.com"
# Another version can be named, to see how it handles the site.
NGINX = os.environ.get("WHARFINGER_TEST_NGINX") or shutil.which("nginx", path="/usr/sbin:/usr/bin")


@dataclass
class Answer:
    """What a client sees: status, headers (names in lower case, in order) and body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def __getitem__(self, name: str) -> str | None:
        values = [value for header, value in self.headers if header == name.lower()]
        assert len(values) < 2, f"{name} is sent {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def code(self) -> str:
        """The code of the first error in the registry's form."""
        return str(json.loads(self.body)["errors"][0]["code"])


def certificate(
    subject: str,
    key: Any,
    issuer: Any = None,
    issuer_key: Any = None,
    names: list[str] | None = None,
) -> x509.Certificate:
    """Valid for a day: an authority's own, or one for `names` signed by `issuer`."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    else:
        builder = builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
    return builder.sign(issuer_key or key, hashes.SHA256())


def pem(key: Any) -> bytes:
    """A private key in the form that nginx reads."""
    return bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Signer:
    """Signs tokens as the token server does."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.certificate = certificate("tokens", self.key)
        numbers = self.key.public_key().public_numbers()
        self.jwk = {
            "e": _base64(numbers.e.to_bytes(3, "big")),
            "kty": "RSA",
            "n": _base64(numbers.n.to_bytes(256, "big")),
        }

    def token(self, *access: tuple[str, str, list[str]]) -> str:
        """A token for (type, name, actions), valid for ten minutes."""
        thumbprint = hashlib.sha256(json.dumps(self.jwk, separators=(",", ":")).encode()).digest()
        now = int(time.time())
        claims = {
            **{"iss": NAME, "sub": "someuser", "aud": NAME},
            **{"iat": now, "nbf": now - 10, "exp": now + 600, "jti": secrets.token_hex(8)},
            "access": [{"type": t, "name": n, "actions": a} for t, n, a in access],
        }
        headers = {"kid": _base64(thumbprint)}
        return jwt.encode(claims, self.key, algorithm="RS256", headers=headers)


class Echo(http.server.BaseHTTPRequestHandler):
    """Stands in for the token server: answers with the request that reached it."""

    protocol_version = "HTTP/1.1"
    begun: ClassVar[list[str]] = []

    def _answer(self) -> None:
        self.begun.append(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        seen = {
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": body.decode(),
        }
        data = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        # nginx would obey this header from a server that it trusts more than this one.
        self.send_header("X-Accel-Redirect", "/docker/registry/v2/repositories/")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = _answer

    def log_message(self, format: str, *args: Any) -> None:
        """Stays quiet, so that pytest shows only what matters."""


@dataclass
class Stack:
    """nginx with TLS on `port` and the registry behind it. On `direct_port`, the same registry
    serves the same data with the redirect off: its answers are the expected ones."""

    auth: str
    folder: Path
    registry: Path
    settings: dict[str, Any] = field(default_factory=dict)
    # Where the registry sends clients that read blobs, for a registry that is set up wrongly.
    elsewhere: str = ""
    # Whether the same nginx serves another site on the same ports, with settings for all sites.
    neighbour: bool = False
    # Run the real token server with these users and rules (its file's keys), instead of an Echo.
    accounts: dict[str, Any] = field(default_factory=dict)
    # reverse_proxy_trusted_networks
    trusted: list[str] = field(default_factory=list)
    # reverse_proxy_requests_per_address
    requests: int = 2000
    ports: dict[str, int] = field(default_factory=dict)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    signer: Signer = field(default_factory=Signer)

    @property
    def port(self) -> int:
        return self.ports["nginx"]

    @property
    def storage(self) -> Path:
        """A path that contains a symbolic link, as where /var/lib is one."""
        return self.folder / "lib" / "storage"

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "ca.crt"))

    def start(self) -> None:
        names = ("nginx", "plain", "registry", "direct", "debug", "debug2", "tokens", "metrics")
        if not self.ports:
            self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        self._files()
        self._start_registry("registry", "debug", {})
        self._start_registry("direct", "debug2", {"redirect": {"disable": True}})
        if self.accounts:
            self._start_token_server()
        else:
            self.tokens = http.server.ThreadingHTTPServer(("127.0.0.1", self.ports["tokens"]), Echo)
            threading.Thread(target=self.tokens.serve_forever, daemon=True).start()
        assert NGINX, "nginx is not installed"
        command = [
            NGINX,
            "-c",
            str(self.folder / "nginx.conf"),
            "-e",
            str(self.folder / "start.log"),
        ]
        tested = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        assert tested.returncode == 0, tested.stderr
        assert "[warn]" not in tested.stderr, tested.stderr
        self.processes.append(subprocess.Popen([*command, "-g", "daemon off;"]))
        for name in ("registry", "direct", "nginx", "tokens"):
            self._wait(self.ports[name])

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(timeout=60)
        if not self.accounts:
            self.tokens.shutdown()
            self.tokens.server_close()
        shutil.rmtree(self.folder)

    def _files(self) -> None:
        # As on a host: nginx reads through the group of storage_path, nobody else can.
        self.folder.chmod(0o755)
        (self.folder / "disk").mkdir()
        (self.folder / "lib").symlink_to("disk")
        (self.storage / "docker").mkdir(parents=True)
        shutil.chown(self.storage, group="www-data")
        self.storage.chmod(0o750)
        for name in ("certificates", "live", "temporary", "acme"):
            (self.folder / name).mkdir()
        challenge = self.folder / "acme" / ".well-known" / "acme-challenge"
        challenge.mkdir(parents=True)
        (challenge / "a-token").write_text("a-token.thumbprint")
        authority_key = ec.generate_private_key(ec.SECP256R1())
        authority = certificate("authority", authority_key)
        key = ec.generate_private_key(ec.SECP256R1())
        served = certificate(NAME, key, authority, authority_key, [NAME, OTHER_NAME])
        encoding = serialization.Encoding.PEM
        (self.folder / "ca.crt").write_bytes(authority.public_bytes(encoding))
        (self.folder / "certificates/tls.pem").write_bytes(served.public_bytes(encoding) + pem(key))
        (self.folder / "live/token_signing.pem").write_bytes(
            self.signer.certificate.public_bytes(encoding)
        )
        # someuser, "correct horse", cost 4
        (self.folder / "live/htpasswd").write_text(
            "someuser:$2b$04$820uvYZvhayoJtDK7y3Kw.JRT6D.FNhU0mqMlho0s8ZLqvJiOQdY.\n"
        )
        self._upstreams(refusal())
        site = render(
            reverse_proxy_names=[NAME, OTHER_NAME],
            reverse_proxy_http_port=self.ports["plain"],
            reverse_proxy_owned_ports=[] if self.neighbour else [self.ports["plain"], self.port],
            registry_port=self.port,
            registry_auth=self.auth,
            registry_settings=self.settings,
            reverse_proxy_trusted_networks=self.trusted,
            reverse_proxy_requests_per_address=self.requests,
            reverse_proxy_catalog=configuration.catalog(self.settings, {}),
            storage_path=str(self.storage),
            reverse_proxy_metrics_listen=f"127.0.0.1:{self.ports['metrics']}",
            reverse_proxy_njs="of this run" if NJS.exists() else "",
        )
        shutil.copy(SCRIPT, self.folder)
        (self.folder / "site.conf").write_text(relocated(site, self.folder))
        (self.folder / "nginx.conf").write_text(
            main_configuration(self.folder, others=self._others() if self.neighbour else "")
        )

    def _upstreams(self, refused: list[str]) -> None:
        upstreams = {
            "wharfinger_registry": "registry",
            "wharfinger_registry_metrics": "debug",
            "wharfinger_token_server": "tokens",
        }
        lines = [
            f"upstream {upstream} {{ server 127.0.0.1:{self.ports[port]}; keepalive 8; }}"
            for upstream, port in upstreams.items()
        ]
        (self.folder / "upstreams.conf").write_text("\n".join([*lines, *refused]) + "\n")

    @contextlib.contextmanager
    def closed(self, status: int | None, until: float, repositories: str = "") -> Iterator[None]:
        """Writes are refused during the body, as the host program makes nginx refuse them in a
        window, or those to `repositories` (a regular expression)."""
        self._upstreams(refusal(status, until, repositories))
        self.host_nginx().reload(gently=False)
        try:
            yield
        finally:
            self._upstreams(refusal())
            self.host_nginx().reload(gently=False)

    def host_nginx(self) -> SystemNginx:
        """nginx as the host program sees it."""
        paths = Paths(nginx_pid=self.folder / "nginx.pid", closing=self.folder / "closing")
        command = (str(NGINX), "-c", str(self.folder / "nginx.conf"))
        return SystemNginx(paths, SystemRunner(), command)

    def _others(self) -> str:
        """Another owner's shop, and the settings that they want for all their sites."""
        keys = self.folder / "certificates"
        return (
            f"    proxy_cache_path {self.folder}/cache keys_zone=shop:1m;\n"
            "    proxy_cache shop; proxy_cache_valid any 1h; proxy_cache_methods GET HEAD POST;\n"
            "    proxy_ignore_headers Cache-Control; proxy_redirect https:// ftp://;\n"
            "    auth_basic shop; auth_basic_user_file /dev/null;\n"
            "    gzip on; gzip_types *; gzip_min_length 1; client_max_body_size 1k;\n"
            "    add_header X-Shop open always; error_page 404 /shop-404.html; etag off;\n"
            f"    server {{ listen 127.0.0.1:{self.port} ssl default_server;"
            f" server_name shop.example; ssl_certificate {keys}/tls.pem;"
            f" ssl_certificate_key {keys}/tls.pem;"
            " auth_basic off; return 200 shop; }\n"
        )

    def _start_registry(self, name: str, debug: str, storage: dict[str, Any]) -> None:
        rendered = configuration.render(
            auth=self.auth,
            service=NAME,
            issuer=NAME,
            realm=f"https://{NAME}:{self.port}/auth",
            settings=self.settings,
            drain_timeout=5,
            metrics=True,
        )
        rendered["storage"] |= storage
        rendered["storage"]["filesystem"]["rootdirectory"] = str(self.storage)
        if self.elsewhere:
            rendered["middleware"]["storage"][0]["options"]["baseurl"] = self.elsewhere
        rendered["http"]["addr"] = f"127.0.0.1:{self.ports[name]}"
        rendered["http"]["debug"]["addr"] = f"127.0.0.1:{self.ports[debug]}"
        text = yaml.safe_dump(rendered)
        text = text.replace(configuration.LIVE_DIRECTORY, str(self.folder / "live"))
        path = self.folder / f"{name}.yml"
        path.write_text(text.replace(configuration.SECRET_PLACEHOLDER, "a secret of both"))
        log = (self.folder / f"{name}.log").open("wb")
        environment = os.environ | configuration.environment({})
        command = [str(self.registry), "serve", str(path)]
        self.processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment))

    def _start_token_server(self) -> None:
        path = self.folder / "token_signing.key"
        path.write_bytes(pem(self.signer.key))
        configuration = {
            "server": {
                "addr": f"127.0.0.1:{self.ports['tokens']}",
                "real_ip_header": "X-Real-IP",
                "real_ip_pos": -1,
            },
            "token": {
                "issuer": NAME,
                "expiration": 300,
                "certificate": str(self.folder / "live/token_signing.pem"),
                "key": str(path),
                "disable_legacy_key_id": True,
            },
        }
        (self.folder / "auth_config.yml").write_text(yaml.safe_dump(configuration | self.accounts))
        log = (self.folder / "tokens.log").open("wb")
        command = [sys.executable, "-m", "wharfinger.token_server"]
        command += ["serve", str(self.folder / "auth_config.yml")]
        self.processes.insert(0, subprocess.Popen(command, stdout=log, stderr=log))

    def _wait(self, port: int) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.05)
        logs = "".join(log.read_text() for log in self.folder.glob("*.log"))
        raise AssertionError(f"nothing listens on {port}: {logs}")

    def proxied(self, method: str, path: str, **options: Any) -> Answer:
        """A request through nginx: `headers`, `body`, `token`, `name` (the Host to call)."""
        name = options.pop("name", NAME)
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60)
        connection.sock = self.trust.wrap_socket(
            socket.create_connection(("127.0.0.1", self.port), 60), server_hostname=NAME
        )
        return _request(connection, method, path, host=f"{name}:{self.port}", **options)

    def direct(self, method: str, path: str, **options: Any) -> Answer:
        """The same request without nginx, with the header that nginx would add.

        `port` is direct or registry, the one that redirects.
        """
        port = self.ports[options.pop("port", "direct")]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {"X-Forwarded-Proto": "https"} | options.pop("headers", {})
        host = f"{NAME}:{self.port}"
        return _request(connection, method, path, host=host, headers=headers, **options)

    def access_log(self) -> list[dict[str, str]]:
        """The requests in nginx's access log, in its order."""
        return [json.loads(line) for line in (self.folder / "access.log").read_text().splitlines()]

    def raw(self, data: bytes) -> bytes:
        """Sends bytes over TLS and reads until nginx closes or is silent for two seconds."""
        with (
            socket.create_connection(("127.0.0.1", self.port), 60) as plain,
            self.trust.wrap_socket(plain, server_hostname=NAME) as tls,
        ):
            tls.settimeout(2)
            tls.sendall(data)
            received = b""
            with contextlib.suppress(TimeoutError, ssl.SSLError):
                while chunk := tls.recv(65536):
                    received += chunk
            return received

    def raw_direct(self, data: bytes) -> bytes:
        """Sends bytes directly to the registry and reads until it closes."""
        with socket.create_connection(("127.0.0.1", self.ports["direct"]), 60) as plain:
            plain.sendall(data)
            received = b""
            while chunk := plain.recv(65536):
                received += chunk
            return received

    def push_blob(self, repository: str, content: bytes) -> str:
        """Uploads a blob in one piece, straight to the registry, and returns its digest."""
        token = self.signer.token(("repository", repository, ["pull", "push"]))
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        started = self.direct("POST", f"/v2/{repository}/blobs/uploads/", token=token)
        assert started.status == 202, started.body
        location = str(started["Location"]).split(f":{self.port}", 1)[1]
        stored = self.direct("PUT", f"{location}&digest={digest}", token=token, body=content)
        assert stored.status == 201, stored.body
        return digest


def _request(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    *,
    host: str,
    headers: dict[str, str] | None = None,
    token: str | None = None,
    body: Any = None,
) -> Answer:
    sent = {"Host": host} | (headers or {})
    if token:
        sent["Authorization"] = f"Bearer {token}"
    with contextlib.closing(connection):
        connection.request(method, path, body=body, headers=sent)
        response = connection.getresponse()
        headers_received = [(name.lower(), value) for name, value in response.getheaders()]
        return Answer(response.status, headers_received, response.read())


@contextlib.contextmanager
def running(
    auth: str,
    registry: Path,
    settings: dict[str, Any] | None = None,
    elsewhere: str = "",
    neighbour: bool = False,
    accounts: dict[str, Any] | None = None,
    trusted: list[str] | None = None,
    requests: int = 2000,
) -> Iterator[Stack]:
    """A started Stack, which is stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="wharfinger-proxy-"))
    stack = Stack(auth, folder, registry, settings or {}, elsewhere, neighbour, accounts or {})
    stack.trusted, stack.requests = trusted or [], requests
    stack.start()
    try:
        yield stack
    finally:
        stack.stop()
