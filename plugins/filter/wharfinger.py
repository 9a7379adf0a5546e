"""Filters: each a thin door to the package wharfinger."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleFilterError

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from wharfinger import access, containers, contents, docker_auth, images, values
from wharfinger.host.system.names import gateway
from wharfinger.registry import configuration as registry_configuration
from wharfinger.tokens import configuration


def docker_auth_config(
    policy: dict[str, Any], secrets: dict[str, Any], facts: dict[str, Any], settings: dict[str, Any]
) -> dict[str, Any]:
    """The whole configuration of docker_auth from registry_users, _robots, _groups and _access.

    `secrets` are what user_hashes answers: `hashes`, `previous`, `digests`. `facts` are
    preflight's: the issuer and the realm's host come from its one `hostname`.
    """
    return docker_auth.auth_config(
        access.Policy.from_inventory(
            policy["users"], policy["groups"], policy["access"], policy["robots"]
        ),
        dict(secrets["hashes"]),
        issuer=facts["hostname"],
        certificate_path=f"{containers.TOKEN_SERVER_CONFIG}/signing.pem",
        key_path=f"{containers.TOKEN_SERVER_CONFIG}/signing.pem",
        expiration=settings["lifetime"],
        addr=f":{containers.TOKEN_SERVER_PORT}",
        real_ip_header="X-Real-IP",
        server=settings["server"],
        limits={name: int(limit) for name, limit in settings["limits"].items()},
        previous=secrets["previous"],
        digests=secrets["digests"],
    )


def registry_container(image: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The registry's specification for the host program; image: the host's record of it."""
    values = plain_settings(settings)
    values["environment"] = registry_configuration.environment(values["environment"])
    return containers.registry(
        image=image["id"], made_by_toolkit=image.get("made_by_toolkit", True), **values
    )


def token_server_container(image: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The token server's specification for the host program; image: the host's record of it."""
    return containers.token_server(image=image["id"], **plain_settings(settings))


def plain_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments of a role, as plain Python."""
    values: dict[str, Any] = _plain(settings)
    return values


def registry_catalog(settings: dict[str, Any], environment: dict[str, Any]) -> dict[str, Any]:
    """The catalog's `limit`, and the regular expression `over` for larger numbers."""
    return registry_configuration.catalog(settings, environment)


def registry_config(
    facts: dict[str, Any],
    auth: str,
    settings: dict[str, Any],
    drain_timeout: int,
    metrics: bool,
    image: dict[str, Any],
    environment: dict[str, Any],
) -> dict[str, Any]:
    """The registry's whole configuration, registry_settings merged over it; image: the host's
    record of it, environment: registry_environment."""
    return registry_configuration.render(
        auth=auth,
        realm=f"{facts['url']}/auth",
        service=facts["hostname"],
        issuer=facts["hostname"],
        settings=settings,
        drain_timeout=drain_timeout,
        metrics=metrics,
        index_members=registry_configuration.checks_members(image, settings, environment),
    )


def images_plan(
    source: str,
    reachable: bool,
    settings: dict[str, Any],
    references: dict[str, str],
    wanted: dict[str, Any],
    recorded: dict[str, Any],
    pinned: dict[str, str],
) -> dict[str, Any]:
    """What to make and what to pull: wharfinger.images.plan as a dictionary."""
    return asdict(
        images.plan(
            source=source,
            reachable=reachable,
            **settings,
            references=references,
            wanted=wanted,
            recorded=recorded,
            pinned=pinned,
        )
    )


def checked_pins(text: str, name: str) -> dict[str, str]:
    """The pinned digests in the text of the file `name`: reference → digest."""
    pins: dict[str, str] = yaml.safe_load(text) or {}
    for problem in images.problems(pins):
        raise AnsibleFilterError(f"{name}: {problem}")
    return pins


def image_to_load(kind: str, files: dict[str, Any], source: str) -> dict[str, Any]:
    """The host program's request to load one image that has travelled to the host."""
    made = files[kind]
    return {
        "kind": kind,
        "path": f"/var/lib/wharfinger/images/{kind}.tar",
        # `pull` builds what no image registry has.
        "source": "archive" if source == "archive" else "build",
        **{key: made[key] for key in ("reference", "ids", "inputs")},
    }


def yaml_text(value: Any) -> str:
    """Any structure as YAML text, keys in their own order, with the line that says whose it is."""
    text: str = yaml.dump(
        _plain(value), Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False
    )
    return "# Written by Wharfinger; the next run overwrites any change made here.\n" + text


def checked_auth_config(text: str, server: str) -> str:
    """The same text, once the embedded token server's own reader has found nothing wrong."""
    if server != "embedded":
        return text
    try:
        configuration.load(text, check_keys=False)
    except configuration.ConfigurationError as error:
        raise AnsibleFilterError(f"auth_config.yml: {error}") from error
    return text


def closing_message(
    facts: dict[str, Any],
    passwords: dict[str, Any],
    sources: dict[str, str],
    inventory: dict[str, Any],
    auth: str,
    to_do: Sequence[str] = (),
) -> list[str]:
    """What the operator needs at the end: address, passwords, the CA's file, who may do what.

    passwords: what user_hashes answered; inventory: `users`, `robots`, `groups` and `access`;
    to_do: what the verification warns of.
    """
    users, robots = inventory["users"], inventory["robots"]
    lines = [
        f"Registry:        {facts['url']}",
        f"Log in with:     docker login {facts['address']}",
    ]
    generated = sorted(name for name, user in users.items() if not user)
    if generated:
        lines.append(f"Passwords:       {facts['credentials']}/NAME for {', '.join(generated)}")
    if robots:
        lines.append(f"Robots' secrets: {facts['credentials']}/NAME for {', '.join(robots)}")
    for name in passwords.get("kept", []):
        what, anew = _renewal(name, robots)
        lines.append(
            f"                 {name}: the host has a {what} that this controller does not; it "
            f"stays (a new one: {anew})"
        )
    for name in passwords.get("stale", []):
        what, anew = _renewal(name, robots)
        lines.append(
            f"                 {name}: {facts['credentials']}/{name} is not the {what} on the "
            f"host, which stays (a new one: {anew})"
        )
    for name in passwords.get("chosen", []):
        lines.append(
            f"                 {name}: its secret does not look like a generated one, so it counts "
            f"as a chosen password (a new one: {_renewal(name, robots)[1]})"
        )
    for name, one in sorted(passwords.get("previous", {}).items()):
        lines.append(
            f"                 {name}: the secret before the present one is valid until "
            f"{one['until']}"
        )
    for name in passwords.get("readmitted", []):
        what, anew = _renewal(name, robots)
        lines.append(
            f"                 {name}: is back, with the {what} in {facts['credentials']}/{name} "
            f"from before (a new one: {anew})"
        )
    for name in passwords.get("removed", []):
        lines.append(
            f"                 {name}: was removed, and {facts['credentials']}/{name} is still "
            "there: delete it, or the user, added again, has the old password"
        )
    if facts["ca"]:
        lines.append(f"Clients need:    {facts['ca']} as")
        lines.append(f"                 /etc/docker/certs.d/{facts['address']}/ca.crt")
    if sources:
        kinds = ", ".join(f"{kind} ({source})" for kind, source in sorted(sources.items()))
        lines.append(f"Images:          {kinds}")
    last = [f"Still to do:     {one}" for one in to_do]
    if auth == "htpasswd":
        return [*lines, "Who may do what: every user: everything", *last]
    policy = access.Policy.from_inventory(users, inventory["groups"], inventory["access"], robots)
    return [*lines, "Who may do what:", *access.table(policy).splitlines(), *last]


def _renewal(name: str, robots: dict[str, Any]) -> tuple[str, str]:
    """What a generated password is called, and how another one is made."""
    if name in robots:
        return "secret", f"playbooks/rotate_robots.yml -e robot={name}"
    return "password", f"-e regenerate={name}"


def contents_settings(variables: dict[str, Any]) -> dict[str, Any]:
    """What the host reads to look after the registry's contents (wharfinger.contents.settings)."""
    return contents.settings(_plain(variables))


def json_text(value: Any) -> str:
    """Any structure as JSON text, keys in their own order."""
    return json.dumps(_plain(value), indent=1) + "\n"


def contents_lines(answer: dict[str, Any], job: str, check: bool) -> list[str]:
    """What a job of the host has done, or in check mode would do (wharfinger.contents.lines)."""
    return contents.lines(job, answer, check=check)


def differing(files: list[dict[str, Any]], hashes: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of the files whose content is not what the host has; hashes: path → SHA-256 or none."""
    return [
        file
        for file in files
        if hashes[file["path"]] != hashlib.sha256(file["content"].encode()).hexdigest()
    ]


def _plain(value: Any) -> Any:
    """Ansible's tagged and lazy containers as plain ones, which PyYAML's safe dumper knows.

    A key stays what YAML made of it (a bare `on` is true): its reader knows what was meant.
    """
    if isinstance(value, dict):
        return {_plain(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    for kind in (str, bool, int, float):
        if isinstance(value, kind):
            return value if kind is bool else kind(value)
    # A date is the text that was written.
    return str(value) if isinstance(value, date) else value


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → filter."""
        return {
            # Of a variable, which `-e NAME=false` makes a text: as preflight reads it.
            "boolean": values.boolean,
            "checked_auth_config": checked_auth_config,
            "checked_pins": checked_pins,
            "gateway_address": gateway,
            "closing_message": closing_message,
            "contents_lines": contents_lines,
            "contents_settings": contents_settings,
            "contents_timers": contents.timers,
            "differing": differing,
            "docker_auth_config": docker_auth_config,
            "image_registry_host": images.registry_host,
            "image_to_load": image_to_load,
            "images_plan": images_plan,
            "json_text": json_text,
            "registry_catalog": registry_catalog,
            "registry_config": registry_config,
            "registry_container": registry_container,
            "seconds": values.duration,
            "token_server_container": token_server_container,
            "yaml_text": yaml_text,
        }
