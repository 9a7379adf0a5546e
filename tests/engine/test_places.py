"""Repositories for backups with the real restic: a directory, SFTP, S3 and a rest-server.

What users get wrong about each, and what becomes known of their secrets.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from cryptography.hazmat.primitives.poly1305 import Poly1305

from support.servers import S3_KEYS, SshServer, new_key, rest_server, s3_server, ssh_server
from wharfinger.host.backup import backup as backups
from wharfinger.host.backup import catalog
from wharfinger.host.backup import restore as restores
from wharfinger.host.backup.restic import Restic
from wharfinger.host.system.context import Host
from wharfinger.host.system.errors import HostError

from .registries_on_disk import HOSTNAME, Machine, backed_up, files, filled, tree_of, write

Servers = dict[str, "Access"]


@dataclass
class Access:
    """What opens a repository: its place, and files of etc/backup."""

    place: str
    files: dict[str, str] = field(default_factory=dict)

    def give(self, host: Host, **changes: str) -> None:
        for name, text in {"repository": self.place, **self.files, **changes}.items():
            write(host, name, text)
            (host.paths.backup / name).chmod(0o600)


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with ssh_server(tmp_path_factory.mktemp("servers") / "ssh") as server:
        yield server


@pytest.fixture(scope="module")
def servers(ssh: SshServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A repository that is not there yet, of each kind with a server."""
    folder = tmp_path_factory.mktemp("servers")
    with s3_server(folder / "s3") as s3, rest_server(folder / "rest") as rest:
        (s3.folder / "backups").mkdir()
        variables = "".join(f"{name}={value}\n" for name, value in S3_KEYS.items())
        yield {
            "sftp": Access(
                f"sftp://root@{ssh.address}/{ssh.folder}/registry",
                {"ssh_key": ssh.key, "known_hosts": ssh.host_keys},
            ),
            "s3": Access(f"s3:http://{s3.address}/backups/registry", {"environment": variables}),
            "rest": Access(f"rest:http://{rest.address}/"),
        }


def refusal(act: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(HostError) as refused:
        act(*arguments)
    return str(refused.value)


def opened(host: Host) -> dict[str, Any]:
    return backups.repository(host, {}, False)


def absent(host: Host) -> dict[str, Any]:
    request = {"absent": True, "password_file": f"credentials/{HOSTNAME}-backup_password"}
    return backups.repository(host, request, False)


@pytest.mark.parametrize("kind", ["sftp", "s3", "rest"])
def test_a_repository_on_a_server(machine: Machine, servers: Servers, kind: str) -> None:
    """It is made, backed up to twice, and restored from by another host; a controller without its
    password makes no second one."""
    first, second = machine("first"), machine("second")
    tree = filled(first)
    access = servers[kind]
    for host in (first, second):
        access.give(host)
    assert absent(first) == {"actions": []}
    assert opened(first)["actions"] == [
        f"backup_repository: the repository was made at {access.place}"
    ]
    assert opened(first)["actions"] == []
    sizes = [backups.backup(first, {}, False)["added"] for _ in range(2)]
    assert sizes[1] < sizes[0] / 10
    taken = refusal(absent, second)
    assert taken.startswith("backup_repository: a repository is there already, and this controller")
    restores.restore(second, {}, False)
    assert files(tree_of(second)) == files(tree)


def test_a_repository_that_only_grows(machine: Machine, tmp_path: Path) -> None:
    """Its host backs up and removes nothing; another host removes what is old."""
    host = machine("first")
    filled(host)
    with rest_server(tmp_path / "rest", "--append-only") as server:
        Access(f"rest:http://{server.address}/").give(host)
        settings = json.loads((host.paths.backup / "settings.json").read_text())
        write(host, "settings.json", json.dumps(settings | {"keep": {}}))
        backed_up(host)
        backups.backup(host, {}, False)
        assert len(catalog.backups(host, {}, False)["snapshots"]) == 2
        write(host, "settings.json", json.dumps(settings | {"keep": {"last": 1}}))
        assert refusal(backups.backup, host, {}, False) == (
            f"backup_repository: {server.address} lets nothing be removed (append-only): write "
            "backup_keep: {}, and remove old backups from another host (docs/backup.md)"
        )
        assert len(catalog.backups(host, {}, False)["snapshots"]) == 3
    # On the server itself, as docs/backup.md says.
    command = ["restic", "-r", str(server.folder), "--password-file"]
    command += [str(host.paths.backup / "password"), "forget", "--group-by", "host,tags"]
    subprocess.run([*command, "--keep-last", "1", "--prune"], check=True, capture_output=True)
    write(host, "repository", str(server.folder))
    assert len(catalog.backups(host, {}, False)["snapshots"]) == 1


class TestMistakes:
    """Each is answered by one message, and nothing is made."""

    def test_of_a_key(self, machine: Machine, servers: Servers, tmp_path: Path) -> None:
        host = machine("first")
        servers["sftp"].give(host, ssh_key=new_key(tmp_path / "other")[0])
        said = refusal(absent, host)
        assert re.fullmatch(
            r"backup_repository: 127\.0\.0\.1:\d+ refuses backup_ssh_key for root: add its public "
            r"key to the authorized_keys of root there, or write the right key \(one without a "
            r"passphrase\)",
            said,
        )
        assert refusal(opened, host) == said
        servers["sftp"].give(host, ssh_key="-----BEGIN OPENSSH PRIVATE KEY-----\nx\n")
        assert refusal(opened, host).startswith(
            "backup_repository: backup_ssh_key is not a private key that ssh can read: "
        )

    @pytest.mark.parametrize("others", [True, False])
    def test_of_a_host_key(
        self, machine: Machine, servers: Servers, ssh: SshServer, tmp_path: Path, others: bool
    ) -> None:
        host = machine("first")
        line = f"[127.0.0.1]:{ssh.port} {new_key(tmp_path / 'other')[1]}" if others else ""
        servers["sftp"].give(host, known_hosts=line)
        for act in (absent, opened):
            assert refusal(act, host) == (
                f"backup_repository: {ssh.address} shows a host key that backup_ssh_host_keys does "
                "not have. If the server was set up again: run ssh-keyscan -p "
                f"{ssh.port} 127.0.0.1, compare the key with /etc/ssh/*.pub on the server, and "
                "write its lines as backup_ssh_host_keys"
            )

    def test_of_the_keys_for_s3(self, machine: Machine, servers: Servers) -> None:
        host = machine("first")
        wrong = S3_KEYS | {"AWS_SECRET_ACCESS_KEY": "another-secret-that-nobody-sees"}
        text = "".join(f"{name}={value}\n" for name, value in wrong.items())
        servers["s3"].give(host, environment=text)
        server = servers["s3"].place.split("/")[2]
        for act in (absent, opened):
            assert refusal(act, host) == (
                f"backup_repository: {server} refuses the keys in backup_environment for the "
                "bucket backups: correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or let them "
                "read, write and delete there"
            )

    def test_of_a_bucket(self, machine: Machine, servers: Servers) -> None:
        host = machine("first")
        place = servers["s3"].place.replace("/backups/", "/bakcups/")
        servers["s3"].give(host, repository=place)
        server = place.split("/")[2]
        for act in (absent, opened):
            assert refusal(act, host) == (
                f"backup_repository: there is no bucket bakcups on {server}: make it, or correct "
                "the name"
            )

    @pytest.mark.parametrize(
        "place", ["rest:http://127.0.0.1:1/", "s3:http://127.0.0.1:1/backups/x"]
    )
    def test_of_a_server_that_does_not_answer(self, machine: Machine, place: str) -> None:
        """It is not a place without a repository: no second password may be made."""
        host = machine("first")
        write(host, "repository", place)
        # Without these restic 0.18 asks no S3 server.
        write(host, "environment", "".join(f"{name}={value}\n" for name, value in S3_KEYS.items()))
        for act in (absent, opened):
            assert refusal(act, host) == (
                "backup_repository: 127.0.0.1:1 does not answer this host: see that it is up, and "
                "that firewalls let this host reach it"
            )

    @pytest.mark.parametrize(
        "place", ["rest:http://store.invalid/", "sftp:root@store.invalid:/srv/x"]
    )
    def test_of_a_name(self, machine: Machine, place: str) -> None:
        host = machine("first")
        write(host, "repository", place)
        assert refusal(absent, host) == (
            "backup_repository: this host finds no address for store.invalid: correct the name, or "
            "this host's DNS or /etc/hosts"
        )


class TestDirectories:
    """A disk that is not mounted, is full or is the one of the registry."""

    def test_a_repository_that_is_gone_is_not_replaced(
        self, machine: Machine, tmp_path: Path
    ) -> None:
        host = machine("first")
        filled(host)
        backed_up(host)
        repository = tmp_path / "repository"
        config = Restic(host)._quick("cat", "config", "--no-lock")
        identifier = json.loads(config)["id"][:10]
        mounted = repository.rename(tmp_path / "disk")
        repository.mkdir()
        for act in (opened, absent, backed_up):
            assert refusal(act, host) == (
                f"backup_repository: the repository at {repository} (id "
                f"{identifier}) is gone. Is its disk mounted, its server "
                f"the right one? If it is lost for good, remove {host.paths.backup_repository} "
                "and run site.yml, which makes a new one"
            )
        assert list(repository.iterdir()) == []
        repository.rmdir()
        mounted.rename(repository)
        assert opened(host)["actions"] == []
        shutil.rmtree(repository)
        host.paths.backup_repository.unlink()
        assert opened(host)["actions"] == [
            f"backup_repository: the repository was made at {repository}"
        ]

    def test_a_disk_of_fstab_that_is_not_mounted(self, machine: Machine, tmp_path: Path) -> None:
        host = machine("first")
        fstab = tmp_path / "fstab"
        fstab.write_text(f"LABEL=backup {tmp_path}/disk ext4 nofail 0 2\n")
        host.paths = host.paths.__class__(etc=host.paths.etc, var=host.paths.var, fstab=fstab)
        write(host, "repository", f"{tmp_path}/disk/registry")
        assert refusal(opened, host) == (
            f"backup_repository: {tmp_path}/disk is in /etc/fstab and not mounted, so backups "
            f"would go to the disk below it: mount {tmp_path}/disk, then run site.yml"
        )
        assert not (tmp_path / "disk").exists()

    def test_the_disk_of_the_registry_itself(self, machine: Machine, tmp_path: Path) -> None:
        host = machine("first")
        filled(host)
        for _ in range(2):
            assert opened(host)["warnings"] == [
                f"backup_repository: {tmp_path}/repository is on the same file system as the "
                "registry's data, and would be lost with it: mount another disk there, or write a "
                "place on another host"
            ]

    def test_a_full_disk(self, machine: Machine, tmp_path: Path) -> None:
        host = machine("first")
        tree = filled(host)
        disk = tmp_path / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", disk], check=True)
        try:
            write(host, "repository", f"{disk}/registry")
            opened(host)
            tree.blob(os.urandom(8_000_000))
            assert refusal(backups.backup, host, {}, False) == (
                f"backup_repository: the disk of {disk}/registry is full: free space there, or let "
                "fewer backups stay (backup_keep)"
            )
            assert catalog.backups(host, {}, False)["snapshots"] == []
        finally:
            subprocess.run(["umount", disk], check=True)

    def test_a_file(self, machine: Machine, tmp_path: Path) -> None:
        host = machine("first")
        (tmp_path / "repository").touch()
        assert refusal(opened, host) == (
            f"backup_repository: {tmp_path}/repository is not a directory: write the path of one"
        )


class TestTwoHosts:
    """Two registries with one repository."""

    def second(self, machine: Machine) -> Host:
        host = machine("second")
        settings = json.loads((host.paths.backup / "settings.json").read_text())
        settings |= {"hostname": "other.example.com", "keep": {"last": 1}}
        write(host, "settings.json", json.dumps(settings))
        return host

    def test_they_do_not_remove_each_others_backups(self, machine: Machine) -> None:
        first, second = machine("first"), self.second(machine)
        for host in (first, second):
            filled(host)
            backed_up(host)
        for _ in range(2):
            backups.backup(second, {}, False)
        backups.backup(first, {}, False)
        assert len(catalog.backups(first, {}, False)["snapshots"]) == 2
        assert len(catalog.backups(second, {}, False)["snapshots"]) == 1

    def test_a_lock_of_another_host_is_left_alone(self, machine: Machine, tmp_path: Path) -> None:
        """The second host's backup is made; what is old stays until the next one. Whether a process
        of another host lives cannot be seen, so its lock stays for 30 minutes."""
        first, second = machine("first"), self.second(machine)
        for host in (first, second):
            filled(host)
            backed_up(host)
        with slow_backup(first, tmp_path, "another-host") as process:
            answer = backups.backup(second, {}, False)
            assert process.poll() is None
            assert answer["snapshot"]
            assert len(locks(second)) == 1
            assert len(catalog.backups(second, {}, False)["snapshots"]) == 2
            assert re.fullmatch(
                r"older backups stay until the next one: backup_repository: process \d+ on "
                r"another-host has locked the repository for \S+: try again when it has ended\. If "
                r"it has died there, its lock goes at the first try after 30 minutes",
                answer["actions"][-1],
            )
        backups.backup(second, {}, False)
        assert len(catalog.backups(second, {}, False)["snapshots"]) == 1

    def test_a_lock_of_a_dead_process_is_removed(self, machine: Machine, tmp_path: Path) -> None:
        host = machine("first")
        filled(host)
        backed_up(host)
        with slow_backup(host, tmp_path) as process:
            process.kill()
            process.wait()
            assert len(locks(host)) == 1
            backups.backup(host, {}, False)
            assert locks(host) == []

    def test_a_lock_of_a_dead_host_is_removed_after_half_an_hour(
        self, machine: Machine, tmp_path: Path
    ) -> None:
        host = machine("first")
        filled(host)
        backed_up(host)
        with slow_backup(host, tmp_path, "another-host") as process:
            process.kill()
            process.wait()
            for minutes, left in ((25, 1), (31, 0)):
                age_lock(host, minutes)
                backups.backup(host, {}, False)
                assert len(locks(host)) == left


def age_lock(host: Host, minutes: int) -> None:
    """The repository's one lock was made, or refreshed, so many minutes ago: restic reads that in
    its encrypted content."""
    restic, folder = Restic(host), Path((host.paths.backup / "repository").read_text()) / "locks"
    [old] = locks(host)
    lock = json.loads(restic._quick("cat", "lock", old, "--no-lock"))
    moment = datetime.now(UTC) - timedelta(minutes=minutes)
    text = json.dumps(lock | {"time": moment.isoformat()}).encode()
    key = json.loads(restic._quick("cat", "masterkey", "--no-lock"))
    nonce = os.urandom(16)
    encrypt = Cipher(AES(base64.b64decode(key["encrypt"])), CTR(nonce)).encryptor()
    sealed = encrypt.update(text) + encrypt.finalize()
    # Poly1305-AES: the second half of its key is the encrypted nonce.
    half = Cipher(AES(base64.b64decode(key["mac"]["k"])), ECB()).encryptor()
    mac = base64.b64decode(key["mac"]["r"]) + half.update(nonce) + half.finalize()
    content = nonce + sealed + Poly1305.generate_tag(mac, sealed)
    (folder / old).unlink()
    (folder / hashlib.sha256(content).hexdigest()).write_bytes(content)


def locks(host: Host) -> list[str]:
    return Restic(host)._quick("list", "locks", "--no-lock").split()


class slow_backup:
    """A restic of this machine that holds the repository's lock while it uploads slowly."""

    def __init__(self, host: Host, folder: Path, hostname: str = "") -> None:
        self.host = host
        # In a namespace of its own, so that this machine keeps its name.
        named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', hostname]
        self.beside = named if hostname else []
        self.large = folder / "large"
        self.large.write_bytes(os.urandom(20_000_000))

    def __enter__(self) -> subprocess.Popen[bytes]:
        environment = os.environ | Restic(self.host)._environment()
        self.process = subprocess.Popen(
            [*self.beside, "restic", "--limit-upload", "20", "backup", str(self.large)],
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        while not locks(self.host):
            time.sleep(0.1)
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        # As it does itself at its end, which would take minutes at this rate.
        Restic(self.host)._quick("unlock", "--remove-all")


@pytest.mark.usefixtures("as_on_a_host")
def test_secrets_are_in_no_argument_and_clients_go_first(machine: Machine, ssh: SshServer) -> None:
    """What ps shows of a backup that runs, of restic and of ssh, and how nice they are."""
    host = machine("first")
    tree = filled(host)
    Access(
        f"sftp://root@{ssh.address}/{ssh.folder}/secrets",
        {
            "ssh_key": ssh.key,
            "known_hosts": ssh.host_keys,
            "environment": "AWS_SECRET_ACCESS_KEY=secret-of-s3\n",
            "password": "secret-of-restic\n",
        },
    ).give(host)
    settings = json.loads((host.paths.backup / "settings.json").read_text())
    write(host, "settings.json", json.dumps(settings | {"rate": 1_000_000}))
    opened(host)
    tree.blob(os.urandom(6_000_000))
    seen: list[tuple[str, int, str]] = []

    def look(backup: Any) -> None:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                arguments = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if (
                arguments.startswith(("restic ", "ssh "))
                and f"{host.paths.etc.parent}" in arguments
            ):
                pid = int(folder.name)
                io = subprocess.run(
                    ["ionice", "-p", str(pid)], capture_output=True, text=True, check=False
                )
                try:
                    nice = os.getpriority(os.PRIO_PROCESS, pid)
                    # A process that ends has lost its I/O class, and soon its arguments.
                    lives = (folder / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
                except OSError:
                    continue
                if lives:
                    seen.append((arguments, nice, io.stdout))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(backups._Backup, "_make_way", look)
        began = time.monotonic()
        backups.backup(host, {}, False)
        took = time.monotonic() - began
    # backup_rate: 6 MB at 1 MB/s.
    assert took > 5
    programs = {arguments.split()[0] for arguments, _, _ in seen}
    assert programs >= {"restic", "ssh"}
    for arguments, nice, io in seen:
        assert "secret-of" not in arguments
        assert (nice, io.strip()) == (19, "idle")
