"""The stack of these tests: real images, nginx and certificates; paths and names of its own."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.networks import CLONE, for_containers, free_ports
from wharfinger.host.commands import run
from wharfinger.host.system.context import Host
from wharfinger.host.system.files import write_atomically
from wharfinger.host.system.paths import Paths
from wharfinger.host.system.signing_keys import SIGNS_WITH, TRUSTS

PROJECT = Path(__file__).resolve().parents[2]
STACK = f"h4-{CLONE}"
NETWORK = f"{STACK}-net"
# Processes that a test starts use the same port.
PORT = int(os.environ.setdefault("WHARFINGER_TEST_PORT", str(free_ports(1)[0])))
HOSTNAME = "localhost"
ISSUER = "h4 issuer"
SERVICE = "h4 service"
PROOF = {"auth": "token", "issuer": ISSUER, "service": SERVICE}

# The beginning of a program that SIGKILL ends after a number of persisted steps. Its first two
# arguments are the host's folder and that number.
KILLED = """
import os, signal, sys
from pathlib import Path
from tests.engine.stack import Stack, host_at
from wharfinger.host.system.state import Store

left = int(sys.argv[2])

class Fatal(Store):
    def save(self, state):
        global left
        super().save(state)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

host = host_at(Path(sys.argv[1]))
host.store = Fatal(host.paths.state)
"""


def was_killed(program: str, folder: Path, steps: int, *more: str) -> bool:
    """Runs a program that begins with KILLED. Returns whether it was killed before it finished."""
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), str(steps), *more],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": f"{PROJECT}:{PROJECT / 'tests/library'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def host_at(folder: Path) -> Host:
    """This machine, with the toolkit's files below `folder`."""
    paths = Paths(
        etc=folder / "etc",
        var=folder / "var",
        program=folder / "lib" / "wharfinger-host.pyz",
        command=folder / "sbin" / "wharfinger-host",
        nginx=folder / "nginx",
        nginx_pid=folder / "nginx.pid",
        nginx_log=folder / "nginx-log",
        log=folder / "log",
        closing=folder / "closing",
        metrics=folder / "run" / "host.prom",
        alert=folder / "run" / "alert.json",
        sent_alerts=folder / "run" / "told.json",
        confirmation=folder / "run" / "asked.json",
        drill_sockets=folder / "run" / "drill",
        units=folder / "units",
        cron=folder / "cron.d",
    )
    configuration = str(folder / "nginx" / "nginx.conf")
    return Host.real(paths, stack=STACK, nginx=("nginx", "-c", configuration))


class Stack:
    """One host at `folder`, and what it is deployed with."""

    def __init__(self, folder: Path, host: Host) -> None:
        self.folder = folder
        self.host = host
        self.images: dict[str, Any] = {}

    def prepare(self, images: Mapping[str, Mapping[str, Any]]) -> None:
        # pytest closes its folders to other users, but nginx's workers run as www-data.
        for parent in (self.folder, *self.folder.parents[:2]):
            parent.chmod(0o755)
        nginx = self.folder / "nginx"
        (nginx / "conf.d").mkdir(parents=True)
        (nginx / "nginx.conf").write_text(
            f"pid {self.folder}/nginx.pid; error_log {self.folder}/error.log; user www-data;\n"
            "worker_processes 2; worker_shutdown_timeout 300s; events { worker_connections 512; }\n"
            f"http {{ access_log off; include {nginx}/conf.d/*.conf; }}\n"
        )
        storage = {"path": str(self.folder / "storage"), "group": 33}
        run("prepare", {"storage": storage}, host=self.host)
        run("network", {"name": NETWORK, "subnet": for_containers()}, host=self.host)
        load = [
            {
                "kind": kind,
                "source": "build",
                **{k: image[k] for k in ("path", "reference", "ids", "inputs")},
            }
            for kind, image in images.items()
        ]
        self.images = run("images", {"load": load}, host=self.host)["images"]

    # -- what the play renders ---------------------------------------------------------------------

    def settings(self, **more: Any) -> dict[str, Any]:
        return {
            "hostname": HOSTNAME,
            "names": [HOSTNAME],
            "port": PORT,
            "token_lifetime": 1,
            "drain_timeout": 30,
            **more,
        }

    def certificates(self, **more: Any) -> dict[str, Any]:
        """Makes and publishes keys and certificates, as a deployment does."""
        return run("certificates", {"settings": self.settings(**more)}, host=self.host)

    def users(self, more: str = "") -> str:
        """Writes auth_config.yml with the verification account and `more` users. Returns the
        SHA-256 of the file."""
        known = run("prepare", {}, host=self.host)["verification_hash"]
        text = (
            "server:\n  addr: ':5002'\n  real_ip_header: X-Real-IP\n  real_ip_pos: -1\n"
            f"token:\n  issuer: {ISSUER}\n  expiration: 3\n  certificate: /config/signing.pem\n"
            "  key: /config/signing.pem\n  disable_legacy_key_id: true\n"
            f"users:\n  wharfinger-verification:\n    password: {known}\n{more}"
            "acl:\n- match:\n    account: wharfinger-verification\n    type: repository\n"
            "    name: /^wharfinger-verification(/[^/]+)+$/\n  actions: ['*']\n"
        )
        target = self.host.paths.token_server / "auth_config.yml"
        write_atomically(target, text.encode(), 0o640, 0, self.host.token_server_id)
        return hashlib.sha256(text.encode()).hexdigest()

    def registry_spec(self, **more: Any) -> dict[str, Any]:
        algorithms = more.setdefault("algorithms", list(TRUSTS))
        configuration = more.pop("configuration", "") + (
            "version: 0.1\n"
            "storage:\n  filesystem: {rootdirectory: /var/lib/registry}\n"
            "  delete: {enabled: true}\n"
            "middleware:\n  repository: [{name: index-members}]\n"
            "http:\n  addr: ':5000'\n  secret: '@@http_secret@@'\n  draintimeout: 10s\n"
            "  debug: {addr: ':5001', prometheus: {enabled: true, path: /metrics}}\n"
            "auth:\n  token:\n"
            f"    realm: https://{HOSTNAME}:{PORT}/auth\n    service: {SERVICE}\n"
            f"    issuer: {ISSUER}\n"
            "    rootcertbundle: /etc/wharfinger/registry/token_signing.pem\n"
            f"    signingalgorithms: [{', '.join(algorithms)}]\n"
        )
        paths, storage = self.host.paths, self.folder / "storage" / "docker"
        return {
            "kind": "registry",
            "image": self.images["registry"]["id"],
            "user": "64500:64500",
            "command": ["serve", "/etc/distribution/config.yml"],
            "environment": {"OTEL_TRACES_EXPORTER": "none"},
            "files": {"config.yml": configuration},
            "files_target": "/etc/distribution",
            "files_group": 64500,
            "mounts": [
                {"source": str(paths.registry), "target": "/etc/wharfinger/registry"},
                {
                    "source": str(storage),
                    "target": "/var/lib/registry/docker",
                    "read_only": False,
                },
            ],
            "tmpfs": {"/tmp": "size=16m,mode=1777"},
            "memory": "256m",
            "pids": 128,
            "health": {"command": ["/registry", "healthcheck"], "interval": 30, "timeout": 5},
            "port": 5000,
            "probe": {"path": "/v2/", "status": [401]},
            "live": ["signing"],
            "proof": PROOF,
            "stop_timeout": 10,
            **more,
        }

    def token_server_spec(self, **more: Any) -> dict[str, Any]:
        return {
            "kind": "token_server",
            "image": self.images["token_server"]["id"],
            "user": "64501:64501",
            "command": ["serve", "/config/auth_config.yml"],
            "mounts": [{"source": str(self.host.paths.token_server), "target": "/config"}],
            "tmpfs": {"/tmp": "size=16m,mode=1777"},
            "memory": "256m",
            "pids": 128,
            "port": 5002,
            "probe": {"path": "/healthz", "status": [200]},
            "live": ["signing"],
            "algorithms": list(SIGNS_WITH["embedded"]),
            "proof": PROOF,
            "stop_timeout": 10,
            **more,
        }

    def ensure(
        self, kind: str, *, request: Mapping[str, Any] | None = None, **more: Any
    ) -> dict[str, Any]:
        """Ensures the kind's specification with `more` changed. For the token server,
        `configuration` is the digest to wait for; for the registry, it is text that is put before
        the registry's own configuration."""
        # A busy machine may be slow to start a container.
        options = {"wait": 120, "drain_timeout": 30, **(request or {})}
        if kind == "token_server":
            options["configuration"] = more.pop("configuration", None)
            spec = self.token_server_spec(**more)
        else:
            spec = self.registry_spec(**more)
        return run("ensure", {"spec": spec, **options}, host=self.host)

    def site(self) -> str:
        return (
            f"include {self.host.paths.upstreams};\n"
            "server {\n"
            f"  listen 127.0.0.1:{PORT} ssl; server_name {HOSTNAME};\n"
            f"  ssl_certificate {self.host.paths.served};\n"
            f"  ssl_certificate_key {self.host.paths.served};\n"
            "  client_max_body_size 0; proxy_request_buffering off; proxy_http_version 1.1;\n"
            "  proxy_connect_timeout 2s;\n"
            "  proxy_set_header Connection ''; proxy_set_header Host $http_host;\n"
            "  proxy_set_header X-Forwarded-Proto https;\n"
            "  proxy_set_header X-Real-IP $remote_addr;\n"
            "  location /v2/ {\n"
            "    if ($wharfinger_closed = 503) { return 503; }\n"
            "    if ($wharfinger_closed = 429) { return 429; }\n"
            "    proxy_pass http://wharfinger_registry;\n"
            "  }\n"
            "  location /auth { proxy_pass http://wharfinger_token_server; }\n"
            "}\n"
        )

    def verify(self) -> dict[str, Any]:
        return run(
            "verify",
            {
                "hostname": HOSTNAME,
                "port": PORT,
                "auth": "token",
                "service": SERVICE,
                "issuer": ISSUER,
            },
            host=self.host,
        )

    def containers(self) -> list[str]:
        containers = self.host.engine.containers({"wharfinger.stack": STACK})
        return sorted(container.name for container in containers)

    def stop_nginx(self) -> None:
        if self.host.nginx.running():
            command = ["nginx", "-c", f"{self.folder}/nginx/nginx.conf", "-s", "stop"]
            subprocess.run(command, check=False, capture_output=True)
            # nginx removes its pid file before it closes its sockets.
            while self.host.nginx.running() or (self.folder / "nginx.pid").exists() or listens():
                time.sleep(0.02)


def listens() -> bool:
    """Whether anything accepts connections on nginx's port."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", PORT)) == 0
