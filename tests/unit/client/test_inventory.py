"""`wharf can` and `wharf access`, which read only an inventory."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.client.conftest import Wharf

# A value in a vault, whose password is not available here.
VAULTED = """registry_users:
  admin: {password: "{{ vault_admin_password }}"}
  someuser:
    password: !vault |
      $ANSIBLE_VAULT;1.1;AES256
      64336131613630333963633237643261306236306563333639383635383137326564363837663665
      6530373931396232393732636138366338373836333863370a636136363134356164323534613736
      33366337663561616531643233386562336232306330643736616531623839356638636266393761
      3732346635393562300a336234376339376563643834393032636163623430653262316561663939
      6338
registry_robots:
  ci: {addresses: [10.0.0.0/8, "2001:db8::/32"], expires: 2100-06-30}
  nodes: {}
  past: {expires: 2020-06-30}
registry_groups: {developers: [someuser]}
registry_access:
  - {who: admin, may: all, on: all}
  - {who: group:developers, may: [pull, push], on: "{{ team }}/**"}
  - {who: anonymous, may: [pull], on: ["public/**"]}
  - {who: ["robot:ci", "robot:nodes", "robot:past"], may: [pull], on: "ci/**"}
  - {who: everyone, may: [pull], on: "all-of-us/**"}
team: team
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    folder = tmp_path / "inventory"
    (folder / "group_vars").mkdir(parents=True)
    (folder / "hosts.yml").write_text("registry: {hosts: {one.example: {}}}\n")
    (folder / "group_vars/registry.yml").write_text(VAULTED)
    # Generated passwords, which are not part of the inventory.
    (folder / "credentials").mkdir()
    (folder / "credentials/someuser").write_text("a-password\n")
    return folder


@pytest.mark.parametrize(
    ("question", "code", "sentence"),
    [
        (
            ("admin", "list"),
            0,
            "admin may see the catalog: rule 1 of registry_access, {who: admin, may: all, on: all}",
        ),
        (
            ("someuser", "push", "team/app"),
            0,
            "someuser may push to team/app: rule 2 of registry_access, {who: 'group:developers', "
            "may: [pull, push], on: team/**}",
        ),
        (
            ("ci", "pull", "ci/app"),
            0,
            "ci may pull ci/app: rule 4 of registry_access, {who: ['robot:ci', 'robot:nodes', "
            "'robot:past'], may: pull, on: ci/**}; from 10.0.0.0/8 or 2001:db8::/32 only; "
            "until 2100-06-30",
        ),
        (
            ("nodes", "pull", "ci/app"),
            0,
            "nodes may pull ci/app: rule 4 of registry_access, {who: ['robot:ci', 'robot:nodes', "
            "'robot:past'], may: pull, on: ci/**}",
        ),
        (
            ("nodes", "pull", "all-of-us/app"),
            3,
            "nodes may not pull all-of-us/app: no rule of registry_access matches",
        ),
        (
            ("past", "pull", "ci/app"),
            3,
            "past may not pull ci/app: registry_robots says that it has expired, on 2020-06-30",
        ),
        (
            ("someuser", "delete", "team/app"),
            3,
            "someuser may not delete team/app: rule 2 of registry_access, "
            "{who: 'group:developers', may: [pull, push], on: team/**}",
        ),
        (
            ("someuser", "pull", "other"),
            3,
            "someuser may not pull other: no rule of registry_access matches",
        ),
        (
            ("anonymous", "pull", "public/app"),
            0,
            "someone who is not signed in may pull public/app: rule 3 of registry_access, {who: "
            "anonymous, may: pull, on: public/**}",
        ),
        (
            ("nobody", "pull", "public/app"),
            3,
            "nobody may not pull public/app: registry_users has no nobody",
        ),
    ],
)
def test_a_question_is_answered_with_its_rule_and_without_any_password(
    inventory: Path, wharf: Wharf, question: Sequence[str], code: int, sentence: str
) -> None:
    ran = wharf("can", *question, "-i", str(inventory))
    assert ran.code == code
    assert (ran.out if code == 0 else ran.err.removeprefix("wharf: ")) == sentence + "\n"


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        (
            {"who": "no", "may": "pull", "on": "{user}/**"},
            "{who: 'no', may: pull, on: '{user}/**'}",
        ),
        (
            {"who": ["no", "bob"], "may": ["pull", "push"], "on": ["**", "a/*"]},
            "{who: ['no', bob], may: [pull, push], on: ['**', a/*]}",
        ),
    ],
)
def test_the_rule_that_decides_can_be_pasted_into_an_inventory(
    inventory: Path, wharf: Wharf, rule: Mapping[str, object], line: str
) -> None:
    change(inventory, registry_users={"no": {}, "bob": {}}, registry_access=[rule])
    ran = wharf("can", "no", "pull", "no/app", "-i", str(inventory))
    sentence = f"no may pull no/app: rule 1 of registry_access, {line}\n"
    assert (ran.code, ran.out) == (0, sentence), ran.err
    assert yaml.load(line, Loader=yaml.BaseLoader) == rule


def test_the_answer_as_json(inventory: Path, wharf: Wharf) -> None:
    ran = wharf("can", "someuser", "delete", "team/app", "-i", str(inventory), "--json")
    assert ran.code == 3
    assert (ran.json["allowed"], ran.json["rule"], ran.json["host"]) == (False, 2, "one.example")


def test_the_whole_table(inventory: Path, wharf: Wharf) -> None:
    ran = wharf("access", "-i", str(inventory))
    assert (ran.code, ran.lines) == (
        0,
        [
            "1\tadmin\teverything\tevery repository and the catalog",
            "2\tgroup developers (someuser)\tpull, push\tteam/**",
            "3\tanyone, without login\tpull\tpublic/**",
            "4\trobot ci (from 10.0.0.0/8 or 2001:db8::/32, until 2100-06-30)\tpull\tci/**",
            "4\trobot nodes\tpull\tci/**",
            "4\trobot past (until 2020-06-30)\tpull\tci/**",
            "5\tevery user\tpull\tall-of-us/**",
        ],
    )


def test_generated_passwords_are_never_read_as_an_inventory(
    inventory: Path, tmp_path: Path
) -> None:
    (inventory / "credentials/other").write_text("[cannot be read as an inventory\n")
    # Outside the project's folder, whose ansible.cfg ignores them too.
    done = subprocess.run(
        [sys.executable, "-m", "wharfinger.client", "access", "-i", str(inventory)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout.startswith("1\tadmin")


def change(inventory: Path, **values: Any) -> None:
    (inventory / "group_vars/registry.yml").write_text(yaml.safe_dump(values))


def test_htpasswd_has_no_rules(inventory: Path, wharf: Wharf) -> None:
    change(inventory, registry_auth="htpasswd", registry_users={"bob": {}})
    ran = wharf("can", "bob", "delete", "any", "-i", str(inventory))
    assert ran.out == (
        "bob may delete any: with registry_auth: htpasswd every user may do everything\n"
    )
    assert wharf("can", "anonymous", "pull", "any", "-i", str(inventory)).code == 3
    assert wharf("access", "-i", str(inventory)).out == (
        "\tevery user\teverything\tevery repository and the catalog\n"
    )


def test_several_registries_need_a_limit(inventory: Path, wharf: Wharf) -> None:
    (inventory / "hosts.yml").write_text("registry: {hosts: {a.example: {}, b.example: {}}}\n")
    ran = wharf("access", "-i", str(inventory))
    assert (ran.code, ran.err) == (
        2,
        f"wharf: {inventory} has several registries: say --limit HOST, one of a.example, "
        "b.example\n",
    )
    assert wharf("access", "-i", str(inventory), "--limit", "b.example").code == 0
    assert wharf("access", "-i", str(inventory), "--limit", "c").err == (
        "wharf: --limit c: the group registry has a.example, b.example\n"
    )


def test_mistakes_are_reported_as_in_a_deployment(inventory: Path, wharf: Wharf) -> None:
    change(inventory, registry_users={"bob": {}}, registry_access=[{"who": "bbo", "may": "all"}])
    ran = wharf("access", "-i", str(inventory))
    assert ran.code == 1
    assert ran.err.startswith("wharf: the inventory has mistakes:\nregistry_access, rule 1")


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"registry_users": "{{ nothing }}"}, "cannot be read: 'nothing' is undefined"),
        ({"registry_access": "{{ nothing }}"}, "cannot be read: 'nothing' is undefined"),
    ],
)
def test_a_variable_that_cannot_be_templated_is_an_error(
    inventory: Path, wharf: Wharf, values: Mapping[str, Any], part: str
) -> None:
    change(inventory, **values)
    ran = wharf("access", "-i", str(inventory))
    assert ran.code == 1
    assert f"wharf: {inventory} {part}" in ran.err


def test_a_whole_file_in_the_vault_needs_its_password(inventory: Path, wharf: Wharf) -> None:
    text = (inventory / "group_vars/registry.yml").read_text()
    vault = "\n".join(line.strip() for line in text.splitlines()[4:10])
    (inventory / "group_vars/registry.yml").write_text(vault + "\n")
    ran = wharf("access", "-i", str(inventory))
    assert ran.code == 1
    assert (
        f"wharf: {inventory} cannot be read (a whole file, or a value that is needed here, is "
        "encrypted: name its password's file in ANSIBLE_VAULT_PASSWORD_FILE): "
    ) in ran.err


def test_a_file_that_cannot_be_read_is_reported_with_its_line_and_without_its_passwords(
    inventory: Path, wharf: Wharf
) -> None:
    (inventory / "host_vars").mkdir()
    file = inventory / "host_vars/one.example.yml"
    file.write_text("a: {password: planted}\na: {password: planted}\n")
    hosts = inventory / "hosts.yml"
    before = hosts.read_text()
    hosts.write_text("registry:\n  hosts: {one.example: {}}\n\tvars: {a: planted}\n")
    ran = wharf("access", "-i", str(inventory))
    assert (ran.code, ran.err) == (
        1,
        "wharf: 1 mistake in the inventory; nothing was changed.\n"
        f"  - {hosts}, line 3: the line is indented with a tab: write spaces\n",
    )
    hosts.write_text(before)
    ran = wharf("can", "admin", "list", "-i", str(inventory))
    assert (ran.code, ran.err) == (
        1,
        "wharf: 1 mistake in the inventory; nothing was changed.\n"
        f"  - {file}, line 2: a is written a second time, the first is in line 1: keep one of the "
        "two, or rename one\n",
    )


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (("bob", "read", "app"), "'read' is not a verb: write one of pull, push, delete, list"),
        (("bob", "list", "app"), "list is a question about the catalog: write no repository"),
        (("bob", "pull"), "pull is a question about a repository: write its name after the verb"),
    ],
)
def test_a_malformed_question_is_refused(
    inventory: Path, wharf: Wharf, question: Sequence[str], message: str
) -> None:
    ran = wharf("can", *question, "-i", str(inventory))
    assert (ran.code, ran.err) == (2, f"wharf: {message}\n")


def test_an_inventory_must_be_there_and_have_a_registry(tmp_path: Path, wharf: Wharf) -> None:
    ran = wharf("access", "-i", str(tmp_path / "nothing"))
    assert (ran.code, ran.err) == (
        2,
        f"wharf: --inventory {tmp_path / 'nothing'}: there is no such file or directory\n",
    )
    (tmp_path / "hosts.yml").write_text("others: {hosts: {a: {}}}\n")
    ran = wharf("access", "-i", str(tmp_path / "hosts.yml"))
    assert (ran.code, ran.err) == (
        2,
        f"wharf: {tmp_path / 'hosts.yml'} has no host in the group registry\n",
    )


def test_without_ansible_the_message_says_how_to_get_it(
    inventory: Path, wharf: Wharf, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordinary = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "ansible":
            raise ModuleNotFoundError(name)
        return ordinary(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    ran = wharf("access", "-i", str(inventory))
    assert (ran.code, ran.err) == (
        1,
        "wharf: this needs Ansible, which is not installed here: pip install "
        "'wharfinger[inventory]', or use .venv/bin/wharf of the project's folder after ./deploy\n",
    )
