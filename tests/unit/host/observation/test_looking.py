"""What `observe` reads from a host: its parts, and the whole on a host with nothing installed."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.unit.host.world import FakeRunner, Machine, host_of
from wharfinger.deployment import facts
from wharfinger.host.commands import run
from wharfinger.host.keys import certificates
from wharfinger.host.observation import engine_facts, engine_state, nginx_configuration, observe
from wharfinger.host.observation.observe import distribution
from wharfinger.host.system import processes, storage_facts
from wharfinger.host.system.paths import Paths
from wharfinger.host.system.runner import Result, SystemRunner
from wharfinger.host.system.storage_facts import foreign_owner, holding, is_source, parse_mounts

SOCKET = Paths().docker_socket

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:01BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1
   1: F1FF1FAC:C350 F2FF1FAC:1388 01 00000000:00000000 00:00000000 00000000     0        0 4712 1
   2: F1FF1FAC:C351 F2FF1FAC:1388 06 00000000:00000000 00:00000000 00000000     0        0 4713 1
"""
TCP6 = """\
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 9
"""
DUMP = """\
nginx: configuration file /etc/nginx/nginx.conf test is successful
# configuration file /etc/nginx/nginx.conf:
user web hosting;
http {
    log_format main '$remote_addr {"a": "${b}"} ; }';
    upstream u { server 10.0.0.1:80; }
    include /etc/nginx/conf.d/*.conf;
}

# configuration file /etc/nginx/conf.d/a.conf:
server {
    listen 443 ssl http2; # not; this { one
    listen [::]:443 ssl;
    server_name "a.example" b.example;
    location / { proxy_pass http://u; }
}
server { server_name c.example; }
"""


def proc(folder: Path) -> Path:
    (folder / "net").mkdir(parents=True)
    (folder / "net" / "tcp").write_text(TCP)
    (folder / "net" / "tcp6").write_text(TCP6)
    (folder / "77" / "fd").mkdir(parents=True)
    (folder / "77" / "comm").write_text("apache2\n")
    (folder / "77" / "fd" / "3").symlink_to("socket:[4711]")
    (folder / "77" / "stat").write_text("77 (a) b) S 12 77 77 0 -1" + " 0" * 13 + " 991 0")
    return folder


def test_listeners_are_named_with_their_program(tmp_path: Path) -> None:
    assert processes.listeners(proc(tmp_path)) == [
        {"address": "::1", "port": 80, "program": None, "pid": None},
        {"address": "0.0.0.0", "port": 443, "program": "apache2", "pid": 77},
    ]


def test_a_descriptor_that_is_closed_meanwhile_does_not_hide_an_open_file(tmp_path: Path) -> None:
    folder, log = proc(tmp_path) / "77" / "fd", tmp_path / "access.log"
    for number in range(4, 12):
        # As a closed descriptor, a file that is not a link cannot be read as one.
        (folder / str(number)).write_text("")
    (folder / "12").symlink_to(log)
    assert processes.opened(tmp_path, [76, 77], [log])
    assert not processes.opened(tmp_path, [76, 77], [tmp_path / "error.log"])


def test_only_connections_that_may_carry_a_request_count(tmp_path: Path) -> None:
    assert len(processes.connections(proc(tmp_path), "172.31.255.242", 5000)) == 1
    assert processes.connections(tmp_path, "172.31.255.243", 5000) == frozenset()


def test_only_connections_that_are_established_to_a_port_of_ours_are_clients(
    tmp_path: Path,
) -> None:
    folder = proc(tmp_path)
    assert processes.clients(folder, {443, 0xC350}) == 1
    assert processes.clients(folder, {443, 0xC351, 5000}) == 0


def test_a_process_says_what_it_is_until_it_is_gone(tmp_path: Path) -> None:
    (proc(tmp_path) / "77" / "cmdline").write_text("nginx: worker process\0\0")
    assert processes.command_line(tmp_path, 77) == "nginx: worker process"
    assert processes.command_line(tmp_path, 78) == ""


def test_a_process_is_known_by_number_and_start_so_that_a_reused_number_is_not_it(
    tmp_path: Path,
) -> None:
    folder = proc(tmp_path)
    assert processes.parent_and_start(folder, 77) == (12, 991)
    assert processes.children(folder, 12) == [[77, 991]]
    assert processes.alive(folder, [[77, 991], [77, 990], [78, 1]]) == [[77, 991]]


def test_routes_are_read_without_iproute2(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "route").write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    )
    assert processes.routes(tmp_path) == [{"destination": "172.17.0.0/16", "device": "docker0"}]


def test_the_servers_of_an_nginx_are_read_with_quotes_comments_and_braces() -> None:
    assert [vars(server) for server in nginx_configuration.servers(DUMP)] == [
        {
            "file": "/etc/nginx/conf.d/a.conf",
            "listen": ["443 ssl http2", "[::]:443 ssl"],
            "names": ["a.example", "b.example"],
        },
        {"file": "/etc/nginx/conf.d/a.conf", "listen": ["80"], "names": ["c.example"]},
    ]
    assert nginx_configuration.user(DUMP) == ("web", "hosting")


def test_a_certificate_is_read_and_its_key_belongs_to_it(tmp_path: Path) -> None:
    def make(name: str, subject: str) -> None:
        command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3"
        files = ["-keyout", f"{name}.key", "-out", f"{name}.crt", "-subj", subject]
        names = ["-addext", "subjectAltName=DNS:r.example,IP:192.0.2.7"]
        subprocess.run(
            ["openssl", *command.split(), *files, *names],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )

    make("a", "/CN=r.example")
    make("b", "/CN=b.example")
    certificate = certificates.facts(SystemRunner(), tmp_path / "a.crt", tmp_path / "a.key")
    assert certificate is not None
    assert certificate.subject == certificate.issuer == "CN=r.example"
    assert certificate.names == ("r.example", "192.0.2.7")
    assert certificate.key_matches is True
    assert certificate.not_after - certificate.not_before == 3 * 86400
    assert len(certificate.fingerprint) == 64
    other = certificates.facts(SystemRunner(), tmp_path / "a.crt", tmp_path / "b.key")
    assert other is not None
    assert other.key_matches is False


def test_without_openssl_or_without_a_file_there_is_no_certificate(tmp_path: Path) -> None:
    assert certificates.facts(SystemRunner(), tmp_path / "gone.crt") is None
    (tmp_path / "a.crt").write_text("x")
    assert certificates.facts(FakeRunner(), tmp_path / "a.crt") is None


@pytest.mark.parametrize(
    ("info", "problem"),
    [
        ({"SecurityOptions": ["name=seccomp,profile=default"]}, None),
        ({"SecurityOptions": ["name=seccomp", "name=rootless"]}, "rootless"),
        ({"SecurityOptions": ["name=userns"]}, "userns-remap"),
        ({"DockerRootDir": "/var/snap/docker/common/var-lib-docker"}, "snap"),
        # From the answer of podman 5.4.2 (Debian 13).
        ({"BuildahVersion": "1.39.3", "ProductLicense": "Apache-2.0"}, "podman"),
    ],
)
def test_an_engine_that_cannot_work_is_recognised(
    info: dict[str, object], problem: str | None
) -> None:
    assert engine_facts.facts(info, SOCKET)["state"] == (problem or "running")


def test_the_two_image_stores_are_distinguished() -> None:
    classic = {"DriverStatus": [["Backing Filesystem", "extfs"]]}
    containerd = {"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}
    assert engine_facts.facts(classic, SOCKET)["images_store"] == "classic"
    assert engine_facts.facts(containerd, SOCKET)["images_store"] == "containerd"


def test_podmans_docker_command_is_recognised_by_what_it_is(tmp_path: Path) -> None:
    command = tmp_path / "docker"
    command.write_text('#!/bin/sh\nexec /usr/bin/podman "$@"\n')
    assert engine_facts.client_state(str(command), command.read_text()) == engine_state.PODMAN
    assert engine_facts.client_state(str(command), "\x7fELF podman") is None
    assert engine_facts.client_state("/snap/bin/docker", "\x7fELF") == engine_state.SNAP
    assert engine_facts.client_state(None, "") is None


def test_a_path_is_on_the_mount_that_is_nearest_and_came_last() -> None:
    mounts = parse_mounts(
        "/dev/a / ext4 rw 0 0\n/dev/b /srv xfs rw 0 0\n/dev/c /srv ext4 rw 0 0\n"
        "/dev/d /srv/a\\040b ext4 rw 0 0\n/dev/e /sr ext4 rw 0 0\n"
    )
    assert holding(mounts, Path("/srv/x"))["source"] == "/dev/c"
    assert holding(mounts, Path("/srv/a b/c"))["source"] == "/dev/d"
    assert holding(mounts, Path("/usr"))["source"] == "/dev/a"


def test_the_mount_is_compared_with_the_inventorys(tmp_path: Path) -> None:
    disk, place = tmp_path / "disk", tmp_path / "place"
    disk.mkdir()
    place.symlink_to(disk)  # to os.stat what a bind mount is
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert is_source({"src": str(disk), "bind": True}, place, "/dev/vda1") is True
    assert is_source({"src": "nas:/export/"}, place, "nas:/export") is True
    assert is_source({"src": "nas:/export"}, place, "other:/export") is False
    assert is_source({"src": "/dev/null"}, place, "/dev/null") is True
    assert is_source({"src": "/dev/zero"}, place, "/dev/null") is False
    # A missing link says nothing.
    assert is_source({"src": "UUID=no-such"}, place, "/dev/null") is None
    assert is_source({"src": str(elsewhere), "bind": True}, place, "tmpfs") is False


def test_data_of_another_owner_is_found_below(tmp_path: Path) -> None:
    (tmp_path / "registry" / "v2").mkdir(parents=True)
    mine = tmp_path.stat().st_uid
    assert foreign_owner(tmp_path, mine) is None
    assert foreign_owner(tmp_path, mine + 1) == str(tmp_path)


def test_os_release_is_read() -> None:
    text = 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nVERSION_ID="13"\nID=debian\nBAD\n'
    assert distribution(text) == {
        "id": "debian",
        "version": "13",
        "codename": "",
        "name": "Debian GNU/Linux 13 (trixie)",
    }


def test_observe_works_where_nothing_is_installed_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This machine's own address.
    monkeypatch.setattr(engine_facts, "_process", lambda _proc: None)
    host = host_of(tmp_path, Machine())
    before = sorted(tmp_path.rglob("*"))
    report = run("observe", {"names": ["localhost"], "config_files": ["/nowhere"]}, host=host)
    assert sorted(tmp_path.rglob("*")) == before
    assert report["changed"] is False
    assert report["prepared"] is False
    assert report["verification_hash"] is None
    assert report["engine"].pop("free_bytes") > 0
    assert report["engine"] == {
        "state": "absent",
        "detail": None,
        "present": False,
        "running": False,
        "warning": None,
        "version": None,
        "root": None,
        "images_store": None,
    }
    assert report["packages"]["docker.io"] is None
    assert report["certificates"] == dict.fromkeys(("ca", "tls", "signing", "signing_next"))
    assert report["files"] == {"/nowhere": None}
    assert "127.0.0.1" in report["resolved"]["localhost"]
    assert report["state"]["generations"] == {
        "registry": {"serving": None, "previous": None},
        "token_server": {"serving": None, "previous": None},
    }


def test_observe_reports_every_fact_that_the_controller_judges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_facts, "_process", lambda _proc: None)
    report = run("observe", {"names": ["localhost"]}, host=host_of(tmp_path, Machine()))

    def names(kind: type) -> set[str]:
        return {field.name for field in dataclasses.fields(kind)}

    # `reachable` reports these.
    assert names(facts.HostFacts) - {"registries", "acme"} <= report.keys()
    for name in ("distribution", "engine", "nginx", "storage"):
        assert names(getattr(facts, name.capitalize())) <= report[name].keys()
    assert names(facts.Memory) - {"error"} <= report["state"].keys()
    assert names(facts.Generations) <= report["state"]["generations"]["registry"].keys()


def test_a_host_that_was_given_no_name_looks_up_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Box")

    def resolver(name: str, *_: object, **options: object) -> list[tuple[object, ...]]:
        known = {"Box": "192.0.2.7", "box.example": "192.0.2.7", "box.internal": "192.0.2.8"}
        return [(2, 1, 6, "box.example" if name == "Box" else "", (known[name], 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    report = run("observe", {}, host=host_of(tmp_path, Machine()))
    assert report["fqdn"] == "box.example"
    assert report["resolved"] == {"box.example": ["192.0.2.7"], "box.internal": ["192.0.2.8"]}


def test_a_resolver_that_hangs_delays_nothing_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observe, "_RESOLUTION", 0.05)

    over = threading.Event()

    def hanging(*_: object, **__: object) -> None:
        over.wait(600)
        raise OSError("no answer")

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    before = time.monotonic()
    report = run("observe", {"names": ["r.example"]}, host=host_of(tmp_path, Machine()))
    assert time.monotonic() - before < 300
    over.set()
    assert report["resolved"] == {"r.example": []}
    assert report["fqdn"] == socket.gethostname()


def test_observe_knows_packages_from_one_question(tmp_path: Path) -> None:
    host = host_of(tmp_path, Machine())
    runner = host.runner
    assert isinstance(runner, FakeRunner)
    runner.answers["dpkg-query"] = Result(
        1, "nginx installed 1.26.3-3\ndocker.io config-files 20.10\n", "no packages found"
    )
    packages = run("observe", {}, host=host)["packages"]
    assert (packages["nginx"], packages["docker.io"]) == ("1.26.3-3", None)
    assert sum(call[0] == "dpkg-query" for call in runner.calls) == 1


def test_once_prepared_observe_says_so(tmp_path: Path) -> None:
    host = host_of(tmp_path, Machine())
    run("prepare", {"installed": {"packages": ["nginx"]}}, host=host)
    report = run("observe", {}, host=host)
    assert report["prepared"] is True
    assert report["state"]["installed"] == {"packages": ["nginx"]}
    assert report["verification_hash"].startswith("$2b$04$")
    host.paths.registry.chmod(0o700)
    assert run("observe", {}, host=host)["prepared"] is False


def test_observe_tells_of_robots_without_their_hashes(tmp_path: Path) -> None:
    host = host_of(tmp_path, Machine())
    assert run("observe", {}, host=host)["robots"] == {}
    until = "2026-12-01T00:00:00Z"
    record = {
        "admin": {"hash": "$2b$10$x"},
        "someuser": {"hash": "$2b$10$x", "generated": "ab"},
        "nodes": {"hash": "$2b$04$x", "generated": "cd", "robot": True},
        "ci": {
            **{"hash": "$2b$04$x", "generated": "ef", "robot": True},
            "previous": {"hash": "$2b$04$y", "digest": "gh", "until": until},
        },
    }
    host.paths.users.parent.mkdir(parents=True, exist_ok=True)
    host.paths.users.write_text(json.dumps(record))
    assert run("observe", {}, host=host)["robots"] == {
        "nodes": {"generated": "cd", "former": None, "until": None},
        "ci": {"generated": "ef", "former": "gh", "until": until},
    }
    for broken in ("", "[]", '{"ci": 7}', '{"ci": {"robot": true}}'):
        host.paths.users.write_text(broken)
        assert run("observe", {}, host=host)["robots"] == {}


def test_observe_tells_which_accounts_were_removed(tmp_path: Path) -> None:
    host = host_of(tmp_path, Machine())
    request = {"accounts": ["ann", "ben", "new"]}
    assert run("observe", request, host=host)["removed"] == {}
    host.paths.removed_accounts.parent.mkdir(parents=True, exist_ok=True)
    host.paths.removed_accounts.write_text(json.dumps(dict.fromkeys(["ann", "ben", "cy"], "then")))
    assert run("observe", request, host=host)["removed"] == {"ann": "then", "ben": "then"}
    # A run was killed before it had removed her.
    host.paths.users.write_text('{"ann": {"hash": "$2b$10$x"}}')
    report = run("observe", request, host=host)
    assert (report["removed"], report["removed_error"]) == ({"ben": "then"}, None)
    assert run("prepare", {}, host=host)["removed"]["cy"] == "then"
    for broken in ("[]", "{", '{"ann": 7}'):
        host.paths.removed_accounts.write_text(broken)
        report = run("observe", request, host=host)
        assert report["removed"] == {}
        assert report["removed_error"] == (
            f"{host.paths.removed_accounts} is damaged, so the accounts that were removed from "
            "this host are not known: restore it from a backup, or remove it (an old copy "
            "of the inventory can then bring removed users back)"
        )


# -- disks that have no room, or cannot be written -------------------------------------------------


def sizes(free: int, total: int, flags: int = 0) -> os.statvfs_result:
    """The kernel's answer about a file system, in blocks of 1 MiB."""
    return os.statvfs_result((2**20, 2**20, total, free, free, 1000, 900, 900, flags, 255))


@pytest.mark.parametrize(
    ("free", "total", "flags", "said"),
    [
        (1024, 500_000, 0, ""),
        (20, 300, 0, ""),
        (1023, 500_000, 0, "only 1023 MiB of 500000 MiB are free at "),
        (0, 300, 0, "only 0 MiB of 300 MiB are free at "),
        (500, 1000, os.ST_RDONLY, "is mounted read-only: look for the reason in the kernel's log"),
    ],
)
def test_a_disk_that_has_no_room_or_cannot_be_written_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, total: int, flags: int, said: str
) -> None:
    host = host_of(tmp_path, Machine())
    data = tmp_path / "disk"
    data.mkdir()
    real = os.statvfs
    disk = sizes(free, total, flags)
    monkeypatch.setattr(os, "statvfs", lambda path: disk if path == data else real(path))
    sentences = storage_facts.problems(host, data)
    if said:
        (sentence,) = sentences
        assert sentence.startswith("storage: ") and said in sentence
        assert (
            f"{data}, where the registry's data lie" in sentence or f"at {data}, where" in sentence
        )
    else:
        assert sentences == []


def test_the_disk_of_the_hosts_own_files_is_looked_at_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = host_of(tmp_path, Machine())
    monkeypatch.setattr(os, "statvfs", lambda path: sizes(0, 300))
    data = tmp_path / "disk"
    # If both are on one disk, as without storage_mount, it is reported once.
    (sentence,) = storage_facts.problems(host, data)
    assert "the registry's data" in sentence
    monkeypatch.setattr(storage_facts, "_device", lambda path: 1 if path == data else 2)
    assert storage_facts.problems(host, data)[1] == (
        f"storage: only 0 MiB of 300 MiB are free at {host.paths.var}, where the host's own files "
        "lie: make room, as in docs/operations.md"
    )
