"""The smaller commands: what they ensure, and their errors."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from images.registry import recipe
from tests.unit.host.world import SUBNET, FakeRunner, Machine, host_of, spec
from wharfinger.deployment import host_files
from wharfinger.host.__main__ import main
from wharfinger.host.backup import recovery
from wharfinger.host.commands import run
from wharfinger.host.observation.status import problems
from wharfinger.host.observation.status import text as status_text
from wharfinger.host.rollout.images import INDEX_MEMBERS, pulled_digest, repository
from wharfinger.host.rollout.specification import size
from wharfinger.host.setup import zipapp
from wharfinger.host.system import restoring
from wharfinger.host.system.context import Host
from wharfinger.host.system.errors import HostError
from wharfinger.host.system.names import slots
from wharfinger.host.system.packages import removable
from wharfinger.host.system.passwords import bcrypt, belongs
from wharfinger.host.system.paths import Paths
from wharfinger.host.system.restoring import BRINGING, Restoring
from wharfinger.host.system.runner import Result
from wharfinger.host.system.service import start_service
from wharfinger.host.system.state import merged


@pytest.fixture
def host(tmp_path: Path, machine: Machine) -> Host:
    host = host_of(tmp_path, machine)
    run("prepare", {}, host=host)
    return host


def runner(host: Host) -> FakeRunner:
    assert isinstance(host.runner, FakeRunner)
    return host.runner


def message(command: str, request: dict[str, Any], host: Host) -> str:
    with pytest.raises(HostError) as caught:
        run(command, request, host=host)
    return str(caught.value)


# -- prepare ---------------------------------------------------------------------------------------


def test_prepare_makes_directories_closed_to_others_and_secrets_once(
    tmp_path: Path, machine: Machine
) -> None:
    host = host_of(tmp_path / "new", machine)
    would = run("prepare", {}, host=host, check=True)
    assert would["changed"]
    assert not host.paths.etc.exists()
    first = run("prepare", {}, host=host)
    modes = {
        host.paths.etc: 0o700,
        host.paths.certificates: 0o700,
        host.paths.token_server: 0o750,
        host.paths.registry: 0o750,
        host.paths.secrets: 0o700,
        host.paths.var: 0o711,
        host.paths.generations: 0o700,
        host.paths.http_secret: 0o600,
        host.paths.verification_password: 0o600,
        host.paths.state: 0o600,
    }
    assert {path: path.stat().st_mode & 0o7777 for path in modes} == modes
    password = host.paths.verification_password.read_text().strip()
    assert len(password) >= 40
    assert belongs(password, first["verification_hash"])
    assert first["verification_digest"] == hashlib.sha256(password.encode()).hexdigest()
    assert would["verification_digest"] is None
    again = run("prepare", {}, host=host)
    assert (again["changed"], again["verification_hash"]) == (False, first["verification_hash"])
    # -v shows the answer to a role's request, so it must not contain hashes.
    answer = run("prepare", {"installed": {"packages": ["nginx"]}}, host=host)
    assert answer.keys() == {"changed", "actions"}
    assert password not in json.dumps(first)


def test_a_wrong_mode_is_mended_and_named(host: Host) -> None:
    host.paths.secrets.chmod(0o755)
    (action,) = run("prepare", {}, host=host)["actions"]
    assert action.startswith(f"{host.paths.secrets}: now 0700 ")
    assert "was 0755" in action


def test_a_file_where_a_directory_belongs_is_an_error(tmp_path: Path, machine: Machine) -> None:
    host = host_of(tmp_path / "x", machine)
    host.paths.var.mkdir(parents=True)
    host.paths.etc.write_text("")
    assert message("prepare", {}, host) == (
        f"{host.paths.etc} is there but is not a directory: move it away"
    )


def test_storage_that_should_be_a_mount_and_is_not_stops_everything(
    host: Host, tmp_path: Path
) -> None:
    path = tmp_path / "disk"
    path.mkdir()
    request = {"storage": {"path": str(path), "group": os.getgid(), "mount": True}}
    assert message("prepare", request, host) == (
        f"storage_path: {path} is not a mount point, but storage_mount says that a file system is "
        "mounted there: see that its disk is there and mount it before anything is written to "
        "the wrong one"
    )
    assert list(path.iterdir()) == []


def test_data_of_another_owner_shows_the_command_to_run(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "disk"
    (path / "docker").mkdir(parents=True)
    mine = os.getuid()
    host.registry_id = mine + 1
    with pytest.raises(HostError) as caught:
        from wharfinger.host.setup.prepare import storage_directories

        storage_directories(host, {"path": str(path), "group": os.getgid()}, check=True)
    assert str(caught.value) == (
        f"storage_path: {path}/docker belongs to user id {mine}, the registry runs as {mine + 1}: "
        f"run `chown -R {mine + 1}:{mine + 1} {path}/docker` once, while nothing else uses it"
    )


def test_installed_packages_are_added_up_over_runs() -> None:
    assert merged({"packages": ["a"]}, {"packages": ["a", "b"], "x": 1}) == {
        "packages": ["a", "b"],
        "x": 1,
    }


def test_bcrypt_hashes_are_salted_and_belong_to_their_password_only() -> None:
    first, second = bcrypt("correct horse"), bcrypt("correct horse")
    assert first != second
    assert first.startswith("$2b$04$")
    assert len(first) == 60
    assert belongs("correct horse", first)
    assert not belongs("wrong horse", first)


# -- service ---------------------------------------------------------------------------------------


def test_a_running_service_is_left_alone(host: Host) -> None:
    assert start_service("docker", host.paths, host.runner, lambda: True) == []
    assert runner(host).calls == []


def test_the_service_manager_is_asked_first(host: Host) -> None:
    host.paths.systemd.mkdir()
    runner(host).answers["systemctl"] = Result(0, "", "")
    answers = iter([False, True])
    assert start_service("docker", host.paths, host.runner, lambda: next(answers)) == [
        "docker: started (systemctl start docker)"
    ]


def test_dockerd_is_started_by_itself_where_its_init_script_ends_at_the_limit(host: Host) -> None:
    why = "/etc/init.d/docker: 62: ulimit: error setting limit (Operation not permitted)"
    runner(host).answers |= {
        "service docker": Result(2, "", why),
        "start-stop-daemon": Result(0, "", ""),
    }
    assert start_service(
        "docker",
        host.paths,
        host.runner,
        lambda: any(call[0] == "start-stop-daemon" for call in runner(host).calls),
        patience=0,
    ) == [
        "docker: started by start-stop-daemon, because its init script cannot here "
        "(/etc/init.d/docker: 62: ulimit: error setting limit (Operation not permitted))"
    ]


def test_a_service_that_does_not_start_is_an_error_with_its_words(host: Host) -> None:
    runner(host).answers["service nginx"] = Result(1, "", "bind() to 0.0.0.0:80 failed")
    with pytest.raises(HostError) as caught:
        start_service("nginx", host.paths, host.runner, lambda: False, patience=0)
    assert str(caught.value) == (
        "nginx does not start (`service nginx start` said: bind() to 0.0.0.0:80 failed). Nothing "
        f"is in {host.paths.nginx_log}/error.log."
    )
    host.paths.nginx_log.mkdir()
    (host.paths.nginx_log / "error.log").write_text("[emerg] 80 is in use\n")
    with pytest.raises(HostError) as caught:
        start_service("nginx", host.paths, host.runner, lambda: False, patience=0)
    assert str(caught.value).endswith(
        f" The end of {host.paths.nginx_log}/error.log:\n[emerg] 80 is in use"
    )


def test_a_service_that_does_not_start_shows_its_last_journal_lines(host: Host) -> None:
    host.paths.systemd.mkdir()
    lines = "".join(f"line {number}\n" for number in range(20))
    runner(host).answers |= {
        "systemctl start docker": Result(1, "", "Job for docker.service failed."),
        "journalctl --unit=docker.service --unit=docker.socket --unit=containerd.service": Result(
            0, f"{lines}failed to start daemon: no such driver\n", ""
        ),
    }
    with pytest.raises(HostError) as caught:
        start_service("docker", host.paths, host.runner, lambda: False, patience=0)
    assert str(caught.value) == (
        "docker does not start (`systemctl start docker` said: Job for docker.service failed.). "
        "The end of `journalctl -u docker`:\n"
        + "".join(f"line {number}\n" for number in range(9, 20))
        + "failed to start daemon: no such driver"
    )


def test_dockerd_that_does_not_start_by_itself_shows_the_end_of_its_log(host: Host) -> None:
    host.paths.docker_log.write_text("failed to start daemon: no such driver\n")
    runner(host).answers |= {"service docker": Result(2, "", "ulimit: error setting limit")}
    runner(host).answers |= {"start-stop-daemon": Result(0, "", "")}
    with pytest.raises(HostError) as caught:
        start_service("docker", host.paths, host.runner, lambda: False, patience=0)
    assert str(caught.value) == (
        "docker does not start, neither by its init script (ulimit: error setting limit) nor by "
        f"itself (no message). The end of {host.paths.docker_log}:\n"
        "failed to start daemon: no such driver"
    )


def test_a_service_that_was_disabled_starts_at_the_next_boot_too(host: Host) -> None:
    host.paths.systemd.mkdir()
    runner(host).answers |= {
        "systemctl is-enabled docker": Result(1, "disabled\n", ""),
        "systemctl": Result(0, "", ""),
    }
    answers = iter([False, True])
    assert start_service("docker", host.paths, host.runner, lambda: next(answers)) == [
        "docker: started (systemctl start docker)",
        "docker: enabled, so that it starts at a boot",
    ]


def test_a_dry_run_says_that_a_stopped_service_would_be_started(host: Host) -> None:
    assert start_service("docker", host.paths, host.runner, lambda: False, check=True) == [
        "docker: would be started"
    ]


def test_only_known_services_are_started(host: Host) -> None:
    assert message("service", {"name": "sshd"}, host) == (
        "service: unknown name 'sshd': write docker or nginx"
    )


# -- network ---------------------------------------------------------------------------------------


def test_the_network_is_made_once_and_every_slot_has_an_address_of_its_own(
    host: Host, machine: Machine
) -> None:
    request = {"name": "wharfinger", "subnet": "172.31.255.240/28"}
    assert run("network", request, host=host, check=True)["changed"]
    assert machine.networks == {}
    assert run("network", request, host=host)["changed"]
    assert run("network", request, host=host)["changed"] is False
    made = machine.networks["wharfinger"]
    assert made["Internal"] is True
    assert made["IPAM"] == {
        "Config": [{"Subnet": "172.31.255.240/28", "Gateway": "172.31.255.241"}]
    }
    assert made["Options"] == {"com.docker.network.bridge.name": "wharfinger0"}
    assert slots("registry", "172.31.255.240/28") == {"a": "172.31.255.242", "b": "172.31.255.243"}
    assert slots("token_server", "172.31.255.240/28") == {
        "a": "172.31.255.244",
        "b": "172.31.255.245",
    }


def test_the_network_is_closed_towards_others_by_the_kernel(host: Host) -> None:
    switch = host.paths.interfaces / "wharfinger0/forwarding"
    switch.parent.mkdir(parents=True)
    switch.write_text("1\n")
    request = {"name": "wharfinger", "subnet": "172.31.255.240/28"}
    said = "docker network wharfinger: closed towards other networks, whatever the firewall says"
    assert said in run("network", request, host=host, check=True)["actions"]
    assert switch.read_text() == "1\n"
    assert said in run("network", request, host=host)["actions"]
    assert switch.read_text() == "0\n"
    assert run("network", request, host=host)["changed"] is False
    # A bridge that docker makes again at a boot is open.
    switch.write_text("1\n")
    assert run("network", request, host=host)["actions"] == [said]


def test_someone_elses_network_of_this_name_is_left_alone(host: Host, machine: Machine) -> None:
    machine.networks["wharfinger"] = {"Name": "wharfinger", "IPAM": {"Config": []}}
    assert message("network", {"name": "wharfinger", "subnet": SUBNET}, host) == (
        "the docker network wharfinger already exists and was not made by this toolkit: rename "
        "it, or remove it with `docker network rm wharfinger`"
    )


def test_a_network_in_use_keeps_its_subnet(host: Host, machine: Machine) -> None:
    run("network", {"name": "wharfinger", "subnet": SUBNET}, host=host)
    machine.networks["wharfinger"]["Containers"] = {"x": {}}
    assert message("network", {"name": "wharfinger", "subnet": "10.1.0.0/28"}, host) == (
        "container_engine_network: the docker network wharfinger has the subnet 10.98.0.0/28 and "
        "containers on it, so it cannot become 10.1.0.0/28: write 10.98.0.0/28 again, or run "
        "playbooks/remove.yml (data and keys stay) and deploy again"
    )


@pytest.mark.parametrize(
    ("subnet", "text"),
    [
        (
            "10.98.0.1/28",
            "container_engine_network: '10.98.0.1/28' is not an IPv4 subnet (10.98.0.1/28 has "
            "host bits set): write one like 172.31.255.240/28",
        ),
        (
            "10.98.0.0/30",
            "container_engine_network: 10.98.0.0/30 is too small for two slots of two containers: "
            "write at least a /29",
        ),
    ],
)
def test_a_bad_subnet_is_named(host: Host, subnet: str, text: str) -> None:
    assert message("network", {"name": "wharfinger", "subnet": subnet}, host) == text


# -- images ----------------------------------------------------------------------------------------


def archive(host: Host, content: str) -> dict[str, Any]:
    path = host.paths.var / "images" / "registry.tar"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    return {
        "kind": "registry",
        "path": str(path),
        "reference": "wharfinger/registry:3.1.2-abc",
        "ids": ["sha256:one", "sha256:two"],
        "source": "build",
        "inputs": "abc",
    }


def test_an_image_is_loaded_once_recorded_and_its_archive_removed(
    host: Host, machine: Machine
) -> None:
    image = archive(host, "sha256:two")
    answer = run("images", {"load": [image]}, host=host)
    assert answer["images"] == {
        "registry": {
            "source": "build",
            "reference": "wharfinger/registry:3.1.2-abc",
            "id": "sha256:two",
            "inputs": "abc",
            "digest": None,
            "made_by_toolkit": True,
            "index_members": False,
        }
    }
    assert not Path(image["path"]).exists()
    assert machine.images["sha256:two"]["RepoTags"] == ["wharfinger/registry:3.1.2-abc"]
    assert run("images", {"load": [image]}, host=host)["changed"] is False


def deployed(host: Host, *versions: str, check: bool = False) -> list[str]:
    """Loads images of the registry and starts each; returns the actions of the last `ensure`.
    Equal letters mean equal names."""
    folder, actions = host.paths.etc.parent, []
    run("network", {"name": "wharfinger", "subnet": "10.98.0.0/28"}, host=host)
    for version in versions:
        name = f"wharfinger/registry:{version.rstrip('0123456789')}"
        image = archive(host, f"sha256:{version}") | {
            "reference": name,
            "ids": [f"sha256:{version}"],
        }
        run("images", {"load": [image]}, host=host)
        request = {"spec": spec(folder, image=f"sha256:{version}")}
        actions = run("ensure", request, host=host, check=check)["actions"]
    return [action for action in actions if action.startswith("image ")]


def test_images_that_nothing_goes_back_to_are_removed(host: Host, machine: Machine) -> None:
    assert deployed(host, "a", "b") == []
    assert deployed(host, "c") == ["image wharfinger/registry:a: removed"]
    assert sorted(machine.images) == ["sha256:b", "sha256:c"]
    assert host.store.load().installed["images"] == [
        "wharfinger/registry:b",
        "wharfinger/registry:c",
    ]
    assert run("rollback", {"kind": "registry"}, host=host)["back"] == {"registry": 2}
    assert deployed(host, "b") == []
    assert sorted(machine.images) == ["sha256:b", "sha256:c"]


def test_an_image_whose_name_another_one_has_taken_is_removed_too(
    host: Host, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with images_refresh."""
    tag = host.engine.tag

    def moved(image: str, reference: str) -> None:
        for present in machine.images.values():
            present["RepoTags"] = [name for name in present["RepoTags"] if name != reference]
        tag(image, reference)

    monkeypatch.setattr(host.engine, "tag", moved)
    assert deployed(host, "a1", "a2") == []
    assert deployed(host, "a3") == ["image sha256:a1: removed"]
    assert sorted(machine.images) == ["sha256:a2", "sha256:a3"]


def test_an_image_that_somebody_else_uses_stays_and_stays_on_record(
    host: Host, machine: Machine
) -> None:
    machine.used_images = {"sha256:a"}
    assert deployed(host, "a", "b", "c") == []
    assert "sha256:a" in machine.images
    assert "wharfinger/registry:a" in host.store.load().installed["images"]
    machine.used_images = set()
    assert deployed(host, "c") == ["image wharfinger/registry:a: removed"]


def test_an_image_that_docker_had_already_stays(host: Host, machine: Machine) -> None:
    machine.images["sha256:a"] = {"Id": "sha256:a", "RepoTags": ["wharfinger/registry:a"]}
    assert deployed(host, "a", "b", "c") == []
    assert "sha256:a" in machine.images


def test_only_our_name_of_an_image_is_removed(host: Host, machine: Machine) -> None:
    deployed(host, "a", "b")
    machine.images["sha256:a"]["RepoTags"].append("mine:1")
    assert deployed(host, "c") == ["image wharfinger/registry:a: removed"]
    assert machine.images["sha256:a"]["RepoTags"] == ["mine:1"]


def test_an_image_that_docker_does_not_remove_fails_no_deployment(
    host: Host, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(reference: str) -> bool:
        raise HostError(f"docker refused removing the image {reference}")

    monkeypatch.setattr(host.engine, "remove_image", refuses)
    assert deployed(host, "a", "b", "c") == []
    monkeypatch.undo()
    assert deployed(host, "c", check=True) == ["image wharfinger/registry:a: removed"]
    assert "sha256:a" in machine.images
    assert deployed(host, "c") == ["image wharfinger/registry:a: removed"]


def test_an_archive_with_another_image_is_refused(host: Host) -> None:
    image = archive(host, "sha256:forged")
    assert message("images", {"load": [image]}, host) == (
        f"the image archive {image['path']} does not hold wharfinger/registry:3.1.2-abc (docker "
        "said: Loaded image ID: sha256:forged; none of the ids sha256:one, sha256:two is there): "
        "make the image again"
    )


def test_the_first_pull_records_the_digest_and_the_next_demands_it(
    host: Host, machine: Machine
) -> None:
    digest = "sha256:" + "a" * 64
    reference = "registry.example:5000/library/registry:3.1.2"
    image = {"Id": "sha256:id", "RepoTags": [reference], "RepoDigests": []}
    machine.images["sha256:id"] = image
    runner(host).answers["docker pull"] = Result(0, f"Digest: {digest}\n", "")
    request = {"pull": [{"kind": "registry", "reference": reference, "digest": None}]}
    pulled = run("images", request, host=host)["images"]["registry"]
    assert pulled["digest"] == digest
    # docker gets the address, independent of the user's DOCKER_HOST and DOCKER_CONTEXT.
    environment = runner(host).environments[runner(host).calls.index(["docker", "pull", reference])]
    assert environment["DOCKER_HOST"] == f"unix://{host.paths.docker_socket}"
    assert environment["DOCKER_CONTEXT"] == environment["DOCKER_TLS_VERIFY"] == ""
    # It lacks the label of the toolkit's own images, so it has no health check.
    assert pulled["made_by_toolkit"] is False
    assert pulled["index_members"] is False
    assert run("images", request, host=host)["changed"] is False
    machine.images.clear()
    runner(host).answers["docker pull"] = Result(1, "", "manifest unknown")
    assert message("images", request, host) == (
        f"the image registry.example:5000/library/registry@{digest} cannot be pulled (docker said: "
        f"manifest unknown); {digest} was recorded on this host at the first pull of {reference}: "
        "look at the reference and the host's network, or write images_source: build"
    )


def test_a_pinned_digest_is_pulled_whatever_the_tag_names_and_nothing_else(
    host: Host, machine: Machine
) -> None:
    first, pinned = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    reference = "registry.example:5000/library/registry:3.1.2"
    machine.images["sha256:id"] = {"Id": "sha256:id", "RepoTags": [reference], "RepoDigests": []}
    runner(host).answers["docker pull"] = Result(0, f"Digest: {first}\n", "")
    request: dict[str, Any] = {"kind": "registry", "reference": reference, "digest": None}
    run("images", {"pull": [request]}, host=host)
    request["digest"] = pinned
    runner(host).answers["docker pull"] = Result(1, "", "manifest unknown")
    assert message("images", {"pull": [request]}, host) == (
        f"the image registry.example:5000/library/registry@{pinned} cannot be pulled (docker said: "
        f"manifest unknown); {pinned} is pinned for {reference} (images/pinned.yml or "
        "images_pinned): look at the reference and the host's network, or write images_source: "
        "build"
    )
    assert host.store.load().images["registry"]["digest"] == first
    image = {
        "Id": "sha256:pinned",
        "RepoTags": [],
        "RepoDigests": [f"{repository(reference)}@{pinned}"],
    }
    machine.images["sha256:pinned"] = image
    runner(host).answers["docker pull"] = Result(0, f"Digest: {pinned}\n", "")
    pulled = run("images", {"pull": [request]}, host=host)["images"]["registry"]
    assert (pulled["digest"], pulled["id"]) == (pinned, "sha256:pinned")
    assert run("images", {"pull": [request]}, host=host)["changed"] is False


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("registry:3", "registry"),
        ("docker.io/library/registry:3.1.2", "docker.io/library/registry"),
        ("host:5000/a/b", "host:5000/a/b"),
        ("host:5000/a/b:1@sha256:00", "host:5000/a/b"),
    ],
)
def test_a_references_repository_is_without_tag_and_digest(reference: str, name: str) -> None:
    assert repository(reference) == name


def test_the_digest_of_a_pull_is_read() -> None:
    assert pulled_digest("3: Pulling\nDigest: sha256:" + "0" * 64 + "\nStatus: x\n") == (
        "sha256:" + "0" * 64
    )
    assert pulled_digest("Status: Image is up to date\n") is None


# -- the proxy -------------------------------------------------------------------------------------


def test_a_site_is_written_tested_and_served_and_the_same_again_changes_nothing(
    host: Host, machine: Machine
) -> None:
    first = run("site", {"content": "server {}\n"}, host=host)
    assert first["actions"][-1] == "nginx: started"
    assert first["diff"]["after"] == "server {}\n"
    assert run("site", {"content": "server {}\n"}, host=host)["changed"] is False
    second = run("site", {"content": "server { }\n"}, host=host)
    assert second["actions"] == [f"{host.paths.site}: written", "nginx: reloaded"]


def test_a_site_that_nginx_refuses_never_stays(host: Host, machine: Machine) -> None:
    run("site", {"content": "server {}\n"}, host=host)
    steps = machine.steps
    assert message("site", {"content": "broken\n"}, host) == (
        'nginx refuses its new configuration and keeps the present one: unknown directive "broken"'
    )
    assert host.paths.site.read_text() == "server {}\n"
    assert machine.steps == steps


def test_the_first_site_that_nginx_refuses_leaves_no_file(host: Host) -> None:
    message("site", {"content": "broken\n"}, host)
    assert not host.paths.site.exists()


def test_a_broken_site_left_by_a_kill_is_undone_to_what_nginx_last_took(host: Host) -> None:
    run("site", {"content": "server {}\n"}, host=host)
    host.paths.site.write_text("broken\n")
    message("site", {"content": "broken too\n"}, host)
    assert host.paths.site.read_text() == "server {}\n"


def test_a_renewed_certificate_is_read_by_nginx_though_the_site_is_the_same(
    host: Host, machine: Machine
) -> None:
    host.paths.served.write_text("one")
    run("site", {"content": "server {}\n"}, host=host)
    host.paths.served.write_text("two")
    assert run("site", {"content": "server {}\n"}, host=host)["actions"] == ["nginx: reloaded"]


def test_the_welcome_page_goes_and_comes_back_where_nginx_refuses(host: Host) -> None:
    enabled = host.paths.nginx / "sites-enabled"
    enabled.mkdir()
    (enabled / "default").symlink_to("/etc/nginx/sites-available/default")
    request = {"content": "broken\n", "remove_default_site": True}
    message("site", request, host)
    assert (enabled / "default").is_symlink()
    run("site", {**request, "content": "server {}\n"}, host=host)
    assert not (enabled / "default").is_symlink()


def test_the_sites_log_is_closed_to_others_before_nginx_makes_it(host: Host) -> None:
    log = host.paths.log / "access.log"
    run("site", {"content": "server {}\n"}, host=host)
    assert log.stat().st_mode & 0o777 == 0o640
    # A file that an earlier release has left readable is closed; its content stays.
    log.write_text("{}\n")
    log.chmod(0o644)
    run("site", {"content": "server { }\n"}, host=host)
    assert (log.stat().st_mode & 0o777, log.read_text()) == (0o640, "{}\n")


def test_reload_proxy_has_nginxs_words(host: Host, machine: Machine) -> None:
    machine.nginx_refuses = "host not found in upstream"
    assert message("reload_proxy", {}, host) == (
        "nginx refuses its new configuration and keeps the present one: host not found in upstream"
    )


# -- specification ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"kind": "cache"}, "spec: kind 'cache': write one of registry, token_server"),
        (
            {"memory": "lots"},
            "spec of registry: memory: 'lots' is not a size: write a number and k, m or g, such as "
            "512m",
        ),
        ({"files": {"../x": ""}}, "spec of registry: files: '../x' is not a plain file name"),
    ],
)
def test_a_bad_specification_is_named(
    host: Host, tmp_path: Path, change: dict[str, Any], text: str
) -> None:
    assert message("ensure", {"spec": spec(tmp_path, **change)}, host) == text


def test_an_unknown_key_of_a_specification_is_an_error(host: Host, tmp_path: Path) -> None:
    text = message("ensure", {"spec": {**spec(tmp_path), "privileged": True}}, host)
    assert text.startswith("spec: unknown key 'privileged': use algorithms, command, ")


def test_sizes_are_dockers() -> None:
    assert [size(text) for text in ("512m", "1g", "64k", "100", "100B")] == [
        512 * 1024**2,
        1024**3,
        64 * 1024,
        100,
        100,
    ]


# -- state, lock, command line ---------------------------------------------------------------------


def test_a_damaged_state_is_an_error_that_says_what_to_do(host: Host) -> None:
    host.paths.state.write_text("{")
    assert message("prepare", {}, host) == (
        f"{host.paths.state} cannot be read (JSONDecodeError): restore it from a backup, or remove "
        "it and deploy again (keys, users and data stay)"
    )


def test_a_state_of_a_later_version_is_left_alone(host: Host) -> None:
    host.paths.state.write_text('{"format": 99, "kinds": {}}')
    assert message("prepare", {}, host) == (
        f"{host.paths.state} was written by a newer wharfinger-host (format 99, this one knows 3): "
        "deploy from an up-to-date checkout"
    )


def test_only_one_command_works_at_a_time_and_the_holder_is_named(host: Host) -> None:
    with host.paths.lock.open("r+") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        holder.truncate(0)
        holder.write("ensure, process 77, since 12:00:00")
        holder.flush()
        assert message("prepare", {"lock_timeout": 0}, host) == (
            "another wharfinger-host is at work (ensure, process 77, since 12:00:00) and holds "
            f"{host.paths.lock} for longer than 0 s: let it end and run again"
        )
        assert run("prepare", {"lock_timeout": 0}, host=host, check=True)["changed"] is False
    assert run("prepare", {"lock_timeout": 0}, host=host)["changed"] is False


def test_an_unknown_command_and_a_missing_key_are_named(host: Host) -> None:
    assert message("frob", {}, host).startswith(
        "unknown command 'frob': one of backup, backup_repository, backups, base_images"
    )
    assert message("network", {}, host) == "network: the request lacks the key 'name'"


def test_the_command_line_shows_errors_without_a_traceback(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    request = tmp_path / "request.json"
    request.write_text("[]")
    assert main(["observe", "--request", str(request)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        f"wharfinger-host observe: --request {request}: the JSON must be an object\n"
    )


@pytest.mark.parametrize(
    ("word", "instead"),
    [("statsu", "did you mean status?"), ("frob", "wharfinger-host --help names all commands")],
)
def test_the_command_line_answers_a_command_that_does_not_exist(
    capsys: pytest.CaptureFixture[str], word: str, instead: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([word])
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"wharfinger-host: error: there is no command '{word}': {instead}"
    )


def test_the_zipapp_has_the_same_bytes_each_time_and_runs(tmp_path: Path) -> None:
    data = zipapp.build()
    assert data == zipapp.build()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert "wharfinger/host/rollout/generations.py" in archive.namelist()
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}
    program = tmp_path / "wharfinger-host.pyz"
    program.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-I", str(program), "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.startswith("usage: wharfinger-host ")


# -- status and remove -----------------------------------------------------------------------------


def test_status_without_the_right_to_see_says_only_that(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("prepare", {}, host=host)
    monkeypatch.setattr("os.access", lambda *_: False)
    assert message("status", {}, host) == (
        f"{host.paths.state} is readable by root only: run it with sudo"
    )


@pytest.mark.parametrize(
    ("health", "words"),
    [("healthy", "healthy"), ("starting", "running, not checked by docker yet")],
)
def test_status_says_of_a_generation_that_serves_how_it_is(
    host: Host, health: str, words: str
) -> None:
    # docker says `starting` until its first check, although clients are already served.
    run("prepare", {}, host=host)
    answer = run("status", {}, host=host)
    serving = {"number": 2, "running": True, "health": health, "address": "10.0.0.3", "port": 5000}
    answer["state"]["generations"] = {"registry": {"serving": serving}}
    assert status_text(answer).startswith(
        f"registry      generation 2 at 10.0.0.3:5000, {words}, container no container"
    )


def test_status_says_what_the_loss_of_the_host_would_cost(host: Host) -> None:
    run("prepare", {}, host=host)
    answer = run("status", {}, host=host)
    assert answer["recovery"] is None
    assert "RPO" not in status_text(answer)
    recovery.note_backup(host, "0123abcd" * 8, host.clock.now(), 12_000_000_000)
    recovery.note_drill(host, 2, 20_000_000)
    recovery.note_deployment(host, 240)
    answer = run("status", {}, host=host)
    assert answer["recovery"]["rto_seconds"] == 840
    lines = status_text(answer).splitlines()
    assert "RPO           0 seconds: snapshot 0123abcd" in lines
    rto = "14 minutes, an estimate: 12.0 GB at 20.0 MB/s, and 4 minutes for a deployment"
    assert f"RTO           {rto}" in lines


def test_status_names_what_needs_someone() -> None:
    serving = {"number": 3, "running": True, "health": "unhealthy"}
    answer = {
        "engine": {"running": False, "detail": None},
        "state": {
            "generations": {"registry": {"serving": serving}, "token_server": {"serving": None}},
            "pending": ["registry generation 2 is draining"],
        },
        "proxy": {"running": False},
        "certificates": {"tls": {"not_after": 86400}},
        "watched": False,
        "busy": False,
        "alerted": ["nginx refuses something"],
    }
    assert problems(answer, 100_000) == [
        "docker does not run: start it",
        "registry generation 3 is unhealthy",
        "nginx does not run",
        "the certificate tls expired 1970-01-02",
        "nothing renews the certificates by itself: run site.yml again",
        "unfinished: registry generation 2 is draining; run site.yml again",
        "nginx refuses something",
    ]
    # After a pause, docker calls it unhealthy until its next check.
    assert "registry generation 3 is unhealthy" in problems(answer, 100_000)
    serving["since"] = 99_950
    assert "registry generation 3 is unhealthy" not in problems(answer, 100_000)
    masked = {"running": False, "state": "masked", "detail": "docker.service"}
    assert problems({**answer, "engine": masked}, 100_000)[0] == (
        "docker does not run: Docker cannot start, because it is masked in systemd: "
        "run `systemctl unmask docker.service`"
    )
    working = problems({**answer, "busy": True}, 100_000)
    assert not [problem for problem in working if problem.startswith("unfinished")]


def test_a_disk_that_has_lost_the_data_is_not_taken_for_a_new_one(
    host: Host, tmp_path: Path
) -> None:
    storage = tmp_path / "storage"
    request = {"storage": {"path": str(storage), "group": os.getgid()}}
    run("prepare", request, host=host)
    (storage / "docker").rename(tmp_path / "away")
    registry = host.registry_id
    with pytest.raises(HostError) as problem:
        run("prepare", request, host=host)
    assert str(problem.value) == (
        f"storage_path: {storage}/docker is not there any more, and the registry would start "
        "empty: bring the disk with the data back; to start empty on purpose, run "
        f"`install -d -o {registry} -g {registry} {storage}/docker`"
    )
    (tmp_path / "away").rename(storage / "docker")
    assert run("prepare", request, host=host)["changed"] is False


def test_another_storage_path_does_not_start_empty_beside_the_data(
    host: Host, tmp_path: Path
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    group = os.getgid()
    run("prepare", {"storage": {"path": str(old), "group": group}}, host=host)
    request = {"storage": {"path": str(new), "group": group}}
    registry = host.registry_id
    text = (
        f"storage_path: this host's registry has its data in {old}, and {new} has none, so the "
        f"registry would start empty: stop its container and copy {old}/docker there with "
        f"`cp -a`, or write {old} again; to start empty on purpose, run "
        f"`install -d -o {registry} -g {registry} {new}/docker`"
    )
    for check in (True, False):
        with pytest.raises(HostError) as problem:
            run("prepare", request, check=check, host=host)
        assert str(problem.value) == text
    # Preflight knows it before anything is changed.
    seen = run("observe", {"storage_path": str(new)}, host=host)
    assert f"storage_path: {seen['missing_data']}" == text
    unmounted = {"storage_path": str(new), "storage_mount": {"src": "/dev/sdz", "bind": False}}
    assert run("observe", unmounted, host=host)["missing_data"] is None
    assert run("observe", {"storage_path": str(old)}, host=host)["missing_data"] is None
    (old / "docker").rename(new / "docker")
    assert run("prepare", request, host=host)["changed"] is True
    assert host.store.load().storage_path == str(new)


def test_everything_that_removal_deletes_lies_where_tests_can_move_it(
    host: Host, tmp_path: Path
) -> None:
    for what in (host_files.REMOVE, host_files.REMOVE_DATA):
        for file in host_files.removed_by(what):
            assert host.paths.at(file.path).is_relative_to(tmp_path), file.path
            assert Paths().at(file.path) == Path(file.path)


def test_the_directories_have_the_modes_of_the_table_of_files(host: Host) -> None:
    run("prepare", {}, host=host)
    for file in host_files.HOST_FILES:
        path = host.paths.at(file.path)
        if file.mode and file.path.endswith("/"):
            assert path.stat().st_mode & 0o7777 == int(file.mode, 8), file.path


def test_remove_keeps_data_keys_and_records_by_default(
    host: Host, machine: Machine, tmp_path: Path
) -> None:
    storage = tmp_path / "storage"
    request = {
        "installed": {"packages": ["nginx", "docker.io"]},
        "storage": {"path": str(storage), "group": os.getgid()},
    }
    run("prepare", request, host=host)
    run("site", {"content": "server {}\n"}, host=host)
    log = host.paths.log / "access-20260101T000000Z.log.gz"
    log.write_text("{}\n")
    would = run("remove", {}, host=host, check=True)
    assert host.paths.site.exists()
    assert f"{host.paths.site}: would be removed" in would["actions"]
    answer = run("remove", {}, host=host)
    assert log.exists()
    assert f"{host.paths.site}: removed" in answer["actions"]
    dry = [action.replace(": would be ", ": ") for action in would["actions"]]
    assert set(dry) == set(answer["actions"]) - {"nginx: reloaded"}
    assert would["kept"] == answer["kept"]
    assert answer["packages"] == ["nginx", "docker.io"]
    assert set(answer["kept"]) == {
        str(storage),
        str(host.paths.certificates),
        str(host.paths.secrets),
        str(host.paths.state),
        str(host.paths.log),
    }
    assert not host.paths.site.exists()
    assert run("remove", {}, host=host)["changed"] is False
    run("remove", {"remove_data": True}, host=host)
    assert not host.paths.etc.exists()
    assert not storage.exists()
    assert not log.exists()
    # What the package manager must still do stays on record.
    assert run("remove", {"remove_data": True}, host=host)["packages"] == ["nginx", "docker.io"]
    runner(host).answers["dpkg-query -W"] = Result(1, "", "no packages found")
    assert run("remove", {"remove_data": True}, host=host)["packages"] == []
    assert not host.paths.var.exists()


def test_a_half_restore_is_removed_with_all_that_it_has_brought(host: Host, tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    run("prepare", {"storage": {"path": str(storage), "group": os.getgid()}}, host=host)
    for path in (storage / "docker/blob", storage / ".wharfinger-restore1/docker/blob"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"blob")
    host.paths.backup_work.mkdir(parents=True, exist_ok=True)
    restoring.save(host.paths.restoring, Restoring("0123abcd", BRINGING))
    run("remove", {"remove_data": True, "storage_path": str(storage)}, host=host)
    assert not storage.exists()
    assert not host.paths.var.exists()
    assert restoring.load(host.paths.restoring) is None


def test_an_nginx_that_the_toolkit_brought_stays_where_others_have_files_in_it(
    host: Host, machine: Machine
) -> None:
    run("prepare", {"installed": {"packages": ["nginx", "openssl"]}}, host=host)
    run("site", {"content": "server {}\n"}, host=host)
    stranger = host.paths.nginx / "conf.d" / "other.conf"
    stranger.write_text("server {}\n")
    module = host.paths.nginx / "modules-enabled" / "stream.conf"
    module.parent.mkdir()
    module.symlink_to("/usr/share/nginx/modules-available/stream.conf")
    packaged = host.paths.nginx / "nginx.conf"
    packaged.write_text("http {}\n")
    runner(host).answers["dpkg-query --search"] = Result(0, f"nginx-common: {packaged}\n", "")
    answer = run("remove", {}, host=host)
    assert answer["packages"] == ["openssl"]
    assert f"nginx: others have {stranger}" in answer["kept"]
    assert stranger.exists()
    assert not host.paths.site.exists()
    stranger.unlink()
    assert run("remove", {}, host=host)["packages"] == ["nginx", "openssl"]
    runner(host).answers["dpkg --verify"] = Result(1, f"??5?????? c {packaged}\n", "")
    assert f"nginx: others have {packaged}" in run("remove", {}, host=host)["kept"]


def test_a_docker_that_the_toolkit_brought_stays_with_its_settings_where_others_use_it(
    host: Host, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wharfinger.host.setup.remove.answers", lambda _: True)
    settings = host.paths.docker_settings
    settings.parent.mkdir()
    settings.write_text("{}")
    installed = {"packages": ["docker.io", "openssl"], "files": [str(settings)]}
    run("prepare", {"installed": installed}, host=host)
    machine.others = ["the container web", "the volume data", "the image a:1", "the image b:1"]
    answer = run("remove", {}, host=host)
    assert answer["packages"] == ["openssl"]
    assert (
        "docker.io: others have the container web, the volume data, the image a:1 and 1 more in it"
        in answer["kept"]
    )
    assert settings.exists()
    assert str(settings) in answer["kept"]
    machine.others = []
    assert run("remove", {}, host=host)["packages"] == ["docker.io", "openssl"]
    assert not settings.exists()


def test_only_packages_that_nobody_else_needs_are_removed_with_what_came_for_them(
    host: Host,
) -> None:
    answers = runner(host).answers
    answers["apt-mark showmanual"] = Result(0, "nginx\npython3-cryptography\ncertbot\nvim\n", "")
    answers["apt-get --simulate autoremove"] = Result(0, "Remv old-kernel [1]\n", "")
    answers["apt-get --simulate --auto-remove purge nginx python3-cryptography"] = Result(
        0,
        "Purg nginx [1]\nRemv nginx-common [1]\nPurg certbot [1]\n"
        "Purg python3-cryptography [1]\nPurg old-kernel [1]\n",
        "",
    )
    answers["apt-get --simulate purge python3-cryptography"] = Result(
        0, "Purg certbot [1]\nPurg python3-cryptography [1]\n", ""
    )
    answers["apt-get --simulate purge nginx"] = Result(0, "Purg nginx [1]\n", "")
    answers["apt-get --simulate --auto-remove purge nginx"] = Result(
        0, "Purg nginx [1]\nPurg nginx-common [1]\nPurg old-kernel [1]\n", ""
    )
    assert removable(host, ["nginx", "python3-cryptography"]) == (
        ["nginx", "nginx-common"],
        {"python3-cryptography": "certbot needs it"},
    )


def test_whether_an_image_checks_the_members_of_indexes_is_recorded(
    host: Host, machine: Machine
) -> None:
    image = archive(host, "sha256:two")
    machine.images["sha256:two"] = {
        **{"Id": "sha256:two", "RepoTags": [], "RepoDigests": []},
        "Config": {"Labels": {INDEX_MEMBERS: "yes"}},
    }
    recorded = run("images", {"load": [image]}, host=host)["images"]["registry"]
    assert recorded["index_members"] is True
    assert {INDEX_MEMBERS: "yes"} == recipe.LABELS
