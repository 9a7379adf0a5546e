"""Every role states its inputs once: defaults and argument specifications agree."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from wharfinger.deployment.settings import SETTINGS, used_only
from wharfinger.host.observation.observe import PACKAGES
from wharfinger.token_server.config.model import Limits

ROLES = sorted((Path(__file__).resolve().parents[2] / "roles").iterdir())

CONTENTS = ROLES[0].parent / "contents"


def options(role: Path) -> dict[str, dict[str, Any]]:
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())
    return specs["argument_specs"]["main"].get("options") or {}


@pytest.fixture(params=ROLES, ids=lambda role: role.name)
def role(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_there_are_roles() -> None:
    assert len(ROLES) >= 9


def test_every_limit_of_the_token_server_is_a_variable_that_reaches_it() -> None:
    role = ROLES[0].parent / "docker_auth"
    settings = yaml.safe_load((role / "vars" / "main.yml").read_text())["docker_auth__settings"]
    usual = asdict(Limits())
    assert settings["limits"] == {name: f"{{{{ docker_auth_{name} }}}}" for name in usual}
    defaults = {name: options(role)[name]["default"] for name in used_only("docker_auth_server")}
    assert defaults == {f"docker_auth_{name}": number for name, number in usual.items()}


def test_every_option_has_a_default_or_must_be_set(role: Path) -> None:
    without = {name for name, option in options(role).items() if "default" not in option}
    assert without == {name for name, option in options(role).items() if option.get("required")}


def test_packages_that_roles_name_are_looked_for_on_the_host() -> None:
    # A package that is not looked for would count as missing at every run.
    texts = [path.read_text() for path in ROLES[0].parent.glob("*/vars/main.yml")]
    named = {
        word
        for text in texts
        for key in re.split(r"^(?=\w)", text, flags=re.MULTILINE)
        if re.match(r"\w+__(\w*packages|engine|nginx):", key)
        for names in re.findall(r"\[('[^\]]*)\]", key)
        for word in re.findall(r"'([a-z0-9.-]+)'", names)
    }
    assert {"nginx", "docker.io", "docker-cli", "certbot", "cron", "ca-certificates"} <= named
    assert named - set(PACKAGES) == set()


def test_every_role_says_in_words_what_it_does(role: Path) -> None:
    # The rest of the page is generated.
    words = (role / "README.md").read_text().partition("## Variables")[0].split()
    assert len(words) > 15
    for link in re.findall(r"\]\(([^)#]+)", " ".join(words)):
        assert (role / link).exists(), link


def test_generated_files_are_fresh() -> None:
    # docs/reference.md and every role's defaults.
    done = subprocess.run(
        [sys.executable, ROLES[0].parents[1] / "bin/generate", "--check"],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "", "run bin/generate"
    assert done.returncode == 0, done.stderr


def test_the_table_of_settings_has_only_variables_of_the_roles() -> None:
    known = {name for role in ROLES for name in options(role)}
    assert SETTINGS.keys() - known == set()


def test_the_reference_has_every_variable_with_its_range_and_what_it_stops() -> None:
    page = (ROLES[0].parents[1] / "docs/reference.md").read_text()
    for role in ROLES:
        for name in options(role):
            assert page.count(f"\n| `{name}` |") == 1, name
    row = next(line for line in page.splitlines() if line.startswith("| `certificates_tls_days`"))
    assert "a number from 1 to 825" in row
    assert row.endswith("| rotate_certificates |")


def test_every_option_says_what_it_is(role: Path) -> None:
    for name, option in options(role).items():
        assert option.get("description"), name
        assert option.get("type"), name


def test_public_variables_begin_with_the_roles_name_or_belong_to_the_contract(role: Path) -> None:
    # The inventory contract's names that no single role owns.
    shared = {"registry_hostname", "registry_extra_hostnames", "registry_port", "registry_auth"}
    shared |= {"registry_users", "registry_groups", "registry_access", "docker_auth_server"}
    shared |= {"registry_base_images"}
    shared |= {name for name in options(CONTENTS) if name.startswith("registry_")}
    shared |= {"registry_mirrors", "registry_mirrors_schedule"}
    foreign = {name for name in options(role) if not name.startswith(f"{role.name}_")}
    assert foreign - shared == set()


def test_no_task_hides_what_the_host_program_says_is_wrong() -> None:
    # Its answers contain no secret, and its messages say what to do.
    hidden = [
        f"{path.relative_to(ROLES[0].parent)}: {task['name']}"
        for path in ROLES[0].parent.glob("*/tasks/*.yml")
        for task in yaml.safe_load(path.read_text()) or ()
        if "wharfinger_host" in task and task.get("no_log")
    ]
    assert hidden == []


def tagged(role: Path) -> list[dict[str, Any]]:
    """The tasks of a role that a tag selects."""
    files = sorted((role / "tasks").glob("*.yml"))
    return [
        task
        for file in files
        for task in yaml.safe_load(file.read_text()) or []
        if "tags" in task and "always" not in task["tags"]
    ]


def test_a_tag_reaches_the_tasks_that_are_included(role: Path) -> None:
    # Ansible passes the tags of an include_tasks on to the included tasks only if `apply` says so.
    # Without it, `--tags contents` was green although it had skipped everything.
    for task in tagged(role):
        included = task.get("ansible.builtin.include_tasks")
        if included is not None:
            assert included["apply"]["tags"] == task["tags"], task["name"]


def test_booleans_are_read_as_booleans_where_they_are_used(role: Path) -> None:
    # `-e NAME=false` makes a text of it, which Jinja treats as true and `when` refuses.
    known = {
        name for each in ROLES for name, spec in options(each).items() if spec["type"] == "bool"
    }
    assert known
    files = [*(role / "tasks").glob("*.yml"), *(role / "vars").glob("*.yml")]
    for file in files:
        for line in file.read_text().splitlines():
            if line.lstrip().startswith("#"):
                continue
            for word in re.finditer(r"\w+", line):
                after = line[word.end() :]
                if word[0] in known and not after.startswith(":"):
                    assert after.startswith(" | boolean"), f"{file.name}: {line}"


def test_the_role_of_the_playbooks_with_one_job_needs_no_other_role() -> None:
    # They import preflight and this role only: another role's variable would be undefined there.
    foreign = {name for role in ROLES if role != CONTENTS for name in options(role)}
    files = [*CONTENTS.glob("tasks/*.yml"), *CONTENTS.glob("vars/*.yml")]
    expressions = [text for file in files for text in re.findall(r"{{.*?}}", file.read_text())]
    # preflight_facts.NAME is what preflight took from the inventory.
    words = {word for text in expressions for word in re.findall(r"(?<![.\w])[a-z_]+", text)}
    assert "preflight_facts" in words
    assert words & (foreign - set(options(CONTENTS))) == set()


def test_a_restore_registers_nothing_that_preflight_takes_for_a_setting() -> None:
    # A full restore skips its first play, and a skipped task registers its variable, too. Then
    # preflight said: 'backup_restored_repositories: is an unknown variable'. Names with __ are
    # internal.
    project = ROLES[0].parents[1]
    first_play = yaml.safe_load((project / "playbooks/restore.yml").read_text())[0]
    imported = [task["ansible.builtin.import_role"] for task in first_play["tasks"]]
    tasks = [
        task
        for role in imported
        if "tasks_from" in role
        for task in yaml.safe_load(
            (ROLES[0].parent / role["name"] / f"tasks/{role['tasks_from']}.yml").read_text()
        )
    ]
    registered = [task["register"] for task in tasks if "register" in task]
    assert registered and all("__" in name for name in registered), registered
