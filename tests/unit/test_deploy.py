"""./deploy works from any folder and for any user: paths are relative to the caller's folder, and
nothing else in the caller's environment matters."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml
from ansible.constants import DEFAULT_VAULT_ID_MATCH
from ansible.parsing.vault import VaultLib, VaultSecret

from support.amount import FULL

PROJECT = Path(__file__).resolve().parents[2]
Deploy = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A separate checkout with a path that needs care; its .venv is ready and is that of the
    tests."""
    copy = tmp_path_factory.mktemp("deploy") / "a folder, größer" / "wharfinger"
    ignored = shutil.ignore_patterns(".*", "credentials", "__pycache__", "tests", "molecule")
    shutil.copytree(PROJECT, copy, ignore=ignored)
    (copy / ".venv").mkdir()
    (copy / ".venv/bin").symlink_to(Path(sys.executable).parent)
    stamp = "set -eu; . bin/environment.sh; environment_stamp controller >.venv/controller.stamp"
    subprocess.run(["bash", "-c", stamp], cwd=copy, check=True)
    return copy


@pytest.fixture
def deploy(checkout: Path, tmp_path: Path) -> Deploy:
    """Runs ./deploy in a folder with the inventory i1; it only shows the hosts and tasks."""
    (tmp_path / "i1/group_vars").mkdir(parents=True)
    (tmp_path / "i1/hosts.yml").write_text("registry: {hosts: {one.test: }}\n")

    def run(
        *arguments: str,
        variables: Mapping[str, str | None] | None = None,
        before: str = "",
        folder: Path = tmp_path,
        listing: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ANSIBLE_", "PYTHON", "LC_", "LANG"))
        }
        for name, value in (variables or {}).items():
            environment.pop(name, None)
            if value is not None:
                environment[name] = value
        command = [str(checkout / "deploy"), *arguments]
        if listing:
            command += ["--list-hosts", "--list-tasks"]
        return subprocess.run(
            ["bash", "-c", f'{before}\nexec "$@"', "bash", *command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def shows(ran: subprocess.CompletedProcess[str], host: str = "one.test") -> None:
    """Checks that the output shows the host, and tasks of the project's roles, by its own
    settings."""
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"\n      {host}" in ran.stdout
    assert "preflight : Inventory and host are correct" in ran.stdout


@pytest.mark.parametrize(
    "arguments",
    [("-i", "i1"), ("-ii1",), ("--inventory=i1",), ("-i", "./i1/hosts.yml"), ("-i", "../PWD/i1")],
)
def test_an_inventory_is_looked_for_where_the_caller_is(
    deploy: Deploy, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    shows(deploy(*(argument.replace("PWD", tmp_path.name) for argument in arguments)))


def test_from_the_checkout_its_own_inventories_are_meant(deploy: Deploy, checkout: Path) -> None:
    shows(deploy("-i", "inventory/local", folder=checkout), "this_machine")


def test_an_inventory_that_only_the_checkout_has_is_named(deploy: Deploy, checkout: Path) -> None:
    ran = deploy("-i", "inventory/local")
    assert ran.returncode == 4
    said = " ".join(ran.stderr.split())
    assert (
        "- inventory/local: there is no such inventory: write -i with one of "
        f"{checkout}/inventory/example, {checkout}/inventory/local, or copy inventory/example there"
    ) in said


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (("--vault-password-file", "vp"), {}),
        (("--vault-id", "x@vp"), {}),
        ((), {"ANSIBLE_VAULT_PASSWORD_FILE": "vp"}),
        ((), {"ANSIBLE_VAULT_IDENTITY_LIST": "x@vp"}),
        (("--vault-password-file", "vp", "-e", "@more.yml"), {}),
        (("--vault-password-file", "vp", "--become-password-file", "vp"), {}),
        (("--vault-password-file", "vp", "--connection-password-file=vp"), {}),
        (("--vault-password-file", "vp", "--private-key", "vp"), {}),
    ],
)
def test_files_are_looked_for_where_the_caller_is(
    deploy: Deploy, tmp_path: Path, arguments: tuple[str, ...], variables: dict[str, str]
) -> None:
    (tmp_path / "vp").write_text("open\n")
    (tmp_path / "more.yml").write_text("registry_port: 5000\n")
    vault = VaultLib([(DEFAULT_VAULT_ID_MATCH, VaultSecret(b"open"))])
    encrypted = vault.encrypt(yaml.safe_dump({"registry_port": 443}))
    (tmp_path / "i1/group_vars/registry.yml").write_bytes(encrypted)
    shows(deploy("-i", "i1", *arguments, variables=variables))


def test_a_relative_path_of_e_is_the_callers(deploy: Deploy, checkout: Path) -> None:
    (checkout / "only_here.yml").write_text("registry_port: 5000\n")
    ran = deploy("-i", "i1", "-e", "@only_here.yml")
    assert ran.returncode == 4
    assert "-e @only_here.yml: there is no such file: correct its name" in ran.stderr


FOREIGN = {
    "a locale that is not generated": {"LANG": "xx_XX.UTF-8"},
    "all of a locale that is not generated": {"LC_ALL": "xx_XX.UTF-8", "LANGUAGE": "de"},
    "a locale without UTF-8": {"LC_ALL": "POSIX"},
    "another Python's home": {"PYTHONHOME": "/nonexistent"},
    "another Python's modules": {"PYTHONPATH": "modules"},
    "Python's warnings": {"PYTHONWARNINGS": "error"},
    "another project's settings": {"ANSIBLE_CONFIG": "foreign/ansible.cfg"},
    "another project's roles": {"ANSIBLE_ROLES_PATH": "foreign"},
    "another project's modules": {"ANSIBLE_LIBRARY": "foreign", "ANSIBLE_MODULE_UTILS": "foreign"},
    "another project's plugins": {
        **{f"ANSIBLE_{kind}_PLUGINS": "foreign" for kind in ("ACTION", "INVENTORY")},
        # Ansible loads every plugin of these kinds.
        **{f"ANSIBLE_{kind}_PLUGINS": "i1" for kind in ("FILTER", "LOOKUP", "VARS", "CALLBACK")},
    },
    "another project's inventory plugins": {"ANSIBLE_INVENTORY_ENABLED": "yaml"},
    "another project's ignored files": {"ANSIBLE_INVENTORY_IGNORE_REGEX": "^x$"},
    "another project's tags": {"ANSIBLE_RUN_TAGS": "nosuch", "ANSIBLE_SKIP_TAGS": "always"},
    "another project's collections": {"ANSIBLE_COLLECTIONS_PATH": "foreign"},
    "CDPATH": {"CDPATH": "/usr:/"},
    "no home": {"HOME": None},
    "a home that is not there": {"HOME": "/proc/nonexistent"},
    "a folder for temporary files that is not there": {"TMPDIR": "/nonexistent"},
    "no terminal": {"TERM": None},
    "another virtual environment": {"VIRTUAL_ENV": "/nonexistent"},
    "pip's target": {"PIP_TARGET": "/nonexistent", "PIP_USER": "1", "UV_PYTHON": "2.7"},
}


def together(cases: Mapping[str, Mapping[str, str | None]]) -> dict[str, dict[str, str | None]]:
    """Joins cases into as few as possible: each joins the first that sets none of its variables."""
    joined: dict[str, dict[str, str | None]] = {}
    for name, variables in cases.items():
        for known in joined:
            if not joined[known].keys() & variables.keys():
                joined[f"{known}, {name}"] = joined.pop(known) | variables
                break
        else:
            joined[name] = dict(variables)
    return joined


# Each case costs one start of ansible-playbook, or three.
CASES = FOREIGN if FULL else together(FOREIGN)


@pytest.mark.parametrize("variables", CASES.values(), ids=CASES)
def test_the_callers_settings_for_other_work_change_nothing(
    deploy: Deploy, tmp_path: Path, variables: dict[str, str | None]
) -> None:
    foreign = tmp_path / "foreign"
    for name in (
        "../modules/yaml.py",
        "preflight.py",
        "preflight/tasks/main.yml",
        "readable_inventory.py",
    ):
        file = foreign / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("raise SystemExit('foreign')\n")
    (foreign / "ansible.cfg").write_text("[defaults]\nroles_path = /nonexistent\n")
    # Generated passwords are not part of an inventory.
    (tmp_path / "i1/credentials").mkdir()
    (tmp_path / "i1/credentials/admin").write_text("password-as-a-host\n")
    ran = deploy("-i", "i1", variables=variables)
    shows(ran)
    assert "hosts (1)" in ran.stdout
    if not any(name.startswith("ANSIBLE_") for name in variables):
        return
    # The plugins that check the inventory are available too.
    ran = deploy("-i", "i1", "--limit", "nix", variables=variables, listing=False)
    assert "--limit nix: matches no host, so nothing was done" in ran.stderr
    (tmp_path / "i1/group_vars/registry.yml").write_text("a: 1\na: 2\n")
    ran = deploy("-i", "i1", variables=variables)
    assert "a is written a second time" in ran.stderr


def test_tags_of_the_surroundings_are_said_to_be_unused(deploy: Deploy) -> None:
    ran = deploy("-i", "i1", variables={"ANSIBLE_SKIP_TAGS": "registry"})
    assert "ANSIBLE_SKIP_TAGS is not used: write --tags or --skip-tags" in ran.stderr
    assert "      registry : " in ran.stdout
    ran = deploy("-i", "i1")
    assert "is not used" not in ran.stderr


def test_root_writes_nothing_into_another_users_home(deploy: Deploy, tmp_path: Path) -> None:
    # The environment that `sudo -E` leaves.
    home = tmp_path / "theirs"
    home.mkdir()
    names = ("HOME", "XDG_CACHE_HOME", "ANSIBLE_HOME")
    for name in names[1:]:
        (home / name).mkdir()
    for folder in (home, *home.iterdir()):
        os.chown(folder, 1234, 1234)
    folders = {name: str(home if name == "HOME" else home / name) for name in names}
    shows(deploy("-i", "i1", variables=folders))
    assert sorted(path.name for path in home.rglob("*")) == sorted(names[1:])


@pytest.mark.parametrize(("given", "used"), [("", "true"), ("false", "false")])
def test_uv_trusts_the_systems_authorities(given: str, used: str) -> None:
    # Only the system knows the authority of a proxy that inspects TLS.
    ran = subprocess.run(
        ["bash", "-c", ". bin/environment.sh; sh -c 'echo \"$UV_SYSTEM_CERTS\"'"],
        cwd=PROJECT,
        env=os.environ | {"UV_SYSTEM_CERTS": given},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == f"{used}\n"


def test_other_settings_are_said_to_be_unused(deploy: Deploy, checkout: Path) -> None:
    ran = deploy("-i", "i1", variables={"ANSIBLE_CONFIG": "/etc/hosts"})
    said = f"ANSIBLE_CONFIG is not used: the settings are those of {checkout}/ansible.cfg"
    assert said in ran.stderr
    ran = deploy("-i", "i1", variables={"ANSIBLE_CONFIG": f"{checkout}/ansible.cfg"})
    assert "ANSIBLE_CONFIG" not in ran.stderr


def test_the_locked_collections_come_first(deploy: Deploy, tmp_path: Path) -> None:
    module = tmp_path / "foreign/ansible_collections/community/docker/plugins/modules"
    module.mkdir(parents=True)
    (module / "docker_container.py").write_text("raise SystemExit('foreign')\n")
    (tmp_path / "show.sh").write_text("ansible-doc -t module -F community.docker 2>/dev/null\n")
    own = f'. bin/environment.sh; environment controller; own_ansible; cd "{tmp_path}"; . ./show.sh'
    ran = subprocess.run(
        ["bash", "-c", own],
        cwd=PROJECT,
        env=os.environ | {"ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "foreign")},
        capture_output=True,
        text=True,
    )
    assert "community.docker.docker_image " in ran.stdout
    assert str(tmp_path) not in ran.stdout


@pytest.mark.parametrize("mode", [0o777, 0o555])
def test_a_callers_folder_that_others_may_write_to_does_not_matter(
    deploy: Deploy, tmp_path: Path, mode: int
) -> None:
    # Ansible would take the first file from here, and ignores it if anyone may write.
    (tmp_path / "ansible.cfg").write_text("[defaults]\nroles_path = /nonexistent\n")
    (tmp_path / "ansible.cfg").chmod(0o666)
    tmp_path.chmod(mode)
    try:
        shows(deploy("-i", "i1"))
    finally:
        tmp_path.chmod(0o755)


def test_a_checkout_that_anyone_may_write_to_has_its_settings(
    deploy: Deploy, checkout: Path
) -> None:
    checkout.chmod(0o777)
    try:
        ran = deploy("-i", "inventory/local", folder=checkout)
    finally:
        checkout.chmod(0o755)
    shows(ran, "this_machine")
    assert (
        f"anyone may write to {checkout}, and ansible-playbook ignores ansible.cfg there: "
        f"chmod o-w '{checkout}'"
    ) in ran.stderr


def test_a_caller_whose_folder_is_gone_may_deploy(deploy: Deploy, tmp_path: Path) -> None:
    shows(deploy("-i", str(tmp_path / "i1"), before="mkdir gone; cd gone; rmdir ../gone"))


def test_umask_077_and_a_symbolic_link_to_the_command(
    deploy: Deploy, checkout: Path, tmp_path: Path
) -> None:
    shows(deploy("-i", "i1", before="umask 077"))
    (tmp_path / "link").symlink_to(checkout / "deploy")
    shows(deploy("-i", "i1", before='shift; set -- ./link "$@"'))


@pytest.mark.parametrize("name", ["LANG", "LC_ALL"])
@pytest.mark.parametrize("value", ["xx_XX.UTF-8", "POSIX", "C.UTF-8"])
def test_the_environments_own_commands_take_any_locale_too(name: str, value: str) -> None:
    surroundings = {key: text for key, text in os.environ.items() if not key.startswith("LC_")}
    ran = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "--version"],
        env=surroundings | {name: value},
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_tests_may_run_in_another_users_clone() -> None:
    command = "git ls-files deploy"
    for before, files in (("", ""), (". bin/checks.sh;", "deploy\n")):
        ran = subprocess.run(
            ["bash", "-c", f"{before} {command}"],
            cwd=PROJECT,
            env=os.environ | {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1", "GIT_CONFIG_COUNT": "0"},
            capture_output=True,
            text=True,
        )
        assert ran.stdout == files


def test_a_password_that_sudo_remembers_for_the_terminal_is_asked_for_again(
    deploy: Deploy, tmp_path: Path
) -> None:
    # Ansible runs sudo without a terminal, where sudo asks again: the second ./deploy failed there.
    programs = tmp_path / "programs"
    programs.mkdir()
    remembers = (
        '#!/bin/sh\ncase $1 in *k*) echo "sudo: a password is required" >&2; exit 1;; esac\n'
    )
    for name, text in {"id": "#!/bin/sh\necho 1000\n", "sudo": remembers}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    ran = deploy(variables={"PATH": f"{programs}:{os.environ['PATH']}"})
    assert ran.returncode == 1
    assert ran.stderr == (
        "error: root is needed, and sudo asks for a password: start ./deploy in a terminal, or as "
        "root.\n"
    )
