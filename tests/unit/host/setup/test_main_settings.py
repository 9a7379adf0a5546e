"""nginx.conf: a package's own gets room for half-sent requests, any other is not changed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.unit.host.world import FakeRunner, Machine, host_of
from wharfinger.host.commands import run
from wharfinger.host.setup import main_settings
from wharfinger.host.system.context import Host
from wharfinger.host.system.runner import Result

DEBIAN = (
    "user www-data;\ninclude /etc/nginx/modules-enabled/*.conf;\n\n"
    "events {\n\tworker_connections 768;\n\t# multi_accept on;\n}\n\nhttp {\n}\n"
)
REQUEST = {"content": "server {}\n"}


class Dpkg(FakeRunner):
    """dpkg's record of nginx.conf, and its diversions."""

    def __init__(self, conf: Path) -> None:
        super().__init__()
        self.conf = conf
        self.diverted = ""
        self.delivers(conf.read_text())
        self.answers["dpkg-query --search"] = Result(0, f"nginx-common: {conf}\n", "")

    def delivers(self, text: str) -> None:
        digest = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
        self.answers["dpkg-query -W"] = Result(0, f"\n {self.conf} {digest}\n /etc/x 0123\n", "")

    def run(self, arguments: Sequence[str], **options: Any) -> Result:
        if arguments[0] != "dpkg-divert":
            return super().run(arguments, **options)
        if arguments[1] == "--truename":
            return Result(0, f"{self.diverted or self.conf}\n", "")
        self.diverted = arguments[4] if "--add" in arguments else ""
        return Result(0, "", "")


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "nginx" / "nginx.conf"
    path.parent.mkdir()
    path.write_text(DEBIAN)
    return path


@pytest.fixture
def dpkg(conf: Path) -> Dpkg:
    return Dpkg(conf)


@pytest.fixture
def host(tmp_path: Path, dpkg: Dpkg, machine: Machine) -> Host:
    host = host_of(tmp_path, machine)
    host.runner = dpkg
    run("prepare", {"installed": {"packages": ["nginx"]}}, host=host)
    return host


def package(conf: Path) -> Path:
    return conf.with_name("nginx.conf.package")


def test_a_packages_own_gets_room_and_comes_back(host: Host, dpkg: Dpkg, conf: Path) -> None:
    would = run("site", REQUEST, host=host, check=True)["actions"]
    assert conf.read_text() == DEBIAN
    actions = run("site", REQUEST, host=host)["actions"]
    action = f"{conf}: room for 8192 connections (the package's own is {package(conf)})"
    assert action in would
    assert action in actions
    assert "nginx: started" in actions
    assert package(conf).read_text() == DEBIAN
    assert "\tworker_connections 8192;\n" in conf.read_text()
    assert "\nworker_rlimit_nofile 16896;\nevents {\n" in conf.read_text()
    assert run("site", REQUEST, host=host)["changed"] is False
    assert f"{conf}: the package's own again" in run("remove", {}, host=host)["actions"]
    assert conf.read_text() == DEBIAN
    assert not package(conf).exists()
    assert dpkg.diverted == ""
    assert run("remove", {}, host=host)["changed"] is False


def test_a_later_package_is_followed(host: Host, conf: Path) -> None:
    """dpkg has put it where the diversion says, without a question."""
    run("site", REQUEST, host=host)
    package(conf).write_text(DEBIAN + "# later\n")
    assert run("site", REQUEST, host=host)["changed"] is True
    assert conf.read_text().endswith("# later\n")
    assert "worker_connections 8192;" in conf.read_text()
    run("remove", {}, host=host)
    assert conf.read_text() == DEBIAN + "# later\n"


def test_an_nginx_that_was_there_before_is_left_alone(
    tmp_path: Path, conf: Path, machine: Machine
) -> None:
    host = host_of(tmp_path, machine)
    host.runner = Dpkg(conf)
    run("prepare", {}, host=host)
    run("site", REQUEST, host=host)
    assert conf.read_text() == DEBIAN


@pytest.mark.parametrize(
    "text",
    [
        DEBIAN.replace("768", "1024"),  # not what the package has delivered
        DEBIAN + "# mine\n",
    ],
)
def test_somebody_elses_is_left_alone(host: Host, conf: Path, text: str) -> None:
    conf.write_text(text)
    run("site", REQUEST, host=host)
    assert conf.read_text() == text
    assert not package(conf).exists()


@pytest.mark.parametrize(
    "text",
    [
        DEBIAN.replace("768", "10000"),
        DEBIAN.replace("\tworker_connections 768;\n", ""),
        "worker_rlimit_nofile 100;\n" + DEBIAN,
        DEBIAN + DEBIAN,
    ],
)
def test_what_is_written_otherwise_is_left_alone_too(
    host: Host, dpkg: Dpkg, conf: Path, text: str
) -> None:
    conf.write_text(text)
    dpkg.delivers(text)
    run("site", REQUEST, host=host)
    assert conf.read_text() == text


def test_where_nginx_refuses_it_the_package_has_its_own_back(
    host: Host, conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses() -> str | None:
        return "duplicate" if "8192" in conf.read_text() else None

    monkeypatch.setattr(host.nginx, "test", refuses)
    run("site", REQUEST, host=host)
    assert conf.read_text() == DEBIAN
    assert not package(conf).exists()


def test_a_file_that_its_owner_has_changed_since_stays(host: Host, conf: Path) -> None:
    run("site", REQUEST, host=host)
    mine = conf.read_text() + "# mine\n"
    conf.write_text(mine)
    assert run("site", REQUEST, host=host)["changed"] is False
    assert f"{conf}: left as it is" in run("remove", {}, host=host)["actions"]
    assert conf.read_text() == mine
    assert not package(conf).exists()


@pytest.mark.parametrize("after", [False, True])
def test_killed_anywhere_nginx_has_a_configuration(
    tmp_path: Path, conf: Path, machine: Machine, after: bool
) -> None:
    host = host_of(tmp_path, machine)
    host.runner = Dpkg(conf)
    run("prepare", {"installed": {"packages": ["nginx"]}}, host=host)
    # As a kill leaves it between copy, diversion and new text.
    package(conf).write_text(DEBIAN)
    if after:
        host.runner.diverted = str(package(conf))
    assert conf.read_text() == DEBIAN
    assert run("site", REQUEST, host=host)["changed"] is True
    assert "worker_connections 8192;" in conf.read_text()
    run("remove", {}, host=host)
    assert conf.read_text() == DEBIAN


def test_how_many_connections_there_are() -> None:
    assert main_settings.connections(DEBIAN) == 768
    assert main_settings.connections("http {}\n") is None
