"""Looks at the inventory and the host, changes nothing, and reports every mistake at once."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import (
    AnsibleActionFail,
    AnsibleConnectionFailure,
    AnsibleError,
    AnsibleUndefinedVariable,
)
from ansible.parsing.vault import AnsibleVaultError
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

try:
    # Where a value was written. Not part of Ansible's interface, so it may be gone one day.
    from ansible._internal._datatag._tags import Origin
except ImportError:
    Origin = None  # type: ignore[assignment,misc]

# Registered by the roles, not set by anyone.
NOT_SETTINGS = frozenset(
    {
        *("certificates_published", "contents_done", "docker_auth_users", "docker_auth_files"),
        *("docker_auth_rotation", "images_present", "preflight_facts"),
    }
)
# As many are shown; a thousand users without a rule make a thousand of them.
WARNINGS = 20
# Mappings and lists in which some values may be numbers.
FREE_NUMBERS = frozenset({"registry_retention", "registry_settings", "registry_environment"})
POLICY = frozenset({"registry_users", "registry_robots", "registry_groups", "registry_access"})
UNITS = "/etc/systemd/system"
CONTENTS_UNITS = [f"{UNITS}/wharfinger-contents@.service"]
CONTENTS_UNITS += [
    f"{UNITS}/wharfinger-contents@{job}.service.d/wharfinger.conf"
    for job in ("collect", "check_contents")
]
# Each timer, and the link that says it is to run.
CONTENTS_UNITS += [
    f"{folder}/wharfinger-contents@{job}.timer"
    for folder in (UNITS, f"{UNITS}/timers.target.wants")
    for job in ("retention", "collect", "check_contents")
]
PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from wharfinger import preflight  # noqa: E402  (the project need not be installed)
from wharfinger.access.validation import NAME  # noqa: E402
from wharfinger.deployment.problems import Problem, Report  # noqa: E402
from wharfinger.host.setup import zipapp  # noqa: E402
from wharfinger.inventory import CLOSED  # noqa: E402
from wharfinger.preflight import acme, acme_server, images  # noqa: E402
from wharfinger.preflight.asked import NAMES  # noqa: E402
from wharfinger.preflight.authority import PREVIOUS  # noqa: E402
from wharfinger.preflight.connection import advice  # noqa: E402
from wharfinger.preflight.controller import on_controller  # noqa: E402
from wharfinger.preflight.host import ARCHITECTURES  # noqa: E402
from wharfinger.preflight.names import hostname_problem  # noqa: E402
from wharfinger.preflight.report import mistakes  # noqa: E402
from wharfinger.preflight.variables import check_variables, usable  # noqa: E402
from wharfinger.registry import proxy  # noqa: E402


def specifications() -> dict[str, dict[str, Any]]:
    """Every role's argument options: role → variable → option, from meta/argument_specs.yml."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(PROJECT.glob("roles/*/meta/argument_specs.yml")):
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
        options = found.setdefault(path.parents[1].name, {})
        for entry in entries.values():
            options.update(entry.get("options", {}))
    return found


class ActionModule(ActionBase):
    """One observation of the host, then wharfinger.preflight.check over inventory and host.

    `scope` says for which playbook (wharfinger/preflight/scopes.py): site by default. With `role`
    only that role's variables are judged, and no host is asked. With `reach` the host is asked for
    an answer, and nothing is judged.
    """

    _VALID_ARGS = frozenset({"scope", "role", "reach"})

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Returns `facts` (below) and warnings; fails with all errors at once."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        if "role" in self._task.args:
            found = role_problems(self._task.args["role"], task_vars, self._templar.template)
            return result | ({"failed": True, "msg": mistakes(found)} if found else {})
        if self._task.args.get("reach"):
            answer = self._asked("ansible.builtin.ping", {}, task_vars)
            return answer if answer.get("failed") else result
        scope = self._task.args.get("scope", "site")
        if scope not in preflight.SCOPES:
            raise AnsibleActionFail(f"scope: {scope!r} is none of {', '.join(preflight.SCOPES)}")
        specs = specifications()
        variables, asked, unresolved = read_variables(specs, task_vars, self._templar.template)
        settings = {
            # A value of a wrong type is reported, and not worked with.
            name: usable(variables.get(name, option.get("default")), option)
            for options in specs.values()
            for name, option in options.items()
        }
        before = time.time()
        observed = self._asked(
            "wharfinger_host", {"command": "observe", "request": request(settings)}, task_vars
        )
        if observed.get("failed"):
            return observed
        host = {name: value for name, value in observed.items() if not name.startswith("_")}
        # A bcrypt hash is no password, but nothing needs it here and -v would print it.
        for name in ("verification_hash", "invocation", "actions", "changed"):
            host.pop(name, None)
        if not settings["registry_hostname"]:
            settings["registry_hostname"] = preflight.own_name(
                host, settings["registry_hosts_entry"]
            )
        base = task_vars.get("inventory_dir") or "."
        if scope == "site":
            host |= self._reachable(settings, host, base, task_vars)
        archive, archive_error = (
            self._archive(settings, base, host.get("architecture"))
            if scope == "site"
            else ({}, None)
        )
        report = preflight.check(
            variables,
            specs,
            host,
            {
                "clock": [before, time.time()],
                "base": base,
                "read": lambda path: self._read(on_controller(path, {"base": base})),
                "archive_error": archive_error,
                "roots": None,
                "closed": closed(Path(base)),
            },
            scope=scope,
            asked=asked,
            extra=load_extra_vars(self._loader),
            unresolved=unresolved,
        )
        for warning in report.warnings[:WARNINGS]:
            self._display.warning(str(warning))
        if len(report.warnings) > WARNINGS:
            self._display.warning(f"{len(report.warnings) - WARNINGS} more warnings like these")
        if report.errors:
            result.update(failed=True, msg=mistakes(report.errors))
            return result
        result.update(facts(settings, host, base), host=host, archive=archive)
        return result

    def _reachable(
        self,
        settings: dict[str, Any],
        host: dict[str, Any],
        base: str,
        task_vars: dict[str, Any],
    ) -> dict[str, Any]:
        """`registries`: image registry → "" where it answers the host, else why it does not; of
        those that this deployment pulls from. `acme`: likewise of the ACME server, where this
        deployment needs it. The host is not asked where nothing is needed."""
        pulled = images.pulled(settings, host.get("state") or {})
        wanted: dict[str, Any] = {"registries": images.registries(pulled.values())}
        if acme_server.to_ask(settings, host):
            named = settings[acme.SERVER_CA]
            # A file that cannot be read is reported; its authorities are then unknown.
            with contextlib.suppress(OSError, UnicodeDecodeError):
                ca = self._read(on_controller(named, {"base": base})).decode() if named else ""
                wanted["acme"] = {"directory": settings[acme.DIRECTORY], "ca": ca}
        if not any(wanted.values()):
            return {"registries": {}}
        answer = self._execute_module(
            module_name="wharfinger_host",
            module_args={"command": "reachable", "request": wanted},
            task_vars=task_vars,
        )
        return {name: answer[name] for name in ("registries", "acme") if name in answer}

    def _asked(
        self, module: str, arguments: dict[str, Any], task_vars: dict[str, Any]
    ) -> dict[str, Any]:
        """What the module answers. Where the host cannot be reached or may not be looked at, the
        error says what to do about it, after what was said."""
        try:
            answer: dict[str, Any] = self._execute_module(
                module_name=module, module_args=arguments, task_vars=task_vars
            )
        except AnsibleError as error:
            told = self._advice(str(error), task_vars)
            if told is None:
                raise
            unreachable = isinstance(error, AnsibleConnectionFailure)
            kind = AnsibleConnectionFailure if unreachable else AnsibleActionFail
            raise kind(told) from None
        if answer.get("failed"):
            said = (answer.get(key) for key in ("msg", "module_stderr", "module_stdout"))
            told = self._advice("\n".join(str(words) for words in said if words), task_vars)
            if told is not None:
                return {"failed": True, "msg": told}
        return answer

    @staticmethod
    def _advice(said: str, task_vars: dict[str, Any]) -> str | None:
        sources = task_vars.get("ansible_inventory_sources") or ["INVENTORY"]
        sentence = advice(said, task_vars, " -i ".join(map(str, sources)))
        if sentence is None:
            return None
        return f"the host cannot be looked at; nothing was changed.\n  - {sentence}\n{said.strip()}"

    def _read(self, path: Path) -> bytes:
        """A file of the controller, decrypted where ansible-vault encrypts it and we have its
        password. Raises OSError."""
        content = path.read_bytes()
        if not content.startswith(b"$ANSIBLE_VAULT"):
            return content
        try:
            return str(self._loader.get_text_file_contents(str(path))).encode()
        except AnsibleError:
            return content

    def _archive(
        self, settings: dict[str, Any], base: str, architecture: str | None
    ) -> tuple[dict[str, Any], str | None]:
        """The bundle of images_archive, its digests checked: what is in it, or what is wrong.

        architecture: the host's, where it is one that a bundle can be for.
        """
        named = settings["images_archive"]
        if settings["images_source"] != "archive" or not named:
            return {}, None
        path = on_controller(named, {"base": base})
        wanted = ["--architecture", architecture] if architecture in ARCHITECTURES else []
        opened = subprocess.run(
            [sys.executable, PROJECT / "images/build.py", "open", path, *wanted],
            capture_output=True,
            text=True,
            check=False,
        )
        if opened.returncode:
            return {}, opened.stderr.strip()
        return json.loads(opened.stdout), None


def read_variables(
    specs: dict[str, dict[str, Any]], task_vars: dict[str, Any], template: Callable[[Any], Any]
) -> tuple[dict[str, Any], dict[str, Any], list[Problem]]:
    """All variables' names with the resolved values of those that carry one of our prefixes,
    what the playbook is asked, and a problem for each of both that cannot be resolved."""
    prefixes = tuple(f"{role}_" for role in specs)
    options = {name: option for role in specs.values() for name, option in role.items()}
    values: dict[str, Any] = {}
    errors: list[Problem] = []
    missing: set[str] = set()
    for name in task_vars:
        if name.startswith("ansible_") or "__" in name or name in NOT_SETTINGS:
            continue
        # Of all others only the name is of interest: it may be one of ours, misspelt.
        ours = name.startswith(prefixes) or name in NAMES
        try:
            values[name] = plain(template(task_vars[name])) if ours else None
        except AnsibleError as error:
            # Left to Ansible, it would be the only mistake shown, with the lines of the
            # inventory around it: other users' passwords.
            errors.append(Problem(name, "", why_unresolved(error)))
            missing.add(name)
            continue
        where = misread_number(name, values[name], options.get(name, {})) if ours else None
        if where:
            words = (
                f"YAML reads the number in {where} as another one (a leading 0 is octal, 12:30 "
                "counts to 60, 1.10 is 1.1): write a plain number, or text in quotation marks"
            )
            errors.append(Problem(name, "", words))
            missing.add(name)
            del values[name]
    if missing & POLICY:
        # They are judged against each other, which tells nothing where one is unknown.
        values = {name: value for name, value in values.items() if name not in POLICY}
    asked = {name: values.pop(name) for name in NAMES & values.keys()}
    return values, asked, errors


def role_problems(
    role: str, task_vars: dict[str, Any], template: Callable[[Any], Any]
) -> list[Problem]:
    """What is wrong with the variables of one role."""
    specs = {role: specifications()[role]}
    variables, _, errors = read_variables(specs, task_vars, template)
    report = Report()
    check_variables(variables, specs, {}, report)
    return errors + report.errors


def misread_number(name: str, value: Any, option: dict[str, Any]) -> str | None:
    """Where a number stands that YAML reads as another one than an operator does; None without.

    Only in variables that may hold a number: in all others one is refused, whatever it is.
    """
    text = option.get("elements", option.get("type")) in ("str", "path")
    if not text and option.get("type") != "int" and name not in FREE_NUMBERS:
        return None
    if isinstance(value, dict):
        found = (misread_number(name, one, option) for one in value.values())
        return next(filter(None, found), None)
    if isinstance(value, list):
        found = (misread_number(name, one, option) for one in value)
        return next(filter(None, found), None)
    kinds = (int, float) if name in FREE_NUMBERS else int
    if isinstance(value, bool) or not isinstance(value, kinds):
        return None
    written, where = spelling(value)
    if written is None or written == str(value):
        return None
    plain_number = re.fullmatch(r"[+-]?[0-9][0-9_]*", written) and int(written) == value
    return None if plain_number and option.get("type") == "int" else where


def spelling(value: Any) -> tuple[str | None, str]:
    """A number as it is written in an inventory's YAML file, and where: the file and the line.

    (None, "") where that cannot be known, as with a value from the command line.
    """
    origin = Origin.get_tag(value) if Origin is not None else None
    if origin is None or not (origin.path and origin.line_num and origin.col_num):
        return None, ""
    try:
        line = Path(origin.path).read_text(encoding="utf-8").splitlines()[origin.line_num - 1]
    except (OSError, UnicodeDecodeError, IndexError):
        return None, ""
    word = re.match(r"[^\s,\]}#]+", line[origin.col_num - 1 :])
    # In a file that the vault encrypts, another text is in this place.
    try:
        if word is None or yaml.safe_load(word[0]) != value:
            return None, ""
    except yaml.YAMLError:
        return None, ""
    return word[0], f"{origin.path}, line {origin.line_num}"


def request(settings: dict[str, Any]) -> dict[str, Any]:
    """What `observe` is asked: no name that is none (a URL that was pasted with its credentials
    would come back in the answer, which -vvv prints)."""
    mount = settings["storage_mount"]
    names = [settings["registry_hostname"]]
    if names[0] and settings["certificates_tls_source"] == "acme":
        names += settings["registry_extra_hostnames"]
    return {
        "storage_path": settings["storage_path"],
        # Without its options, which may hold a password.
        "storage_mount": {
            "src": str(mount.get("src") or ""),
            "bind": bool({"bind", "rbind"} & set(str(mount.get("opts") or "").split(","))),
            "fstype": str(mount.get("fstype") or ""),
        }
        if mount
        else None,
        "network": {"name": "wharfinger", "subnet": settings["container_engine_network"]},
        "config_files": [
            "/etc/cron.d/wharfinger",
            "/etc/cron.d/wharfinger-contents",
            "/etc/docker/daemon.json",
            "/etc/nginx/wharfinger/wharfinger.js",
            "/etc/systemd/system/nginx.service.d/wharfinger.conf",
            "/etc/systemd/system/wharfinger-renew.service",
            "/etc/systemd/system/wharfinger-failed@.service",
            "/etc/systemd/system/wharfinger-renew.timer",
            *CONTENTS_UNITS,
            PREVIOUS,
            "/etc/wharfinger/certificates/tls_ca.crt",
            "/etc/wharfinger/contents.json",
            "/etc/wharfinger/registry/htpasswd",
            "/etc/wharfinger/registry/token_signing.pem",
            "/etc/wharfinger/token_server/auth_config.yml",
        ],
        "names": [name for name in names if hostname_problem(name) is None],
        "packages": settings["container_engine_packages"],
        "accounts": [
            name
            for variable in ("registry_users", "registry_robots")
            if isinstance(settings[variable], dict)
            for name in settings[variable]
            if isinstance(name, str) and NAME.fullmatch(name)
        ],
    }


def closed(folder: Path) -> str | None:
    """The directory that keeps generated passwords from being written, where one does."""
    for one in (folder / "credentials", folder):
        if one.exists():
            return None if os.access(one, os.W_OK | os.X_OK) else str(one)
    return None


def why_unresolved(error: AnsibleError) -> str:
    """Why a variable's value cannot be worked out. Ansible's own words may quote values."""
    # A single value that cannot be decrypted is a mere template error, told apart by its words.
    if isinstance(error, AnsibleVaultError) or "undecryptable" in str(error):
        return CLOSED
    missing = re.search(r"'([A-Za-z_][A-Za-z0-9_]*)' is undefined", str(error))
    if isinstance(error, AnsibleUndefinedVariable) and missing:
        return f"needs {missing[1]}, which is undefined: define it, or correct its name"
    return "holds an expression that fails: correct what stands between its braces"


def plain(value: Any) -> Any:
    """Ansible's lazy containers as plain ones, all resolved."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    return value


def resolves_here(resolved: list[str], own: list[str]) -> bool:
    """Whether a name's addresses lead to the host, and not by loopback, where docker speaks plain
    HTTP. An entry of our own in /etc/hosts no longer does once the host has another address."""
    found = [ipaddress.ip_address(address.partition("%")[0]) for address in resolved]
    return any(str(address) in own for address in found) and not any(
        address.is_loopback for address in found
    )


def served_auth(generations: dict[str, Any]) -> str:
    """token or htpasswd, as the containers that serve tell; "" where no registry does."""
    serving = {kind for kind, one in generations.items() if one["serving"]}
    if "registry" not in serving:
        return ""
    return "token" if "token_server" in serving else "htpasswd"


def facts(settings: dict[str, Any], host: dict[str, Any], base: str) -> dict[str, Any]:
    """What the roles need to know and nobody should work out twice.

    hostname; names (all of the certificate's); address (HOST[:PORT], as docker wants it);
    addresses_for_clients (the same for each name); url; resolves_here; host_program_is_current;
    nginx_is_ours (the toolkit installed it); owned_ports; credentials (the directory of generated
    passwords); ca (the authority's file for clients, "" where they need none); ca_key (where
    certificates_ca_offline keeps the authority's key); deployed (hostname and auth with which the
    host serves now, "" where it does not); storage_path and drain_timeout (as the inventory has
    them, for playbooks without the roles whose variables they are).
    """
    hostname = settings["registry_hostname"]
    names = list(dict.fromkeys([hostname, *settings["registry_extra_hostnames"]]))
    port = settings["registry_port"]
    suffix = "" if port == 443 else f":{port}"
    credentials = str(Path(base) / "credentials")
    public = (
        settings["certificates_tls_source"] in ("provided", "acme")
        and not settings["certificates_tls_ca"]
    )
    resolved = host["resolved"].get(hostname, [])
    installed = (host["state"].get("installed") or {}).get("packages", [])
    # Recorded before the package is installed, so that a run killed in between still knows.
    nginx_is_ours = "nginx" in installed or not host["nginx"]["present"]
    sites = host["nginx"]["servers"]
    if nginx_is_ours:
        # The welcome page is about to go.
        sites = [one for one in sites if not one["file"].endswith("/sites-enabled/default")]
    return {
        "hostname": hostname,
        "names": names,
        "address": hostname + suffix,
        "addresses_for_clients": [name + suffix for name in names],
        "url": f"https://{hostname}{suffix}",
        "resolves_here": resolves_here(resolved, host["addresses"]),
        "host_program_is_current": host["host_program"] == zipapp.digest(),
        "nginx_is_ours": nginx_is_ours,
        # Ports on which no other site listens: there ours answers unknown names too.
        "owned_ports": proxy.owned_ports(sites, [80, port]),
        "credentials": credentials,
        "ca": "" if public else f"{credentials}/{hostname}-ca.crt",
        "ca_key": f"{credentials}/{hostname}-ca.key",
        "deployed": {
            "hostname": proxy.served_name(host["nginx"]["servers"]),
            "auth": served_auth(host["state"].get("generations") or {}),
        },
        "storage_path": settings["storage_path"],
        "drain_timeout": settings["registry_drain_timeout"],
    }
