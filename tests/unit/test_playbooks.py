"""What playbooks say before they reach any host; the real ansible-playbook runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.constants import DEFAULT_VAULT_ID_MATCH
from ansible.parsing.vault import VaultLib, VaultSecret

PROJECT = Path(__file__).resolve().parents[2]


def play(playbook: str, inventory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory)),
            *(str(PROJECT / "playbooks" / playbook), *arguments),
        ],
        cwd=PROJECT,
        env=os.environ | {"NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


PLAYBOOKS = ["../site.yml", *(path.name for path in sorted(PROJECT.glob("playbooks/*.yml")))]
NOTHING = {"registry": {"hosts": {}}}
ELSEWHERE = {"registry": {"hosts": {"one.test": None}}, "clients": {"hosts": {"two.test": None}}}


def written(folder: Path, groups: dict[str, Any] | str) -> Path:
    inventory = folder / "hosts.yml"
    inventory.write_text(groups if isinstance(groups, str) else yaml.safe_dump(groups))
    return inventory


def error(ran: subprocess.CompletedProcess[str]) -> str:
    """The error that ended the run, on one line; no task has run on any host before."""
    assert ran.returncode not in (0, 250), ran.stdout + ran.stderr
    assert "TASK" not in ran.stdout
    return " ".join(ran.stderr.partition("[ERROR]: ")[2].split())


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_a_limit_to_hosts_of_another_group_fails(playbook: str, tmp_path: Path) -> None:
    group, own, other = "registry", "one.test", "two.test"
    if playbook == "trust.yml":
        group, own, other = "clients", other, own
    assert error(play(playbook, written(tmp_path, ELSEWHERE), "--limit", other)) == (
        f"--limit {other}: matches no host of the group {group}, so nothing was done: "
        f"write one of {own}"
    )


@pytest.mark.parametrize(
    ("groups", "arguments", "message"),
    [
        (
            {"registries": {"hosts": {"one.test": None}}},
            (),
            "registry: no host is in this group, so nothing was done: write `registry:` for "
            "`registries:` in the inventory's hosts.yml; the inventory has registries (one.test)",
        ),
        (
            {"web": {"hosts": {"one.test": None}}} | NOTHING,
            (),
            "registry: no host is in this group, so nothing was done: write hosts under "
            "`registry:` and `hosts:` in the inventory's hosts.yml; the inventory has web "
            "(one.test)",
        ),
        (
            NOTHING,
            (),
            "registry: no host is in this group, so nothing was done: write hosts under "
            "`registry:` and `hosts:` in the inventory's hosts.yml; the inventory has no host",
        ),
        (
            NOTHING,
            ("--limit", "nothing"),
            "registry: no host is in this group, so nothing was done: write hosts under "
            "`registry:` and `hosts:` in the inventory's hosts.yml; the inventory has no host",
        ),
        (
            ELSEWHERE,
            ("--limit", "nothing"),
            "--limit nothing: matches no host, so nothing was done: the inventory has "
            "clients (two.test), registry (one.test)",
        ),
        (
            ELSEWHERE,
            ("--tags", "certificates,nosuch"),
            "--tags nosuch: no task has this tag, so nothing was done: write one of "
            "backup, base_images, certificates, container_engine, contents, docker_auth, images, "
            "mirrors, registry, reverse_proxy, storage, verification",
        ),
        (
            ELSEWHERE,
            ("--start-at-task", "nosuch*"),
            "--start-at-task nosuch*: no task has this name, so nothing was done: write one that "
            "--list-tasks shows",
        ),
        (
            ELSEWHERE,
            ("--skip-tags", "nosuch"),
            "--skip-tags nosuch: no task has this tag, so nothing was done: write one of "
            "backup, base_images, certificates, container_engine, contents, docker_auth, images, "
            "mirrors, registry, reverse_proxy, storage, verification",
        ),
    ],
)
def test_a_run_for_nobody_fails_and_names_what_there_is(
    groups: dict[str, Any], arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    assert error(play("../site.yml", written(tmp_path, groups), *arguments)) == message


def test_tags_of_the_surroundings_are_named_as_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory = written(tmp_path, ELSEWHERE)
    monkeypatch.setenv("ANSIBLE_RUN_TAGS", "nosuch")
    assert error(play("../site.yml", inventory)).startswith(
        "ANSIBLE_RUN_TAGS nosuch: no task has this tag, so nothing was done: write one of "
    )
    said = error(play("../site.yml", inventory, "--tags", "elsewhere"))
    # Ansible adds one to the other.
    assert "ANSIBLE_RUN_TAGS nosuch: no task has" in said
    assert "--tags elsewhere: no task has this tag" in said
    monkeypatch.delenv("ANSIBLE_RUN_TAGS")
    monkeypatch.setenv("ANSIBLE_SKIP_TAGS", "registry,storage")
    ran = play("../site.yml", written(tmp_path, NOTHING))
    said = " ".join(ran.stderr.split())
    assert "ANSIBLE_SKIP_TAGS is set, so this run is not for all tasks: registry, storage" in said


def test_trust_without_clients_fails_and_says_where_to_write_them(tmp_path: Path) -> None:
    ran = play("trust.yml", written(tmp_path, {"registry": {"hosts": {"one.test": None}}}))
    assert error(ran) == (
        "clients: no host is in this group, so nothing was done: write hosts under `clients:` "
        "and `hosts:` in the inventory's hosts.yml; the inventory has registry (one.test)"
    )


def test_an_inventory_that_does_not_exist_is_answered_with_those_that_do(tmp_path: Path) -> None:
    for missing in (tmp_path / "typo", Path("inventory/typo")):
        assert error(play("users.yml", missing)) == (
            f"1 mistake in the inventory; nothing was changed. - {missing}: there is no such "
            "inventory: write -i with one of inventory/example, inventory/local, or copy "
            "inventory/example there"
        )


def test_an_empty_folder_is_not_an_inventory(tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    assert error(play("users.yml", tmp_path)) == (
        f"1 mistake in the inventory; nothing was changed. - {tmp_path}: holds no inventory: "
        f"write {tmp_path}/hosts.yml"
    )


@pytest.mark.parametrize("name", ["hosts", "inventory/hosts", "script"])
def test_an_inventory_beside_a_good_one_that_no_plugin_reads_is_an_error(
    name: str, tmp_path: Path
) -> None:
    good = written(tmp_path, ELSEWHERE)
    bad = tmp_path / "bad" / name
    bad.parent.mkdir(parents=True)
    bad.write_text("#!/bin/false\nnot an inventory\n")
    bad.chmod(0o755 if name == "script" else 0o644)
    source = bad.parent if name.startswith("inventory") else bad
    ran = play("users.yml", good, "-i", str(source))
    assert error(ran).endswith(
        f"{source}: cannot be read as an inventory, so nothing was done: correct it; Ansible's "
        "warnings above say why"
    )


SECRET = "planted9d41"
DUPLICATE = f"registry_users:\n  a: {{password: {SECRET}}}\n  a: {{password: {SECRET}}}\n"
TWICE = "is written a second time, the first is in line 2: keep one of the two, or rename one"


@pytest.mark.parametrize("verbosity", ["-v", "-vvvv"])
def test_every_file_that_ansible_would_read_is_read_ahead_and_none_other(
    tmp_path: Path, verbosity: str
) -> None:
    files = {
        "group_vars/registry/users.yml": DUPLICATE,
        "group_vars/registry/more/deep": DUPLICATE,
        "group_vars/all.yml": f"a:\n\tb: {SECRET}\n",
        "host_vars/one.test.yaml": f"a: @{SECRET}\n",
        "host_vars/one.test.json": f'{{"a": "{SECRET}"',
        # Ansible reads none of these.
        "group_vars/registry/.hidden.yml": DUPLICATE,
        "group_vars/registry/users.yml~": DUPLICATE,
        "group_vars/registry/users.yml.orig": DUPLICATE,
        "group_vars/nobodys_group.yml": DUPLICATE,
        "host_vars/nobody.test.yml": DUPLICATE,
        "credentials/a": DUPLICATE,
        "readme.md": DUPLICATE,
    }
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    written(tmp_path, ELSEWHERE)
    ran = play("users.yml", tmp_path, verbosity)
    assert ran.returncode == 4
    wrong = [line.strip() for line in ran.stderr.splitlines() if line.startswith("  - ")]
    assert wrong == [
        f"- {tmp_path}/group_vars/all.yml, line 2: the line is indented with a tab: write spaces",
        f"- {tmp_path}/group_vars/registry/more/deep, line 3: a {TWICE}",
        f"- {tmp_path}/group_vars/registry/users.yml, line 3: a {TWICE}",
        f"- {tmp_path}/host_vars/one.test.yaml, line 1: a value that begins with a special "
        "character (such as @ ` % * & ! | > ? - , or a bracket) must be in quotes: "
        "write 'the value'",
    ]
    assert SECRET not in ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "hosts.yml",
            f"registry:\n  hosts:\n   one.test: {{ansible_password: {SECRET}}}\n  vars: {{}}}}\n",
            ", line 4: a } closes what is not open: remove it",
        ),
        (
            "hosts",
            f"registry:\n  hosts:\n    one.test:\n\tansible_password: {SECRET}\n",
            ", line 4: the line is indented with a tab: write spaces",
        ),
        (
            "group_vars/registry.yml",
            f"{{a: {SECRET}\nb: {SECRET}\n",
            ", line 1: the { that opens here is not closed in its line: write }",
        ),
        (
            "group_vars/registry.json",
            f'{{"a": "{SECRET}",\n "b" "c"}}',
            ", line 2: the JSON cannot be read: look for a comma, quote or bracket",
        ),
        (
            "group_vars/registry.yml",
            "$ANSIBLE_VAULT;1.1;AES256\n3661\n",
            ": is encrypted by ansible-vault and cannot be decrypted: give the vault's password "
            "(--ask-vault-pass, or --vault-password-file FILE)",
        ),
    ],
)
def test_a_files_mistake_is_reported_with_its_line(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    written(tmp_path, ELSEWHERE)
    if name == "hosts":
        (tmp_path / "hosts.yml").unlink()
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    ran = play("users.yml", tmp_path, "-vvv")
    assert error(ran) == f"1 mistake in the inventory; nothing was changed. - {file}{message}"
    assert SECRET not in ran.stdout + ran.stderr


def test_files_and_yaml_of_e_are_read_ahead_too(tmp_path: Path) -> None:
    (tmp_path / "more.yml").write_text(DUPLICATE)
    inventory = written(tmp_path, ELSEWHERE)
    given = ("-e", f"@{tmp_path}/more.yml", "-e", "@nix.yml", "-e", f"{{a: {SECRET}, b: [}}")
    ran = play("users.yml", inventory, *given)
    assert error(ran) == (
        "3 mistakes in the inventory; nothing was changed. "
        f"- {tmp_path}/more.yml, line 3: a {TWICE} "
        "- -e @nix.yml: there is no such file: correct its name "
        "- -e, line 1: a comma between two entries is missing, or the ] that closes [: write it, "
        "and quotes around values with such characters"
    )
    assert SECRET not in ran.stdout + ran.stderr


def test_a_vaults_content_is_read_if_its_password_is_given(tmp_path: Path) -> None:
    vault = VaultLib([(DEFAULT_VAULT_ID_MATCH, VaultSecret(b"open"))])
    (tmp_path / "password").write_text("open\n")
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/registry.yml").write_bytes(vault.encrypt(DUPLICATE))
    inventory = written(tmp_path, ELSEWHERE)
    ran = play("users.yml", inventory, "--vault-password-file", f"{tmp_path}/password")
    assert error(ran) == (
        "1 mistake in the inventory; nothing was changed. - "
        f"{tmp_path}/group_vars/registry.yml, line 3: a {TWICE}"
    )


def test_content_encrypted_for_others_is_left_alone(tmp_path: Path) -> None:
    closed = VaultLib([(DEFAULT_VAULT_ID_MATCH, VaultSecret(b"theirs"))]).encrypt("a: 1\n")
    for folder in ("group_vars", "host_vars"):
        (tmp_path / folder).mkdir()
    (tmp_path / "group_vars/databases.yml").write_bytes(closed)
    (tmp_path / "host_vars/theirs.test.yml").write_bytes(closed)
    (tmp_path / "theirs.yml").write_bytes(closed)
    written(tmp_path, ELSEWHERE | {"databases": {"hosts": {"theirs.test": None}}})
    ran = play("users.yml", tmp_path, "--list-hosts")
    assert (ran.returncode, "one.test" in ran.stdout) == (0, True), ran.stderr


def test_groups_above_registry_and_below_it_are_read(tmp_path: Path) -> None:
    below = {"inner": {"hosts": {"one.test": None}}}
    written(tmp_path, {"site": {"children": {"registry": {"children": below}}}})
    (tmp_path / "group_vars").mkdir()
    for name in ("site", "registry", "inner"):
        (tmp_path / f"group_vars/{name}.yml").write_text(DUPLICATE)
    said = error(play("users.yml", tmp_path))
    assert said.startswith("3 mistakes in the inventory; nothing was changed. - ")


def test_trust_with_clients_goes_on_to_its_role(tmp_path: Path) -> None:
    ran = play("trust.yml", written(tmp_path, {"clients": {"hosts": {"client.test": None}}}))
    assert ran.returncode == 2
    assert "client_trust_registry: '': write the registry's address" in ran.stdout


def together(tmp_path: Path, hosts: dict[str, object], scope: str, *arguments: str) -> list[str]:
    """The messages about an inventory's hosts, which are never reached; [] if there are none."""
    inventory, playbook = tmp_path / "hosts.yml", tmp_path / "play.yml"
    inventory.write_text(yaml.safe_dump({"registry": {"hosts": hosts}}))
    task = {"preflight_together": {"scope": scope}, "run_once": True}
    tasks = [task, {"ansible.builtin.debug": {"msg": "the run went on"}}]
    playbook.write_text(
        yaml.safe_dump([{"hosts": "registry", "gather_facts": False, "tasks": tasks}])
    )
    ran = play(str(playbook), inventory, *arguments)
    assert (ran.returncode == 0) is ("the run went on" in ran.stdout), ran.stdout + ran.stderr
    if ran.returncode == 0:
        assert "WARNING" not in ran.stderr, ran.stderr
        return []
    message = yaml.safe_load(ran.stdout[ran.stdout.index("    msg:") :].partition("\n\n")[0])["msg"]
    head, *sentences = str(message).split("\n  - ")
    assert head.endswith("found; nothing was changed.")
    return sentences


SHARED = {"registry_hostname": "registry.example.com"}
INSTEAD = (
    "write a registry_hostname for each (host_vars/a.test.yml and host_vars/b.test.yml), and "
    "remove it from group_vars"
)


@pytest.mark.parametrize(
    "arguments", [[], ["--limit", "b.test"], ["--check"]], ids=["all", "limited", "dry"]
)
def test_two_hosts_with_one_name_are_refused(tmp_path: Path, arguments: list[str]) -> None:
    hosts: dict[str, object] = {"a.test": SHARED, "b.test": SHARED | {"registry_port": 5000}}
    assert together(tmp_path, hosts, "site", *arguments) == [
        "registry_hostname: a.test, b.test have the same one, 'registry.example.com', but not the "
        "same authority, and credentials/registry.example.com-ca.crt can hold only one: " + INSTEAD
    ]


def test_what_else_the_hosts_of_an_inventory_must_not_share(tmp_path: Path) -> None:
    own = {"registry_hostname": "{{ inventory_hostname }}"}
    vault = {"password": "{{ nobody_knows }}"}
    hosts: dict[str, object] = {
        "a.test": own | {"ansible_host": "10.0.0.5", "registry_users": {"admin": vault, "ci": {}}},
        "b.test": own | {"ansible_host": "10.0.0.5", "registry_robots": {"ci": {}}},
        "c.test": own | {"registry_users": {"admin": {}, "ci": {"password": "x"}}},
    }
    accounts = (
        "registry_robots: 'ci' is a user of a.test and a robot of b.test, and credentials/ci can "
        "have the secret of only one: rename one of them"
    )
    machine = (
        "ansible_host: a.test, b.test are the same machine (10.0.0.5, port 22), and a machine can "
        "have only one registry: remove one of them, or correct its ansible_host"
    )
    assert together(tmp_path, hosts, "site") == [machine, accounts]
    # Problems of a deployment do not stop an operator who removes a user.
    assert together(tmp_path, hosts, "users") == [accounts]
    assert together(tmp_path, hosts, "remove") == []


def test_hosts_that_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    users = {"registry_users": {"admin": {}}, "registry_robots": {"ci": {}}}
    own = users | {"registry_hostname": "{{ inventory_hostname }}"}
    unknown = {"registry_hostname": "{{ nobody_knows }}", "registry_port": "https"}
    hosts: dict[str, object] = {"a.test": own, "b.test": own, "c.test": unknown, "d.test": {}}
    assert together(tmp_path, hosts, "site") == []


def test_machines_that_differ_only_by_port_or_connection(tmp_path: Path) -> None:
    hosts: dict[str, object] = {
        f"{name}.test": {
            "registry_hostname": "{{ inventory_hostname }}",
            "ansible_host": "127.0.0.1",
            variable: value,
        }
        for name, variable, value in (
            ("a", "ansible_port", 2201),
            ("b", "ansible_ssh_port", 2202),
            ("c", "ansible_ssh_args", "-J one.test"),
            ("d", "ansible_ssh_common_args", "-J two.test"),
        )
    }
    assert together(tmp_path, hosts, "site") == []
    [said] = together(tmp_path, hosts | {"e.test": hosts["b.test"]}, "site")
    assert said.startswith(
        "ansible_host: b.test, e.test are the same machine (127.0.0.1, port 2202)"
    )


def test_the_example_is_right_for_several_hosts(tmp_path: Path) -> None:
    example = PROJECT / "inventory/example/group_vars/registry/settings.yml"
    settings = yaml.safe_load(example.read_text(encoding="utf-8"))
    hosts: dict[str, object] = {"a.test": settings, "b.test": settings}
    assert together(tmp_path, hosts, "site") == []


def test_trust_says_what_its_variables_became(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(
        "clients:\n  hosts: {client.test: {ansible_connection: local, ansible_become: false}}\n"
        "  vars:\n    client_trust_registry: 2026-01-01\n    client_trust_ca_file: no\n"
        "    client_trust_system: 1e3\n    client_trust_systm: yes\n"
    )
    ran = play("trust.yml", inventory)
    assert ran.returncode == 2
    quoted = "write text in quotation marks"
    for sentence in (
        "4 mistakes found; nothing was changed.",
        "client_trust_systm: is an unknown variable: write client_trust_system",
        f"client_trust_registry: is a date to YAML: {quoted}",
        f"client_trust_ca_file: is true or false to YAML: {quoted}",
        "client_trust_system: is text: write true or false",
    ):
        assert sentence in ran.stdout, ran.stdout


def test_trust_says_what_to_do_where_a_client_cannot_be_looked_at(tmp_path: Path) -> None:
    authority = tmp_path / "ca.crt"
    authority.write_text("")
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(
        "clients:\n  hosts:\n    client.test:\n      ansible_connection: local\n"
        "      ansible_become: false\n      ansible_python_interpreter: /nowhere/python3\n"
        f"  vars:\n    client_trust_ca_file: {authority}\n"
    )
    ran = play("trust.yml", inventory, "-e", "client_trust_registry=registry.test")
    assert ran.returncode == 2
    assert "the host cannot be looked at; nothing was changed." in ran.stdout
    assert "correct ansible_python_interpreter, which is /nowhere/python3" in ran.stdout


@pytest.mark.parametrize("job", ["backup", "drill"])
def test_a_backup_before_site_yml_has_run_says_so(tmp_path: Path, job: str) -> None:
    host = {"files": {"/etc/wharfinger/backup/settings.json": None}}
    role = {"name": str(PROJECT / "roles/contents"), "tasks_from": "job"}
    facts = {"deployed": {"auth": "token"}, "host": host}
    steps = [{"import_role": role, "vars": {"preflight_facts": facts, "contents__job": job}}]
    playbook = tmp_path / "play.yml"
    playbook.write_text(
        yaml.safe_dump([{"hosts": "registry", "gather_facts": False, "tasks": steps}])
    )
    ran = play(str(playbook), written(tmp_path, ELSEWHERE))
    assert ran.returncode == 2
    assert "This host does not know backup_repository yet: run site.yml first." in " ".join(
        ran.stdout.split()
    )
