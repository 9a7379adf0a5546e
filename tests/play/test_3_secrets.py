"""After real deployments only those who need a secret see it, whether planted or generated."""

from __future__ import annotations

import copy
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from .controller import Controller, readable_by_all
from .files import expired
from .machine import NAME, Machine

# Files that changed after this one are examined.
MARK = "/etc/ssh/before_the_deployment"
CONTAINERS = r"""
docker ps --all --quiet | xargs docker inspect
docker network ls --quiet | xargs docker network inspect
docker image ls --quiet | xargs docker image inspect
"""
LOGS = r"""
journalctl --no-pager --quiet
find /var/log -type f -not -path '*/journal/*' -exec cat {} +
for name in $(docker ps --all --format '{{.Names}}'); do docker logs "$name" 2>&1; done
"""
# The user nobody runs this, so anybody can read what it finds. /proc, /sys and /dev hold no files
# of the host.
READABLE = rf"""
find / \( -path /proc -o -path /sys -o -path /dev \) -prune \
    -o -type f -cnewer {MARK} -readable -print 2>/dev/null || true
"""
HOLDING = r"""
umask 077
cat >/root/patterns
tr '\n' '\0' </root/readable | xargs -0 grep --files-with-matches --fixed-strings \
    --file=/root/patterns || true
rm /root/patterns /root/readable
"""


@pytest.fixture(scope="module")
def deployed(machine: Machine, controller: Controller, settings: dict[str, Any]) -> Path:
    """Runs a deployment, a change that fails, the making of a new password, a backup, and an update
    of a mirror whose upstream is down. Returns their inventory."""
    machine.run(f"touch {MARK}")
    # Neither DNS nor /etc/hosts has the name.
    settings = settings | {"registry_hosts_entry": False}
    plant = controller.secrets.plant
    backed_up = {
        "backup_repository": "/srv/backups",
        "backup_environment": {"B2_ACCOUNT_KEY": plant("in backup_environment")},
        "backup_ssh_key": f"-----BEGIN\n{plant('in backup_ssh_key')}\n",
    }
    mirrored = {
        "registry_mirrors": [
            {
                "from": "127.0.0.1:9/team/app",
                "to": "mirrored/app",
                "tags": "1",
                "username": "reader",
                "password": plant("of an upstream"),
            }
        ],
        "registry_mirrors_schedule": "",
    }
    inventory = controller.inventory("deployed", settings | backed_up | mirrored, {"instance": {}})
    broken = copy.deepcopy(settings)
    # distribution does not start with this, and only the attempt shows that.
    broken["registry_settings"]["validation"] = {"manifests": {"urls": {"allow": ["("]}}}
    failing = controller.inventory("failing", broken, {"instance": {}})
    for name, place, code, playbook, options in (
        ("deployment", inventory, 0, "site.yml", ()),
        ("failing change", failing, 2, "site.yml", ()),
        ("new password", inventory, 0, "playbooks/users.yml", ("-e", "regenerate=someuser")),
        ("backup", inventory, 0, "playbooks/backup.yml", ()),
        ("update", inventory, 2, "playbooks/mirror.yml", ("-e", "update=true")),
    ):
        run = controller.play(name, place, *options, playbook=playbook)
        assert run.code == code, f"{name}: {run.output[-4000:]}"
        remember(machine, controller, inventory, name)
    assert "urls.allow" in controller.runs["failing change"].said["instance"]
    return inventory


def test_a_name_without_a_dns_entry_is_reported_at_the_end_and_not_a_failure(
    deployed: Path, machine: Machine, controller: Controller
) -> None:
    said = " ".join(controller.runs["deployment"].output.split())
    enter = (
        f"{NAME} does not resolve on this host. The registry was verified at its own address, "
        f"{machine.address}. Clients find it once DNS has: {NAME}. A {machine.address}"
    )
    assert f"[WARNING]: {enter}" in said
    assert f"Still to do: {enter}" in said


def test_an_upstream_that_is_down_fails_no_deployment_and_an_update_at_its_end(
    deployed: Path, controller: Controller
) -> None:
    where = "mirror 1 (127.0.0.1:9/team/app)"
    warned = " ".join(controller.runs["deployment"].output.split())
    assert f"{where}: mirror.lock has no tag of mirrored/app yet" in warned
    update = controller.runs["update"]
    assert update.said["instance"].startswith(f"{where}: 127.0.0.1:9 refuses the connection")
    assert update.tasks[-1] == "mirrors : job | Every upstream could be looked at"
    assert not (deployed / "mirror.lock").exists()


def remember(machine: Machine, controller: Controller, inventory: Path, when: str) -> None:
    """Adds the secrets that only the host and the inventory's credentials know."""
    values = controller.secrets.values
    generated = (inventory / "credentials" / "someuser").read_text().strip()
    values[f"someuser's password, {when}"] = generated
    file = inventory / "credentials" / f"{NAME}-backup_password"
    values["the backups' password"] = file.read_text().strip()
    for name in ("http_secret", "verification_password", "mirror_password"):
        values[name] = machine.run(f"cat /etc/wharfinger/secrets/{name}").strip()
    for name in ("ca", "tls", "signing"):
        # A line of the PEM file is enough to recognize the key.
        line = machine.run(f"sed -n 2p /etc/wharfinger/certificates/{name}.key")
        values[f"{name}.key"] = line.strip()
    for name, user in json.loads(machine.run("cat /var/lib/wharfinger/users.json")).items():
        # readonly's hash is in the inventory, and is searched for like the others.
        values[f"{name}'s hash, {when}"] = user["hash"]
    assert min(map(len, values.values())) > 20, "too short to be known by"


def test_a_certificate_that_has_expired_does_not_keep_a_user_who_is_removed(
    deployed: Path, machine: Machine, controller: Controller, settings: dict[str, Any]
) -> None:
    later = copy.deepcopy(settings)
    del later["registry_users"]["readonly"]
    later["registry_access"][1]["who"] = ["vaulted"]
    later |= {
        "certificates_tls_source": "provided",
        "certificates_tls_certificate": "expired.crt",
        "certificates_tls_key": "expired.key",
    }
    inventory = controller.inventory("later", later, {"instance": {}})
    expired(inventory / "expired.crt")
    refused = controller.play("expired, site.yml", inventory)
    assert any(" expired on " in message for message in refused.mistakes["instance"])
    run = controller.play("expired, users.yml", inventory, playbook="playbooks/users.yml")
    assert run.code == 0, run.output[-4000:]
    assert "certificates_tls_key: 'expired.key' does not exist on the controller" in run.output
    record = json.loads(machine.run("cat /var/lib/wharfinger/users.json"))
    assert "admin" in record and "readonly" not in record


def test_no_output_of_any_run_shows_a_secret(deployed: Path, controller: Controller) -> None:
    runs = controller.runs
    assert {"deployment", "failing change", "new password", "backup", "update"} <= runs.keys()
    shown = {name: controller.secrets.in_text(run.output) for name, run in runs.items()}
    assert shown == {name: [] for name in runs}


def test_no_process_was_given_a_secret_as_an_argument(
    deployed: Path, controller: Controller
) -> None:
    text = b"\n".join(controller.command_lines).replace(b"\0", b" ").decode(errors="replace")
    # The host's processes are visible on this machine, so the watch has seen both sides.
    assert "ansible-playbook -i " in text
    assert "-m wharfinger.token_server serve" in text
    assert "restic backup " in text
    assert controller.secrets.in_text(text) == []


def test_the_logs_of_host_and_containers_hold_no_secret(
    deployed: Path, machine: Machine, controller: Controller
) -> None:
    text = machine.run(LOGS)
    assert "ansible-wharfinger_host" in text
    assert "/v2/wharfinger-verification/" in text
    assert controller.secrets.in_text(text) == []


def test_docker_inspect_shows_no_secret_but_the_environments(
    deployed: Path, machine: Machine, controller: Controller
) -> None:
    text = machine.run(CONTAINERS)
    assert "wharfinger-registry-" in text
    # docker inspect always shows these. Preflight warns of variables that look like secrets.
    assert controller.secrets.in_text(text) == ["in registry_environment"]


def test_no_file_that_everybody_on_the_host_can_read_holds_a_secret(
    deployed: Path, machine: Machine, controller: Controller
) -> None:
    def holding() -> list[str]:
        readable = machine.run(READABLE, user="nobody")
        assert "/etc/nginx/wharfinger/upstreams.conf\n" in readable
        machine.run("umask 077; cat >/root/readable", given=readable)
        return machine.run(HOLDING, given="\n".join(controller.secrets.values.values())).split()

    assert holding() == []
    secret = controller.secrets.values["http_secret"]
    machine.run("cat >/var/tmp/open", given=f"as an example: {secret}\n")
    assert holding() == ["/var/tmp/open"]


def test_no_file_that_everybody_on_the_controller_can_read_holds_a_secret(
    deployed: Path, controller: Controller, began: float
) -> None:
    (controller.directory / "open").write_text("no secret")
    home = Path.home()
    places = (controller.directory, Path("/tmp"), home / ".ansible", home / ".cache/wharfinger")
    files = {path: text for path, text in readable_by_all(*places, since=began)}
    assert controller.directory / "open" in files
    assert [path for path, text in files.items() if controller.secrets.in_text(text)] == []
    assert stat.S_IMODE((deployed / "credentials").stat().st_mode) == 0o700
    for name in ("someuser", f"{NAME}-backup_password"):
        assert stat.S_IMODE((deployed / "credentials" / name).stat().st_mode) == 0o600
