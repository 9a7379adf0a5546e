"""The token server in its own process: its signing key, its file, and requests to it."""

from __future__ import annotations

import base64
import http.client
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import bcrypt
import httpx
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

PROJECT = Path(__file__).resolve().parents[3]

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def make_key(folder: Path, *, days: int = 30, key: Key | None = None) -> None:
    """Writes signing.key (for ES256 unless another is given) and a self-signed signing.crt that is
    valid for this many days."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "token signing")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    pem = serialization.Encoding.PEM
    replace(
        folder / "signing.key",
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    replace(folder / "signing.crt", certificate.public_bytes(pem))


def replace(path: Path, content: bytes | str) -> None:
    """Writes a file as the toolkit does: as a whole, by renaming."""
    new = path.with_suffix(".new")
    new.write_bytes(content.encode() if isinstance(content, str) else content)
    new.rename(path)


def hashed(password: str, cost: int = 4) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


def settings(folder: Path, **changes: Any) -> dict[str, Any]:
    """A configuration with the blog's users, as the toolkit renders it; passwords are NAME-pw."""
    names = ("admin", "readonly", "someuser")
    entries = [
        ({"account": "admin"}, ["*"]),
        ({"account": "readonly", "type": "repository"}, ["pull"]),
        (
            {"account": "/.+/", "type": "repository", "name": "/^${account}(/[^/]+)+$/"},
            ["pull", "push", "delete"],
        ),
        ({"account": "", "type": "repository", "name": "/^public(/[^/]+)+$/"}, ["pull"]),
    ]
    return {
        "server": {"addr": "127.0.0.1:5001", "real_ip_header": "X-Real-IP", "real_ip_pos": -1},
        "token": {
            "issuer": "the issuer",
            "expiration": 300,
            "certificate": str(folder / "signing.crt"),
            "key": str(folder / "signing.key"),
            "disable_legacy_key_id": True,
        },
        "users": {name: {"password": hashed(f"{name}-pw")} for name in names} | {"": {}},
        "acl": [
            {"match": match, "actions": actions, "comment": f"rule {number}"}
            for number, (match, actions) in enumerate(entries, 1)
        ],
    } | changes


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def claims(self) -> Any:
        payload = self.json["token"].split(".")[1]
        return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))

    @property
    def granted(self) -> list[tuple[str, list[str]]]:
        return [(access["name"], access["actions"]) for access in self.claims["access"]]


def basic(user: str | bytes, password: str | bytes) -> dict[str, str]:
    parts = [part.encode() if isinstance(part, str) else part for part in (user, password)]
    return {"Authorization": "Basic " + base64.b64encode(b":".join(parts)).decode()}


@dataclass
class Running:
    """A server in its own process, and its log so far."""

    process: subprocess.Popen[str]
    file: Path
    port: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    news: queue.Queue[dict[str, Any]] = field(default_factory=queue.Queue)

    def follow(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.text.append(line)
            event = json.loads(line)
            self.log.append(event)
            self.news.put(event)

    def wait_for(self, event: str, seconds: float = 60) -> dict[str, Any]:
        """Waits for the next event of this name in the log."""
        end = time.monotonic() + seconds
        while True:
            news = self.news.get(timeout=max(end - time.monotonic(), 0.01))
            if news["event"] == event:
                return news

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(
        self,
        target: str,
        headers: dict[str, str] | None = None,
        *,
        method: str = "GET",
        body: bytes | None = None,
        connection: http.client.HTTPConnection | None = None,
    ) -> Answer:
        used = connection or self.connect()
        used.request(method, target, body, {"X-Real-IP": "192.0.2.1"} | (headers or {}))
        response = used.getresponse()
        answer = Answer(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.read(),
        )
        if connection is None:
            used.close()
        return answer

    def login(self, user: str, password: str, scope: str = "", **more: Any) -> Answer:
        target = "/auth?service=reg" + (f"&scope={scope}" if scope else "")
        return self.ask(target, basic(user, password), **more)

    def health(self) -> Any:
        return self.ask("/healthz").json

    def write(self, content: dict[str, Any] | str) -> None:
        replace(self.file, content if isinstance(content, str) else yaml.safe_dump(content))


async def call(application: Any, headers: dict[str, str]) -> tuple[int, Any]:
    """Status and JSON of GET /auth, asked of the application as the HTTP server would."""
    transport = httpx.ASGITransport(app=application.asgi)
    async with httpx.AsyncClient(transport=transport, base_url="http://tokens") as client:
        answer = await client.get("/auth", headers=headers)
    return answer.status_code, answer.json()


class Start(Protocol):
    """Starts a server; see `started`."""

    def __call__(self, content: dict[str, Any], hour: float = 3600) -> Running: ...


def started(file: Path, content: dict[str, Any], hour: float = 3600) -> Running:
    """A server with this file; for its counters of wrong passwords, an `hour` lasts this many
    seconds."""
    file.write_text(yaml.safe_dump(content))
    program = (
        "import sys; from wharfinger.token_server.login import limits; "
        f"limits.HOUR = {hour!r}; from wharfinger.token_server.cli import main; sys.exit(main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, "serve", str(file), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=PROJECT,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )
    running = Running(process, file)
    threading.Thread(target=running.follow, daemon=True).start()
    running.port = int(running.wait_for("start")["address"].rpartition(":")[2])
    return running


def stopped(running: Running) -> None:
    running.process.send_signal(signal.SIGTERM)
    try:
        running.process.wait(60)
    finally:
        running.process.kill()
