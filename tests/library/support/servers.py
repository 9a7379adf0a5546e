"""Servers for repositories of backups: an S3 server (versitygw), a rest-server, an SSH server.

The first two are compiled from the modules that repository_servers/go.sum locks, once a machine,
and kept beside the images. `python -m support.servers` compiles them.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from images import build, toolbox
from images.registry import recipe
from support.networks import free_ports

_MODULES = Path(__file__).parent / "repository_servers"
_LOCKS = (_MODULES / "go.mod", _MODULES / "go.sum")
_PACKAGES = {
    "versitygw": "github.com/versity/versitygw/cmd/versitygw",
    "rest-server": "github.com/restic/rest-server/cmd/rest-server",
}
S3_KEYS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "not-a-secret-of-anybody"}


def program(name: str) -> Path:
    """The server's executable file, compiled if this machine has none yet."""
    inputs = toolbox.hash_sources([*_LOCKS, recipe.TOOLCHAIN])
    kept = build.default_cache().parent / "repository-servers" / f"{name}-{inputs[:12]}"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with build._lock(kept.parent / f".lock-{name}", f"{name} is being built"):
        if not kept.exists():
            for old in kept.parent.glob(f"{name}-*"):
                old.unlink()
            for killed in kept.parent.glob(f".work-{name}-*"):
                shutil.rmtree(killed)
            _compile(name, kept)
    return kept


def _compile(name: str, result: Path) -> None:
    with tempfile.TemporaryDirectory(dir=result.parent, prefix=f".work-{name}-") as folder:
        work = Path(folder)
        for lock in _LOCKS:
            shutil.copy(lock, work)
        environment = os.environ | {
            "GOFLAGS": "-mod=readonly -modcacherw",
            "GOMODCACHE": str(work / "modules"),
            "GOCACHE": str(work / "compiled"),
            "GOSUMDB": "off",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
            "CGO_ENABLED": "0",
        }
        go = recipe._toolchain(work, f"building {name}")
        command = [go, "build", "-trimpath", "-ldflags", "-s -w", "-o", "made", _PACKAGES[name]]
        toolbox.run(command, doing=f"building {name}", cwd=work, environment=environment)
        (work / "made").rename(result)


@dataclass(frozen=True)
class Server:
    """A server that listens on 127.0.0.1. `folder` holds what it stores."""

    port: int
    folder: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextmanager
def s3_server(folder: Path) -> Iterator[Server]:
    """An S3 server; buckets are folders of its `folder`, the keys are S3_KEYS."""
    (folder / "buckets").mkdir(parents=True)
    server = Server(free_ports(1)[0], folder / "buckets")
    keys = {"ROOT_ACCESS_KEY": S3_KEYS["AWS_ACCESS_KEY_ID"]}
    keys |= {"ROOT_SECRET_KEY": S3_KEYS["AWS_SECRET_ACCESS_KEY"]}
    command = [str(program("versitygw")), "--port", server.address, "posix", str(server.folder)]
    with _running(command, server, keys):
        yield server


@contextmanager
def rest_server(folder: Path, *options: str) -> Iterator[Server]:
    """A rest-server without accounts; `options` such as --append-only."""
    folder.mkdir(parents=True, exist_ok=True)
    server = Server(free_ports(1)[0], folder)
    command = [str(program("rest-server")), "--listen", server.address, "--path", str(folder)]
    with _running([*command, "--no-auth", *options], server):
        yield server


@dataclass(frozen=True)
class SshServer(Server):
    """`key` opens it for root; `host_keys` are its lines of known_hosts."""

    key: str
    host_keys: str


@contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    """OpenSSH's own server, with a host key of its own, for one key."""
    folder.mkdir(parents=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    port = free_ports(1)[0]
    settings = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "user.pub",
        "PidFile": "none",
        "UsePAM": "no",
        "StrictModes": "no",
        "PasswordAuthentication": "no",
        "Subsystem": "sftp internal-sftp",
    }
    configuration = folder / "sshd_config"
    configuration.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    host_key = new_key(folder / "host")[1]
    server = SshServer(
        port,
        folder / "files",
        key=new_key(folder / "user")[0],
        host_keys=f"[127.0.0.1]:{port} {host_key}",
    )
    server.folder.mkdir()
    with _running(["/usr/sbin/sshd", "-D", "-e", "-f", str(configuration)], server):
        yield server


def new_key(path: Path) -> tuple[str, str]:
    """Makes a key pair: the private key, and the line of the public one."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)]
    subprocess.run(command, check=True)
    return path.read_text(), path.with_suffix(".pub").read_text()


@contextmanager
def _running(
    command: Sequence[str], server: Server, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    log = server.folder.parent / f"{server.folder.name}.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | (environment or {}),
        ) as process,
    ):
        try:
            _wait_for(server, process, log)
            yield
        finally:
            process.terminate()
            process.wait()


def _wait_for(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(1200):
        try:
            socket.create_connection(("127.0.0.1", server.port), 1).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
    raise AssertionError(f"{server.address} does not answer: {log.read_text()}")


if __name__ == "__main__":
    for name in _PACKAGES:
        print(program(name))
