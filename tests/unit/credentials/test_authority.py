"""An authority whose key stays on the controller, with a host that asks it, and real openssl."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.host.world import Machine, host_of
from wharfinger.credentials.authority import OfflineAuthority
from wharfinger.host.commands import run
from wharfinger.host.system.context import Host
from wharfinger.host.system.errors import HostError
from wharfinger.host.system.runner import SystemRunner

HOSTNAME = "r.example.com"


class Site:
    """A controller's folder, and hosts that are deployed from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = OfflineAuthority(folder / "credentials", HOSTNAME)
        self.authority.folder.mkdir()

    def host(self, name: str) -> Host:
        host = host_of(self.folder / name, Machine(seconds=time.time()))
        host.runner = SystemRunner()
        run("prepare", {}, host=host)
        return host

    def deploy(self, host: Host, **more: Any) -> dict[str, Any]:
        settings = {"hostname": HOSTNAME, "names": [HOSTNAME], "ca_offline": True, **more}
        return self.exchange(host, "certificates", {"settings": settings})

    def exchange(
        self,
        host: Host,
        command: str,
        request: dict[str, Any],
        *,
        cut_off: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        """Does what the role does: ask, sign, hand over, adopt."""
        answer = run(command, request, host=host)
        if answer["wanted"] is not None:
            signed = self.authority.sign(answer["wanted"])
            cut_off()
            answer = run(command, {**request, "signed": signed}, host=host)
            assert answer["wanted"] is None
            self.authority.adopt(answer["ca"].encode())
        return answer

    def files(self) -> set[str]:
        return {path.name.removeprefix(f"{HOSTNAME}-") for path in self.authority.folder.iterdir()}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def leads(host: Host, authority: Path) -> bool:
    served = host.paths.served
    command = ["openssl", "verify", "-x509_strict", "-verify_hostname", HOSTNAME]
    done = subprocess.run(
        [*command, "-CAfile", authority, "-untrusted", served, served],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def test_the_host_never_has_the_authoritys_key(site: Site) -> None:
    host = site.host("one")
    site.deploy(host)
    assert not (host.paths.certificates / "ca.key").exists()
    assert site.files() == {"ca.key", "ca.crt"}
    key = site.authority.folder / f"{HOSTNAME}-ca.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert leads(host, host.paths.certificates / "ca.crt")
    assert site.deploy(host)["actions"] == []


def test_a_host_that_was_set_up_again_has_the_same_authority(site: Site) -> None:
    first, second = site.host("one"), site.host("two")
    site.deploy(first)
    site.deploy(second)
    assert leads(second, first.paths.certificates / "ca.crt")


def test_another_follows_and_clients_of_either_go_on(site: Site, tmp_path: Path) -> None:
    host = site.host("one")
    site.deploy(host)
    old = tmp_path / "old.crt"
    old.write_bytes((host.paths.certificates / "ca.crt").read_bytes())
    answer = site.exchange(host, "rotate", {"what": "ca"})
    assert "the authority's certificate is in place" in answer["actions"]
    assert leads(host, old)
    assert leads(host, host.paths.certificates / "ca.crt")
    assert site.files() == {"ca.key", "ca.crt", "ca_before.key"}
    with pytest.raises(HostError, match="was already replaced"):
        run("rotate", {"what": "ca"}, host=host)
    site.exchange(host, "rotate", {"what": "ca", "finish": True})
    assert not leads(host, old)
    assert leads(host, host.paths.certificates / "ca.crt")


def test_a_run_that_is_cut_off_goes_on_with_the_authority_that_was_prepared(site: Site) -> None:
    host = site.host("one")
    site.deploy(host)

    def cut_off() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        site.exchange(host, "rotate", {"what": "ca"}, cut_off=cut_off)
    prepared = (site.authority.folder / f"{HOSTNAME}-ca_next.crt").read_bytes()
    site.exchange(host, "rotate", {"what": "ca"})
    assert (host.paths.certificates / "ca.crt").read_bytes() == prepared


def test_a_run_that_is_cut_off_before_the_controller_knows_goes_on_too(site: Site) -> None:
    host = site.host("one")
    site.deploy(host)
    request = {"what": "ca"}
    signed = site.authority.sign(run("rotate", request, host=host)["wanted"])
    run("rotate", {**request, "signed": signed}, host=host)
    assert "ca_next.key" in site.files()
    site.exchange(host, "rotate", {"what": "tls"})
    assert site.files() == {"ca.key", "ca.crt", "ca_before.key"}
    assert leads(host, host.paths.certificates / "ca.crt")


def test_the_timer_only_warns(site: Site) -> None:
    host = site.host("one")
    site.deploy(host, tls_days=1)
    run("site", {"content": "server {}\n"}, host=host)
    host.clock.sleep(2e9 - host.clock.now())
    with pytest.raises(HostError) as caught:
        run("renew", {}, host=host)
    assert (
        "certificates: the server's certificate is due, and the authority's key is not on this "
        "host (certificates_ca_offline): run playbooks/rotate_certificates.yml from the controller "
        "that has it"
    ) in str(caught.value)


def test_a_certificate_for_another_request_is_refused(site: Site) -> None:
    host = site.host("one")
    site.deploy(host)
    signed = site.authority.sign(run("rotate", {"what": "tls"}, host=host)["wanted"])
    (host.paths.certificates / "tls_next.key").write_bytes(site.authority.pki.key("ec"))
    with pytest.raises(HostError) as caught:
        run("rotate", {"what": "tls", "signed": signed}, host=host)
    assert str(caught.value) == (
        "certificates: what was signed belongs to another request of this host: run the playbook "
        "again"
    )
    assert leads(host, host.paths.certificates / "ca.crt")


def test_a_missing_key_is_named_with_how_to_provide_it(site: Site) -> None:
    host = site.host("one")
    site.deploy(host)
    key = site.authority.folder / f"{HOSTNAME}-ca.key"
    key.unlink()
    wanted = run("rotate", {"what": "tls"}, host=host)["wanted"]
    with pytest.raises(HostError) as caught:
        site.authority.sign(wanted)
    assert str(caught.value) == (
        f"certificates_ca_offline: the key of the host's authority is not at {key}: restore it "
        "there from a backup (mode 0600), or, if it is lost, remove the authority from the host "
        "(rm /etc/wharfinger/certificates/ca.*), run site.yml, and let all clients trust the new "
        "one"
    )


def test_anothers_key_is_refused(site: Site) -> None:
    host = site.host("one")
    site.deploy(host)
    key = site.authority.folder / f"{HOSTNAME}-ca.key"
    key.write_bytes(site.authority.pki.key("ec"))
    wanted = run("rotate", {"what": "tls"}, host=host)["wanted"]
    with pytest.raises(HostError) as caught:
        site.authority.sign(wanted)
    assert str(caught.value) == (
        f"certificates_ca_offline: {key} is not the key of the host's authority: restore the "
        "right one from a backup"
    )


def test_the_hosts_key_is_on_the_disk_before_the_host_gives_it_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())

    monkeypatch.setattr(os, "fsync", fsync)
    keeper = OfflineAuthority(tmp_path, HOSTNAME)
    assert keeper.take(b"the key\n") is True
    key = tmp_path / f"{HOSTNAME}-ca.key"
    assert (key.read_bytes(), key.stat().st_mode & 0o777) == (b"the key\n", 0o600)
    assert synced == [tmp_path / f".{key.name}.new", tmp_path]
    assert keeper.take(b"the key\n") is False
