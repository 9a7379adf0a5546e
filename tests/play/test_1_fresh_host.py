"""A host that has never been deployed: a dry run, and inventories with mistakes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from . import files
from .controller import Controller, Run, Vaulted, encrypted
from .machine import NAME, Machine, differences

RULE = "registry_access, rule"
NO_NAME = (
    "is not a host name: write labels of letters, digits and inner hyphens (at most 63 characters "
    "each) with dots between, like registry.example.com"
)


Cases = dict[str, tuple[dict[str, Any], list[str]]]


@pytest.fixture(scope="module")
def cases(controller: Controller, machine: Machine) -> Cases:
    """Host → what its inventory changes, and every sentence of preflight's answer."""
    plant, folder = controller.secrets.plant, controller.directory
    sha256 = files.bundle(folder / "bundle.tar")
    within = machine.subnet.replace("/24", "/28")
    end = files.expired(folder / "expired.crt")
    controller.secrets.values["the other key"] = files.other_key(folder / "other.key")
    return {
        "misspelt-variables": (
            {
                "registry_hostnme": NAME,
                "regsitry_port": 443,
                "storage_whatever": 1,
                "registry_user": {"admin": {"password": plant("under a misspelt variable")}},
            },
            [
                "registry_hostnme: is an unknown variable: write registry_hostname",
                "registry_user: is an unknown variable: write registry_users",
                "regsitry_port: is an unknown variable: write registry_port",
                "storage_whatever: is an unknown variable: write storage_path",
            ],
        ),
        "users": (
            {
                "registry_users": {
                    "admin": {"pasword": plant("under a misspelt key")},
                    "both": {"password": plant("of two"), "password_hash": plant("for a hash")},
                    "someuser": plant("without a key"),
                    "long": {"password": plant("too long") * 3},
                },
                "registry_access": [{"who": "admin", "may": "all", "on": "all"}],
            },
            [
                "registry_users, admin: pasword is an unknown key: write password",
                "registry_users, both: has both password and password_hash: remove one",
                "registry_users, both: password_hash is not a bcrypt hash: make one with "
                "`htpasswd -nBC 10 NAME` and write what follows the colon",
                "registry_users, someuser: is text: write {password: …}, {password_hash: …}, or {} "
                "for a password that is generated",
                "registry_users, long: password has 93 bytes, and bcrypt reads no more than 72: "
                "write a shorter one",
            ],
        ),
        "users-are-text": (
            {"registry_users": plant("instead of users"), "registry_access": []},
            [
                "registry_users: is text: write a mapping of names, as in `someuser: {}` "
                "(its password is then generated)"
            ],
        ),
        "undefined-variable": (
            {
                "registry_users": {
                    "admin": {"password": plant("beside an undefined one")},
                    "other": {"password": "{{ vault_other_password }}"},
                },
                "registry_port": 80,
            },
            [
                "registry_users: needs vault_other_password, which is undefined: define it, "
                "or correct its name",
                "registry_port: 80 is taken by the redirect to https: write 443 or another port",
            ],
        ),
        "vault-of-another-password": (
            {
                "registry_users": {
                    "admin": {"password": plant("beside a closed vault")},
                    "other": {"password": Vaulted(encrypted("closed", b"another password"))},
                }
            },
            [
                "registry_users: is encrypted by ansible-vault and cannot be decrypted: give the "
                "vault's password (--ask-vault-pass, or --vault-password-file FILE)"
            ],
        ),
        "failing-expression": (
            {
                "registry_users": {
                    "a": {"password": f"{{{{ '{plant('in an expression')}' | nosuch }}}}"}
                }
            },
            ["registry_users: has an expression that fails: correct the text between its braces"],
        ),
        "rules": (
            {
                "registry_groups": {"developers": ["someuser", "nobody"]},
                "registry_access": [
                    {"who": "admin", "may": "all", "on": "all", "why": "x"},
                    {"who": "stranger", "may": ["pull"], "on": "**"},
                    {"who": "group:testers", "may": ["pull"], "on": "**"},
                    {"who": "anonymous", "may": ["push"], "on": "public/**"},
                    {"who": "someuser", "may": ["pll"], "on": "x/*"},
                    {"who": "someuser", "may": ["list"], "on": "y/*"},
                    {"who": "someuser", "may": ["pull"], "on": ""},
                ],
            },
            [
                'registry_groups, developers: "nobody" is not a user: add it to registry_users, '
                "or remove it here",
                f'{RULE} 1: "why" is an unknown key: write who',
                f'{RULE} 2: "stranger" is not a user: add it to registry_users, or remove it here',
                f'{RULE} 3: "testers" is not a group: add it to registry_groups, or remove it here',
                f"{RULE} 4: anonymous may not push: write may: [pull], or who: everyone for anyone "
                "signed in",
                f'{RULE} 5: may: "pll" is not a verb: write pull',
                f"{RULE} 6: list is the catalog, which is all or nothing and shows every name: "
                "write on: all, or leave list out",
                f'{RULE} 7: on: an empty pattern matches nothing: write "**" for every repository, '
                "or all",
            ],
        ),
        "rules-with-htpasswd": (
            {"registry_auth": "htpasswd"},
            [
                "registry_access: registry_auth htpasswd has no rules, so every user may do "
                "everything: write exactly `[{who: everyone, may: all, on: all}]`, or "
                "registry_auth: token"
            ],
        ),
        "hostname-is-a-url": (
            {"registry_hostname": f"https://me:{plant('in a URL')}@{NAME}"},
            [f"registry_hostname: '…@{NAME}' is a URL: write the host's name alone, '…@{NAME}'"],
        ),
        "hostname-is-none": (
            {
                "registry_hostname": "my_registry.play.test",
                "registry_extra_hostnames": ["-x.play.test"],
            },
            [
                f"registry_hostname: 'my_registry.play.test' {NO_NAME}",
                f"registry_extra_hostnames, entry 1: '-x.play.test' {NO_NAME}",
            ],
        ),
        "hostname-has-no-dot": (
            {"registry_hostname": "registry"},
            [
                "registry_hostname: 'registry' has no dot, so docker would take it for a "
                "repository on Docker Hub: write a name with a dot, like registry.internal, "
                "or a registry_port other than 443"
            ],
        ),
        "values": (
            {
                "registry_port": "https",
                "registry_extra_hostnames": "a.play.test",
                "registry_drain_timeout": "soon",
                "registry_memory": "much",
                "storage_path": "/etc",
                "container_engine_network": "8.8.8.0/28",
                "images_source": "magic",
                "storage_mount": {
                    "src": "//nas/data",
                    "fstype": "cifs",
                    "options": "noatime",
                    "opts": f"username=u,password={plant('in mount options')}",
                },
            },
            [
                "images_source: 'magic' is not one of its choices: write one of auto, pull, "
                "build, archive",
                "registry_extra_hostnames: is text: write a list",
                "registry_port: is text: write a whole number",
                "registry_drain_timeout: 'soon' is not a duration: write seconds, or 90s, 10m, 1h",
                "registry_memory: 'much' is not a size: write bytes, or 512m, 2g, 2GiB",
                "storage_path: '/etc' is a directory of the system: write one of its own, "
                "like /srv/registry",
                "storage_mount, options: is not a key of storage_mount: write opts",
                "storage_mount, opts: holds a password, which /etc/fstab shows to everyone on "
                "the host: write credentials=FILE, a file there that only root reads",
                "container_engine_network: '8.8.8.0/28' is not private: write a subnet of "
                "10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16, like 172.31.255.240/28",
            ],
        ),
        "types": (
            {
                "registry_hostname": ["a"],
                "storage_path": ["/srv"],
                "container_engine_network": {"a": 1},
                "images_archive": [1],
                "container_engine_packages": "all",
            },
            [
                "container_engine_network: is a mapping: write text",
                "container_engine_packages: is text: write a list",
                "images_archive: is a list: write text",
                "registry_hostname: is a list: write text",
                "storage_path: is a list: write text",
            ],
        ),
        "registry-settings": (
            {
                "registry_settings": {
                    "http": {"secret": plant("http.secret"), "relativurls": True},
                    "auth": {"token": {"realm": plant("in a realm")}},
                    "log": {"level": plant("in a choice")},
                },
                "registry_environment": {
                    "REGISTRY_HTTP_SECRET": plant("http.secret in the environment"),
                    "REGISTRY_STORAGE_S3_SECRETKEY": plant("S3's secret key"),
                    "REGISTRY_LOG_LEVL": plant("in a misspelt variable"),
                },
            },
            [
                "registry_settings, http.secret: it is made on the host and stays there: remove it",
                "registry_settings, http.relativurls: distribution 3.1.2 does not know this key "
                "and would ignore it: the keys here are headers",
                "registry_settings, auth: who may do what is decided by registry_auth, "
                "registry_users and registry_access: write those instead",
                "registry_settings, log.level: must be one of error, warn, info, debug",
                "registry_environment, REGISTRY_HTTP_SECRET: it is made on the host and stays "
                "there: remove it",
                "registry_environment, REGISTRY_STORAGE_S3_SECRETKEY: this version keeps the "
                "registry's data below storage_path only: remove it, and write storage_path or "
                "storage_mount instead",
                "registry_environment, REGISTRY_LOG_LEVL: distribution 3.1.2 does not know this "
                "variable and would ignore it: did you mean REGISTRY_LOG_LEVEL?",
            ],
        ),
        "certificate-does-not-fit": (
            {
                "certificates_tls_source": "provided",
                "certificates_tls_certificate": "../expired.crt",
                "certificates_tls_key": "../other.key",
            },
            [
                "certificates_tls_key: '../other.key' does not belong to the certificate in "
                "'../expired.crt': write the path of the key that the certificate was made for",
                "certificates_tls_certificate: '../expired.crt' covers other.play.test, but not "
                f"{NAME}: get a certificate for all of registry_hostname and "
                "registry_extra_hostnames",
                "certificates_tls_certificate: the chain in '../expired.crt' ends at "
                "'other.play.test', which signs itself and is not in the controller's system "
                "roots: write its root's file into certificates_tls_ca",
                "certificates_tls_certificate: 'other.play.test' in '../expired.crt' expired on "
                f"{end}: write the path of a renewed one",
                "certificates_tls_certificate: 'other.play.test' in '../expired.crt' lacks an "
                "authority key identifier, which strict clients (Python 3.13 and newer, the "
                "verification at the end) demand: have it made again with that",
            ],
        ),
        "files-are-missing": (
            {
                "images_source": "archive",
                "certificates_tls_source": "provided",
                "certificates_tls_certificate": f"{folder}/nowhere.crt",
            },
            [
                "images_archive: is empty, but images_source is archive: "
                "write the bundle's path on the controller",
                f"certificates_tls_certificate: '{folder}/nowhere.crt' does not exist on the "
                "controller: write the PEM file's path",
                "certificates_tls_key: is empty, but certificates_tls_source is provided: write "
                "the path of the PEM file on the controller",
            ],
        ),
        "acme": (
            {
                "certificates_tls_source": "acme",
                "registry_extra_hostnames": ["10.0.0.5"],
                "certificates_acme_directory": f"https://me:{plant('in a directory')}@ca.play.test",
                "certificates_acme_eab_kid": "",
                "certificates_acme_ca": "../nowhere.crt",
                "certificates_alert_command": f"true {plant('in two lines')}\nfalse",
            },
            [
                "registry_extra_hostnames, entry 1: '10.0.0.5' is an address, and "
                "certificates_tls_source acme works for names only: remove it, or write "
                "certificates_tls_source: own_ca",
                "certificates_acme_directory: '…@ca.play.test' has credentials in it: "
                "write the URL without what precedes the @",
                "certificates_acme_eab_kid: is empty, but certificates_acme_eab_hmac_key is given: "
                "write both as the authority gave them, or remove both",
                "certificates_alert_command: has a line break or a NUL in it: write one line of "
                "shell, like mail -s registry root, or the path of a script on the host",
                "certificates_acme_ca: '../nowhere.crt' does not exist on the controller: "
                "write the PEM file's path",
            ],
        ),
        "archive-of-a-wrong-digest": (
            {"images_source": "archive", "images_archive": "../bundle.tar"},
            [
                f"images_archive: {folder}/mistakes/../bundle.tar: registry.tar: its SHA-256 is "
                f"{sha256}, but bundle.json says {'0' * 64}: copy the bundle again"
            ],
        ),
        "no-image-registry": (
            {"images_source": "pull", "images_registry": "127.0.0.1:9/registry:3.1.1"},
            [
                "images_source: pull needs 127.0.0.1:9, which does not answer the host (Connection "
                "refused): write images_source: build, which needs no image registry, or open the "
                "way there, or write an image that the host can pull into images_registry"
            ],
        ),
        "subnet": (
            {"container_engine_network": within},
            [
                f"container_engine_network: {within} overlaps a route of the host through "
                f"eth0 ({machine.subnet}): write a subnet that is free, like 172.31.255.240/28"
            ],
        ),
        "not-root": (
            {"ansible_become": False},
            [
                "host, user: the tasks run as user id 1000 and need root: "
                "write ansible_become: true and connect as a user who may sudo"
            ],
        ),
    }


@pytest.fixture(scope="module")
def dry(machine: Machine, controller: Controller, settings: dict[str, Any]) -> Run:
    """`--check` with a provided certificate, whose key ansible-vault encrypts."""
    provided = {
        "certificates_tls_source": "provided",
        "certificates_tls_certificate": "server.crt",
        "certificates_tls_key": "server.key",
        "certificates_tls_ca": "ca.crt",
    }
    inventory = controller.inventory("dry", settings | provided, {"instance": {}})
    line = files.provided(inventory, NAME, controller.vaulted)
    controller.secrets.values["the provided key"] = line
    before = machine.snapshot()
    run = controller.play("dry", inventory, "--check")
    assert not (inventory / "credentials").exists()
    assert differences(before, machine.snapshot()) == []
    return run


def test_a_dry_run_succeeds_on_a_fresh_host(dry: Run) -> None:
    assert dry.code == 0, dry.output[-4000:]
    assert dry.changed > 5
    assert "Docker Engine is absent: it would be installed and started." in dry.output


def test_a_dry_run_shows_the_files_that_are_not_secret(dry: Run) -> None:
    assert '+  "live-restore": true' in dry.output
    assert "auth_config.yml: changed; its content is secret and not shown" in dry.output


@pytest.fixture(scope="module")
def mistaken(
    machine: Machine, controller: Controller, settings: dict[str, Any], cases: Cases
) -> Run:
    """One run for several hosts: each has its own mistake, and one has none."""
    # Finding each host's Python would take as long as checking the host.
    python = {"ansible_python_interpreter": "/usr/bin/python3"}
    hosts = {host: python | more for host, (more, _) in cases.items()}
    disk = {"storage_free_minimum": "900TiB", "container_engine_free_minimum": "900TiB"}
    inventory = controller.inventory("mistakes", settings, hosts | {"disk": disk, "good": {}})
    before = machine.snapshot()
    run = controller.play("mistakes", inventory)
    assert not (inventory / "credentials").exists()
    assert differences(before, machine.snapshot()) == []
    return run


def test_every_mistake_is_reported_at_once(mistaken: Run, cases: Cases) -> None:
    expected = {host: sentences for host, (_, sentences) in cases.items()}
    assert {host: mistaken.mistakes.get(host) for host in expected} == expected


def test_hosts_with_a_mistake_stop_one_without(mistaken: Run) -> None:
    assert mistaken.code != 0
    assert "good" not in mistaken.said
    assert {task.partition(" : ")[0] for task in mistaken.tasks} == {"preflight"}


def test_a_disk_with_too_little_room(mistaken: Run) -> None:
    data, docker = mistaken.mistakes["disk"]
    free = r"[0-9.]+ [GM]iB"
    assert re.fullmatch(
        f"storage_free_minimum: {free} are free in storage_path /var/lib/wharfinger/registry, "
        "less than 921600 GiB: make room, or write a smaller storage_free_minimum",
        data,
    )
    assert re.fullmatch(
        f"container_engine_free_minimum: {free} are free in Docker's directory /var/lib/docker, "
        "less than 921600 GiB: make room, or write a smaller container_engine_free_minimum",
        docker,
    )


def test_the_comparison_sees_one_changed_mode(machine: Machine) -> None:
    before = machine.snapshot()
    machine.run("chmod 0600 /etc/debian_version")
    changed = differences(before, machine.snapshot())
    machine.run("chmod 0644 /etc/debian_version")
    assert any(line.startswith("+ etc/debian_version 600 ") for line in changed)


@pytest.mark.parametrize(
    ("playbook", "options", "sentences"),
    [
        (
            "playbooks/rotate_certificates.yml",
            ("-e", "rotate=signng", "-e", "revok=true"),
            [
                "revok: is an unknown variable: write -e revoke=…",
                "rotate: 'signng' is not one of its choices: write -e rotate=signing, tls, ca or "
                "all, or leave it out for what is due",
            ],
        ),
        (
            "playbooks/rollback.yml",
            ("-e", "rollback=nginx"),
            [
                "rollback: 'nginx' is not one of its choices: write -e rollback=registry or "
                "token_server, or leave it out for what the last deployment changed"
            ],
        ),
        (
            "site.yml",
            ("-e", "regenerate=admin", "-e", "rotate=all", "-e", "readmit=nobody"),
            [
                "readmit: 'nobody': neither in registry_users nor in registry_robots: add the "
                "account there too, or correct the name",
                "rotate: is not read by this playbook: run playbooks/rotate_certificates.yml with "
                "it, or leave it out",
                "regenerate: registry_users has no user 'admin' without password and "
                "password_hash, and only a generated password can be regenerated: write -e "
                "regenerate=NAME with one of someuser",
            ],
        ),
        (
            "playbooks/remove.yml",
            ("-e", "remove_date=x", "-e", "storage_path=/etc"),
            [
                "storage_path: '/etc' is a directory of the system: write one of its own, "
                "like /srv/registry",
                "remove_date: is an unknown variable: write -e remove_data=…",
            ],
        ),
    ],
)
def test_a_playbooks_options_are_checked_before_anything_is_changed(
    machine: Machine,
    controller: Controller,
    settings: dict[str, Any],
    playbook: str,
    options: tuple[str, ...],
    sentences: list[str],
) -> None:
    inventory = controller.inventory("asked", settings, {"instance": {}})
    before = machine.snapshot()
    run = controller.play(f"asked {playbook}", inventory, *options, playbook=playbook)
    assert differences(before, machine.snapshot()) == []
    assert run.mistakes["instance"] == sentences
