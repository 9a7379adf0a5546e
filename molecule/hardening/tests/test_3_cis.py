"""The CIS Docker Benchmark, number by number (support/cis.py), and its rules for files."""

from __future__ import annotations

import json
from typing import Any

import pytest
from testinfra.host import Host

from support import cis, evidence

KINDS = ("registry", "token_server")
PASS = "as asked"
FAIL = "NOT as asked"
Rows = list[tuple[str, str, str, str]]


def judged(item: Any, subjects: list[Any]) -> str:
    if item.check is None:
        return str(item.result)
    return PASS if all(item.check(subject) for subject in subjects) else FAIL


@pytest.fixture(scope="module")
def rows() -> Rows:
    """The findings of this module's tests."""
    return []


def test_the_containers_are_as_asked(containers: dict[str, dict[str, Any]], rows: Rows) -> None:
    rows.clear()
    for item in cis.CONTAINERS:
        result = judged(item, [containers[kind] for kind in KINDS])
        rows.append((item.number, item.title, item.words, result))
    assert len(rows) > 35
    assert [row for row in rows if row[3] == FAIL] == []


def test_a_container_that_is_not_would_be_found(containers: dict[str, dict[str, Any]]) -> None:
    loose = json.loads(json.dumps(containers["registry"]))
    loose["HostConfig"] |= {
        **{"Privileged": True, "CapDrop": None, "ReadonlyRootfs": False, "PidsLimit": 0},
        **{"NetworkMode": "host", "PidMode": "host", "IpcMode": "host", "UTSMode": "host"},
        **{"UsernsMode": "host", "Memory": 0, "CgroupParent": "/x", "Ulimits": [{"Name": "x"}]},
        **{"PortBindings": {"80/tcp": [{}]}, "Devices": [{"PathOnHost": "/dev/kvm"}]},
        "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"],
    }
    loose["NetworkSettings"] = {"Ports": {"80/tcp": [{}]}, "Networks": {"bridge": {}}}
    loose["Mounts"] = [{"Source": "/var/run/docker.sock", "Propagation": "shared"}]
    loose["Config"] |= {"User": "", "Env": ["SECRET=x"], "Healthcheck": {"Test": None}}
    loose["State"] = {"Health": {"Status": "starting"}}
    loose["Path"] = "/usr/sbin/sshd"
    items = [item for item in cis.CONTAINERS if item.check]
    assert [item.number for item in items if judged(item, [loose]) == PASS] == []


def test_the_images_hold_no_setuid_program_and_no_shell(
    machine: Host, containers: dict[str, dict[str, Any]], rows: Rows
) -> None:
    for kind in KINDS:
        listed = machine.check_output(
            "docker export %s | tar --list --verbose", containers[kind]["Id"]
        )
        entries = listed.splitlines()
        assert entries
        modes = {entry.split()[0] for entry in entries}
        assert not [mode for mode in modes if "s" in mode.lower()], kind
        names = {entry.split()[5] for entry in entries if not entry.startswith("d")}
        programs = {name.rpartition("/")[2] for name in names}
        assert not programs & {"sh", "bash", "dash", "busybox", "apt", "dpkg", "apk", "su"}, kind
    rows.append(("4.3, 4.8", "no shell, package manager, setuid", "docker export", PASS))


def test_dockers_files_are_as_asked(machine: Host, rows: Rows) -> None:
    for number, path, owner, most in cis.FILES:
        file = machine.file(path)
        if not file.exists:
            rows.append((number, path, f"{owner}, {most:o} at most", "not there"))
            continue
        stated = machine.check_output("stat --dereference --format '%%U:%%G %%a' %s", path)
        actual, mode = stated.split()
        assert (actual, int(mode, 8) & ~most) == (owner, 0), (path, stated)
        rows.append((number, path, f"{owner}, {most:o} at most", PASS))


def test_the_daemon_that_came_with_the_toolkit(name: str, machine: Host, rows: Rows) -> None:
    info = json.loads(machine.check_output("docker info --format '{{json .}}'"))
    results = [(item.number, item.title, item.words, judged(item, [info])) for item in cis.DAEMON]
    assert [row for row in results if row[3] == FAIL] == []
    rows += results
    # Includes the containers' rows: no table is written if a rule is broken.
    assert [row for row in rows if row[3] == FAIL] == []
    version = info["ServerVersion"]
    head = ("number", "asked", "how it is answered", "result")
    evidence.write(
        f"cis-{name}.md",
        f"CIS Docker Benchmark, on {name} with docker {version}",
        "molecule verify --scenario-name hardening",
        "The questions are data in `tests/library/support/cis.py`, asked of both containers by"
        " `molecule/hardening/tests/test_3_cis.py`. What is the host owner's is in"
        " [hardening.md](../hardening.md).\n\n" + evidence.table(head, sorted(rows, key=_order)),
    )


def _order(row: tuple[str, str, str, str]) -> list[int]:
    first = row[0].split(",")[0].split("-")[0]
    return [int(part) for part in first.split(".")]
