"""The parts of a deployment, on this machine: registry and token server in containers on a network
of their own, nginx with the site as the role renders it. Beside them, for comparison:

- `direct`: the registry itself, at its container's own address and without TLS, with the same data
  (its redirect is off: it sends its blobs itself);
- `usual`: the recipe that is copied from page to page: nginx passes everything on with its
  defaults, in the same nginx with the same certificate.

Needs root, a Docker Engine, nginx and curl. Removes everything afterwards.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests/library")]

from local.registries import free_ports, hashed, make_certificates
from local.site import main_configuration, relocated, render
from support import networks
from wharfinger import access, containers, docker_auth
from wharfinger.host.rollout.proxy import refusal
from wharfinger.registry import configuration

NAME = "127.0.0.1"
NETWORK = "wharfinger-benchmark"
CONTAINERS = ("token_server", "registry", "direct")
SIDES = ("direct", "ours", "usual")
USER, PASSWORD = "admin", "admin-pw"
MB = 1_000_000


def said(*command: str) -> str:
    """The output of a command; if it fails, its own message ends the program."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


@dataclass
class Stack:
    """A running stack. `sides` are addresses: ours, direct, usual."""

    folder: Path
    sides: dict[str, str]
    # Addresses of the containers, by kind, and of this machine on their network.
    addresses: dict[str, str]
    gateway: str
    nginx: subprocess.Popen[bytes] | None = None
    # The containers' processes, by kind.
    processes: dict[str, int] = field(default_factory=dict)
    # The cgroup.procs of the cgroup in which nginx is started.
    cgroup: Path | None = None

    @property
    def storage(self) -> Path:
        return self.folder / "storage"

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    def reconfigure(self, change: Callable[[str], str]) -> None:
        """Changes the site and restarts nginx with it."""
        site = self.folder / "site.conf"
        original = self.folder / "site.conf.original"
        if not original.exists():
            shutil.copyfile(site, original)
        site.write_text(change(original.read_text()))
        self.restart_nginx()

    def restart_nginx(self) -> None:
        self.stop_nginx()
        self.start_nginx()

    def start_nginx(self) -> None:
        program = shutil.which("nginx", path="/usr/sbin:/usr/bin") or sys.exit("nginx is missing")
        self.nginx = subprocess.Popen(
            [program, "-c", str(self.folder / "nginx.conf"), "-g", "daemon off;"]
        )
        if self.cgroup:
            self.cgroup.write_text(str(self.nginx.pid))
            # Workers stay in the cgroup that their master was in when it started them.
            for worker in self.nginx_workers():
                self.cgroup.write_text(str(worker))
        for side in ("ours", "usual"):
            listens(NAME, int(self.sides[side].rpartition(":")[2]))

    def stop_nginx(self) -> None:
        if self.nginx:
            self.nginx.send_signal(signal.SIGTERM)
            self.nginx.wait(timeout=20)

    def nginx_workers(self) -> list[int]:
        assert self.nginx
        deadline = time.monotonic() + 10
        children = Path(f"/proc/{self.nginx.pid}/task/{self.nginx.pid}/children")
        while len(pids := children.read_text().split()) < 2:
            assert time.monotonic() < deadline, "nginx has no workers"
            time.sleep(0.05)
        return [int(pid) for pid in pids]

    def cpu(self) -> float:
        """Seconds of CPU that everything on the server's side has taken so far."""
        spent = 0
        for pid in [*self.nginx_workers(), *self.processes.values()]:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            spent += int(fields[11]) + int(fields[12])
        return spent / os.sysconf("SC_CLK_TCK")

    def curl(self, repository: str, *words: str) -> list[str]:
        """A curl command with the authority and a token. It asks for the cipher that Go's clients,
        such as docker, ask for first; curl by default does not."""
        return [
            *("curl", "--silent", "--show-error", "--fail", "--cacert", str(self.ca)),
            *("--tls13-ciphers", "TLS_AES_128_GCM_SHA256"),
            *("--header", f"@{self.header(repository)}", *words),
        ]

    def token(self, repository: str) -> str:
        """A token from the token server that is valid for the whole measurement."""
        scope = f"repository:{repository}:pull,push"
        credentials = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(
            f"{self.sides['ours']}/auth?service={NAME}&scope={scope}",
            headers={"Authorization": f"Basic {credentials}"},
        )
        trust = ssl.create_default_context(cafile=str(self.ca))
        with urllib.request.urlopen(request, context=trust, timeout=30) as answer:
            return str(json.load(answer)["token"])

    def header(self, repository: str) -> Path:
        """A file for curl's --header @FILE, so that no token is in a command line."""
        path = self.folder / f"header.{repository.replace('/', '.')}"
        if not path.exists():
            path.write_text(f"Authorization: Bearer {self.token(repository)}\n")
        return path

    def push(self, repository: str, content: Path | bytes, token: str | None = None) -> str:
        """Pushes a blob in one piece to the registry itself; returns its digest."""
        token = token or self.token(repository)
        data = content if isinstance(content, bytes) else content.read_bytes()
        digest = digest_of(data)
        headers = {"Authorization": f"Bearer {token}"}
        host = self.sides["direct"].removeprefix("http://")
        with contextlib.closing(HTTPConnection(host, timeout=300)) as connection:
            connection.request("POST", f"/v2/{repository}/blobs/uploads/", headers=headers)
            answer = connection.getresponse()
            answer.read()
            location = str(answer.getheader("Location")).partition(host)[2]
            connection.request("PUT", f"{location}&digest={digest}", body=data, headers=headers)
            answer = connection.getresponse()
            assert answer.status == 201, answer.read()
        return digest


def listens(host: str, port: int) -> None:
    """Waits until something listens there."""
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
            return
        if time.monotonic() > deadline:
            sys.exit(f"nothing listens at {host}:{port}")
        time.sleep(0.05)


def contents(size: int, seed: int = 0) -> bytes:
    """Incompressible bytes, the same for the same seed."""
    return hashlib.shake_256(f"{size}.{seed}".encode()).digest(size)


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@contextmanager
def running(change: Callable[[str], str] = lambda site: site) -> Iterator[Stack]:
    """A started Stack, which is removed at the end."""
    if os.geteuid() != 0 or not shutil.which("curl"):
        sys.exit("this needs root and curl")
    images = json.loads(said(sys.executable, "images/build.py", "build"))
    with tempfile.TemporaryDirectory(prefix="wharfinger-benchmark-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        port, usual = free_ports(2)
        subnet = IPv4Network(
            networks.create(NETWORK, "--internal", within=networks.CONTAINERS, prefix=28)
        )
        gateway, *others = map(str, subnet.hosts())
        addresses = dict(zip(CONTAINERS, others, strict=False))
        stack = Stack(
            folder,
            {
                "ours": f"https://{NAME}:{port}",
                "direct": f"http://{addresses['direct']}:{containers.REGISTRY_PORT}",
                "usual": f"https://{NAME}:{usual}",
            },
            addresses,
            gateway,
        )
        try:
            _files(stack, port, usual, change)
            _containers(stack, images)
            stack.start_nginx()
            yield stack
        except BaseException:
            for log in (folder / "error.log", folder / "start.log"):
                if log.exists():
                    print(log.read_text()[-2000:], file=sys.stderr)
            raise
        finally:
            stack.stop_nginx()
            for kind in CONTAINERS:
                subprocess.run(
                    ["docker", "rm", "-f", f"{NETWORK}-{kind}"], capture_output=True, check=False
                )
            subprocess.run(["docker", "network", "rm", NETWORK], capture_output=True, check=False)


def _files(stack: Stack, port: int, usual: int, change: Callable[[str], str]) -> None:
    folder = stack.folder
    make_certificates(folder)
    for below in ("certificates", "temporary", "acme", "live", "tokens", "registry", "direct"):
        (folder / below).mkdir()
    pem = (folder / "tls.crt").read_bytes() + (folder / "tls.key").read_bytes()
    (folder / "certificates/tls.pem").write_bytes(pem)
    signing = (folder / "signing.crt").read_bytes()
    (folder / "live/token_signing.pem").write_bytes(signing)
    (folder / "tokens/signing.pem").write_bytes(signing + (folder / "signing.key").read_bytes())
    auth = docker_auth.auth_config(
        access.read_policy({USER: {}}, {}, [{"who": USER, "may": "all", "on": "all"}]),
        {USER: hashed(PASSWORD, 10)},
        issuer=NAME,
        certificate_path="/config/signing.pem",
        key_path="/config/signing.pem",
        expiration=3600,
        addr=f":{containers.TOKEN_SERVER_PORT}",
        real_ip_header="X-Real-IP",
    )
    (folder / "tokens/auth_config.yml").write_text(yaml.safe_dump(auth))
    for path in (folder / "tokens").iterdir():
        shutil.chown(path, containers.TOKEN_SERVER_ID, containers.TOKEN_SERVER_ID)
    for side in ("registry", "direct"):
        rendered = configuration.render(
            auth="token",
            service=NAME,
            issuer=NAME,
            realm=f"{stack.sides['ours']}/auth",
            settings={},
            drain_timeout=1,
        )
        if side == "direct":
            rendered["storage"]["redirect"] = {"disable": True}
        text = yaml.safe_dump(rendered)
        text = text.replace(configuration.SECRET_PLACEHOLDER, "a secret of both")
        (folder / side / "config.yml").write_text(text)
    # As on a host: nginx reads through the group of storage_path.
    (stack.storage / "docker").mkdir(parents=True)
    for path in (stack.storage, stack.storage / "docker"):
        shutil.chown(path, containers.REGISTRY_ID, "www-data")
        path.chmod(0o750)
    shutil.chown(stack.storage / "docker", containers.REGISTRY_ID, containers.REGISTRY_ID)
    (stack.storage / "docker").chmod(0o755)
    upstreams = [
        f"upstream wharfinger_{kind} {{ server {stack.addresses[kind]}:{number} max_fails=0;"
        f"{' keepalive 32;' if kind == 'registry' else ''} }}"
        for kind, number in (
            ("registry", containers.REGISTRY_PORT),
            ("token_server", containers.TOKEN_SERVER_PORT),
        )
    ]
    (folder / "upstreams.conf").write_text("\n".join([*upstreams, *refusal()]) + "\n")
    site = render(
        reverse_proxy_names=[NAME],
        reverse_proxy_http_port=0,
        reverse_proxy_gateway=stack.gateway,
        registry_port=port,
        storage_path=str(stack.storage),
    )
    (folder / "site.conf").write_text(change(relocated(site, folder)))
    pair = f"ssl_certificate {folder}/tls.crt; ssl_certificate_key {folder}/tls.key;"
    recipe = (
        f"    server {{ listen {NAME}:{usual} ssl; {pair} client_max_body_size 0;\n"
        f"    access_log {folder}/usual.log;\n"
        f"    location / {{ proxy_pass {stack.sides['direct']}; proxy_http_version 1.1;\n"
        "    proxy_set_header Host $http_host; proxy_set_header X-Real-IP $remote_addr;\n"
        "    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n"
        "    proxy_set_header X-Forwarded-Proto $scheme; proxy_read_timeout 900; } }\n"
    )
    main = main_configuration(folder, others=recipe)
    (folder / "nginx.conf").write_text(main.replace("connections 256", "connections 768"))


def _containers(stack: Stack, images: dict[str, Any]) -> None:
    """Starts the containers as the host program does."""
    loaded = {}
    for kind in ("registry", "token_server"):
        output = said("docker", "load", "--quiet", "--input", images[kind]["path"])
        loaded[kind] = output.rpartition(": ")[2].strip()
    live = stack.folder / "live"
    mounts = {
        "token_server": [f"{stack.folder}/tokens:/config:ro"],
        **{
            side: [
                f"{stack.folder}/{side}:/etc/distribution:ro",
                f"{live}:{configuration.LIVE_DIRECTORY}:ro",
                f"{stack.storage}/docker:/var/lib/registry/docker",
            ]
            for side in ("registry", "direct")
        },
    }
    for kind, address in stack.addresses.items():
        token_server = kind == "token_server"
        number = containers.TOKEN_SERVER_ID if token_server else containers.REGISTRY_ID
        said(
            *("docker", "run", "--detach", "--name", f"{NETWORK}-{kind}", "--network", NETWORK),
            *("--ip", address, "--user", f"{number}:{number}", "--read-only", "--cap-drop", "ALL"),
            *("--security-opt", "no-new-privileges", "--tmpfs", "/tmp", "--memory", "512m"),
            *(word for mount in mounts[kind] for word in ("--volume", mount)),
            *("--env", "OTEL_TRACES_EXPORTER=none"),
            loaded["token_server" if token_server else "registry"],
            "serve",
            "/config/auth_config.yml" if token_server else "/etc/distribution/config.yml",
        )
        pid = said("docker", "inspect", "--format", "{{.State.Pid}}", f"{NETWORK}-{kind}")
        stack.processes[kind] = int(pid)
    for kind, port in (
        ("token_server", containers.TOKEN_SERVER_PORT),
        ("registry", containers.REGISTRY_PORT),
        ("direct", containers.REGISTRY_PORT),
    ):
        listens(stack.addresses[kind], port)


def alternating(
    sides: Sequence[str], rounds: int, run: Callable[[str], float], warm: bool = True
) -> dict[str, float]:
    """The median of the results of `run` for each side; the sides take turns."""
    results: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(rounds + warm):
        for side in sides:
            value = run(side)
            if number >= warm:
                results[side].append(value)
    return {side: statistics.median(values) for side, values in results.items()}


def together(commands: Sequence[list[str]], patience: float | None = None) -> float:
    """Seconds that simultaneous commands take. With `patience` they may be cut short."""
    began = time.monotonic()
    running = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for command in commands
    ]
    for process in running:
        _, output = process.communicate()
        if process.returncode and patience is None:
            sys.exit(f"{process.args!r}\n{output.decode()[-2000:]}")
    return time.monotonic() - began


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints Markdown, to be pasted."""
    print("\n| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def ratios(
    what: str, results: Mapping[str, Mapping[str, float]]
) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: each side's result, and its ratio to the registry itself."""
    head = [what, "the registry itself, no TLS", "here, TLS", "×", "usual recipe, TLS", "×"]
    rows = []
    for name, speeds in results.items():
        row = [name, f"{speeds['direct']:,.0f}"]
        for side in ("ours", "usual"):
            row += [f"{speeds[side]:,.0f}", f"{speeds[side] / speeds['direct']:.2f}"]
        rows.append(row)
    return head, rows
