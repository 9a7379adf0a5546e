"""Real registries on local ports, with TLS certificates of their own authority.

`ours`: the toolkit's registry and token server behind nginx. `debians`: Debian's docker-registry
(distribution 2.8) with htpasswd, which handles TLS itself.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from local import site
from local.stack import refusal
from support.networks import free_ports
from wharfinger import access, docker_auth
from wharfinger.registry import configuration

PROJECT = Path(__file__).resolve().parents[3]
ADDRESS = "127.0.0.1"
DEBIANS = "/usr/bin/docker-registry"
# Passwords are NAME-pw.
USERS: Mapping[str, Any] = {"admin": {}, "reader": {}, "someuser": {}}
RULES = [
    {"who": "admin", "may": "all", "on": "all"},
    {"who": "reader", "may": ["pull"], "on": ["team/*", "small/*/app"]},
    {"who": "reader", "may": ["list"], "on": "all"},
    {"who": "someuser", "may": ["pull", "push", "delete"], "on": "{user}/**"},
]


@dataclass(frozen=True)
class Served:
    """A running registry."""

    port: int
    ca: Path
    folder: Path
    address: str = ADDRESS

    @property
    def name(self) -> str:
        """The address and port, as docker writes them."""
        return f"{self.address}:{self.port}"


def make_certificates(folder: Path, address: str = ADDRESS) -> None:
    """ca.crt, and tls.crt with tls.key for the address; signing.crt with signing.key for tokens."""
    now = datetime.datetime.now(datetime.UTC)

    def made(subject: str, key: Any, issuer: str, issuer_key: Any, *extensions: Any) -> Any:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        for extension, critical in (
            *extensions,
            (identifier, False),
            (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        ):
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(issuer_key, hashes.SHA256())

    usage = dict.fromkeys(
        (
            *("digital_signature", "content_commitment", "key_encipherment"),
            *("data_encipherment", "key_agreement", "encipher_only", "decipher_only"),
        ),
        False,
    )
    authority = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    signing = rsa.generate_private_key(65537, 2048)
    ca = made(
        "authority",
        authority,
        "authority",
        authority,
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), True),
    )
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    served = made("registry", key, "authority", authority, (names, False))
    pem = serialization.Encoding.PEM
    for name, certificate in (
        ("ca", ca),
        ("tls", served),
        ("signing", made("tokens", signing, "tokens", signing)),
    ):
        (folder / f"{name}.crt").write_bytes(certificate.public_bytes(pem))
    for name, private_key in (("tls", key), ("signing", signing)):
        private = private_key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / f"{name}.key").write_bytes(private)


def hashed(password: str, cost: int = 4) -> str:
    """A bcrypt hash."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


@contextmanager
def processes(
    folder: Path, *commands: tuple[list[str], int], address: str = ADDRESS
) -> Iterator[None]:
    """Runs commands until the end of the body; each listens on its port, the last one at
    `address`."""
    running = []
    try:
        for number, (command, port) in enumerate(commands, 1):
            log = (folder / f"{number}.log").open("wb")
            running.append(
                subprocess.Popen(
                    command,
                    cwd=PROJECT,
                    stdout=log,
                    stderr=log,
                    env=os.environ | configuration.environment({}),
                )
            )
            where = address if number == len(commands) else ADDRESS
            _wait((where, port), running[-1], folder / f"{number}.log")
        yield
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            process.wait(timeout=60)


def _wait(where: tuple[str, int], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(where, 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on {where}: {log.read_text()}")


@contextmanager
def ours(
    folder: Path,
    program: Path,
    cost: int = 4,
    *,
    address: str = ADDRESS,
    users: Mapping[str, Any] = USERS,
    groups: Mapping[str, Sequence[str]] | None = None,
    robots: Mapping[str, Any] | None = None,
    rules: Sequence[Mapping[str, Any]] = RULES,
    sparse: Sequence[str] = (),
) -> Iterator[Served]:
    """The toolkit's registry with token authentication, its token server, and nginx, which listens
    on `address`. sparse: repositories whose indexes may lack members."""
    make_certificates(folder, address)
    port, registry, debug, tokens = free_ports(4)
    ports = {"nginx": port, "registry": registry, "token_server": tokens}
    name = f"{address}:{port}"
    rendered = configuration.render(
        auth="token",
        service=name,
        issuer=name,
        realm=f"https://{name}/auth",
        settings={},
        drain_timeout=1,
        index_members=True,
        sparse=sparse,
    )
    rendered["storage"]["filesystem"]["rootdirectory"] = str(folder / "storage")
    rendered["http"]["addr"] = f"{ADDRESS}:{registry}"
    rendered["http"]["debug"]["addr"] = f"{ADDRESS}:{debug}"
    (folder / "token_signing.pem").write_bytes((folder / "signing.crt").read_bytes())
    text = yaml.safe_dump(rendered).replace(configuration.LIVE_DIRECTORY, str(folder))
    (folder / "registry.yml").write_text(text)
    policy = access.read_policy(users, groups or {}, rules, robots)
    auth = docker_auth.auth_config(
        policy,
        {name: hashed(f"{name}-pw", cost) for name in (*users, *(robots or {}))},
        issuer=name,
        certificate_path=str(folder / "signing.crt"),
        key_path=str(folder / "signing.key"),
        expiration=60,
        addr=f":{tokens}",
        real_ip_header="X-Real-IP",
    )
    (folder / "auth_config.yml").write_text(yaml.safe_dump(auth))
    _nginx(folder, address, ports)
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    assert nginx, "nginx is not installed"
    serve = [
        sys.executable,
        "-m",
        "wharfinger.token_server",
        "serve",
        str(folder / "auth_config.yml"),
    ]
    with processes(
        folder,
        ([str(program), "serve", str(folder / "registry.yml")], registry),
        ([*serve, "--host", ADDRESS, "--port", str(tokens)], tokens),
        ([nginx, "-c", str(folder / "nginx.conf"), "-g", "daemon off;"], port),
        address=address,
    ):
        yield Served(port, folder / "ca.crt", folder, address)


def _nginx(folder: Path, address: str, ports: Mapping[str, int]) -> None:
    """The site as in a deployment."""
    folder.chmod(0o755)
    for name in ("certificates", "temporary", "acme"):
        (folder / name).mkdir()
    (folder / "certificates/tls.pem").write_bytes(
        (folder / "tls.crt").read_bytes() + (folder / "tls.key").read_bytes()
    )
    upstreams = [
        f"upstream wharfinger_{name} {{ server {ADDRESS}:{ports[name]}; keepalive 16; }}"
        for name in ("registry", "token_server")
    ]
    (folder / "upstreams.conf").write_text("\n".join([*upstreams, *refusal()]) + "\n")
    rendered = site.render(
        reverse_proxy_names=[address],
        reverse_proxy_http_port=0,
        reverse_proxy_owned_ports=[ports["nginx"]],
        registry_port=ports["nginx"],
        storage_path=str(folder / "storage"),
    )
    local = site.relocated(rendered, folder).replace("listen 127.0.0.1:", f"listen {address}:")
    (folder / "site.conf").write_text(local)
    user = "www-data" if os.geteuid() == 0 else None
    (folder / "nginx.conf").write_text(site.main_configuration(folder, user))


@contextmanager
def debians(folder: Path, program: str = DEBIANS) -> Iterator[Served]:
    """Debian's docker-registry: distribution 2.8, htpasswd, deletion allowed."""
    make_certificates(folder)
    (port,) = free_ports(1)
    (folder / "htpasswd").write_text("".join(f"{u}:{hashed(f'{u}-pw')}\n" for u in USERS))
    settings = {
        "version": 0.1,
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "storage")},
            "delete": {"enabled": True},
        },
        "auth": {"htpasswd": {"realm": "debian", "path": str(folder / "htpasswd")}},
        "http": {
            "addr": f"{ADDRESS}:{port}",
            "secret": "a secret",
            "tls": {"certificate": str(folder / "tls.crt"), "key": str(folder / "tls.key")},
        },
    }
    (folder / "config.yml").write_text(yaml.safe_dump(settings))
    with processes(folder, ([program, "serve", str(folder / "config.yml")], port)):
        yield Served(port, folder / "ca.crt", folder)
