"""The filters of roles and templates: each passes Ansible's values to a room of the package."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import yaml
from ansible.errors import AnsibleFilterError

from wharfinger import (
    access,
    backups,
    base_images,
    containers,
    contents,
    docker_auth,
    images,
    mirrors,
    values,
)
from wharfinger.closing_message import closing_message
from wharfinger.deployment import host_files
from wharfinger.deployment.fixed import TOKEN_SERVER_PORT
from wharfinger.host.system.names import gateway
from wharfinger.registry import configuration as registry_configuration
from wharfinger.token_server import config


def docker_auth_config(
    policy: dict[str, Any], secrets: dict[str, Any], facts: dict[str, Any], settings: dict[str, Any]
) -> dict[str, Any]:
    """The whole configuration of docker_auth from registry_users, _robots, _groups and _access,
    and the repositories of registry_mirrors.

    `secrets` is the answer of user_hashes: `hashes`, `previous`, `digests`. `facts` are
    preflight's: the issuer and the realm's host are its `hostname`.
    """
    return docker_auth.auth_config(
        access.read_policy(
            policy["users"],
            policy["groups"],
            policy["access"],
            policy["robots"],
            policy["mirrors"],
        ),
        dict(secrets["hashes"]),
        issuer=facts["hostname"],
        certificate_path=f"{containers.TOKEN_SERVER_CONFIG}/signing.pem",
        key_path=f"{containers.TOKEN_SERVER_CONFIG}/signing.pem",
        expiration=settings["lifetime"],
        addr=f":{TOKEN_SERVER_PORT}",
        real_ip_header="X-Real-IP",
        server=settings["server"],
        limits={name: int(limit) for name, limit in settings["limits"].items()},
        previous=secrets["previous"],
        digests=secrets["digests"],
    )


def registry_container(image: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The registry's specification for the host program; image: the host's record of it."""
    arguments = plain_settings(settings)
    arguments["environment"] = registry_configuration.environment(arguments["environment"])
    return containers.registry(
        image=image["id"], made_by_toolkit=image.get("made_by_toolkit", True), **arguments
    )


def token_server_container(image: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The token server's specification for the host program; image: the host's record of it."""
    return containers.token_server(image=image["id"], **plain_settings(settings))


def plain_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments of a role, as plain Python."""
    arguments: dict[str, Any] = values.plain(settings)
    return arguments


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
    mirrors: list[dict[str, Any]],
) -> dict[str, Any]:
    """The registry's whole configuration, registry_settings merged over it; image: the host's
    record of it, environment: registry_environment, mirrors: registry_mirrors."""
    return registry_configuration.render(
        auth=auth,
        realm=f"{facts['url']}/auth",
        service=facts["hostname"],
        issuer=facts["hostname"],
        settings=settings,
        drain_timeout=drain_timeout,
        metrics=metrics,
        index_members=registry_configuration.checks_members(image, settings, environment),
        sparse=registry_configuration.sparse(mirrors),
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
    pins: dict[Any, Any] = yaml.safe_load(text) or {}
    for problem in images.problems(pins):
        raise AnsibleFilterError(f"{name}: {problem}")
    return pins


def image_to_load(kind: str, files: dict[str, Any], source: str) -> dict[str, Any]:
    """The host program's request to load one image that has travelled to the host."""
    made = files[kind]
    return {
        "kind": kind,
        "path": f"{host_files.VAR}/images/{kind}.tar",
        # `pull` builds what no image registry has.
        "source": "archive" if source == "archive" else "build",
        **{key: made[key] for key in ("reference", "ids", "inputs")},
    }


def yaml_text(value: Any) -> str:
    """Any structure as YAML text, keys in their own order, with the line that says whose it is."""
    text: str = yaml.dump(
        values.plain(value), Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False
    )
    return "# Written by Wharfinger; the next run overwrites any change made here.\n" + text


def checked_auth_config(text: str, server: str) -> str:
    """The same text, once the embedded token server's own reader has found nothing wrong."""
    if server != "embedded":
        return text
    try:
        config.load(text, check_keys=False)
    except config.ConfigurationError as error:
        raise AnsibleFilterError(f"auth_config.yml: {error}") from error
    return text


def backup_settings(variables: dict[str, Any]) -> dict[str, Any]:
    """What the host reads to back itself up (wharfinger.backups.settings)."""
    return backups.settings(values.plain(variables))


def mirror_settings(entries: list[Any], address: str) -> dict[str, Any]:
    """What the host reads to copy mirrors (wharfinger/host/mirrors/settings.py)."""
    rows, _ = mirrors.examine(values.plain(entries))
    return {"registry": str(address), "mirrors": [mirror.settings() for mirror in rows]}


def base_images_settings(variables: dict[str, Any]) -> dict[str, Any]:
    """What the host reads to make base images (wharfinger.base_images.settings)."""
    return base_images.settings(values.plain(variables))


def contents_settings(variables: dict[str, Any]) -> dict[str, Any]:
    """What the host reads to look after the registry's contents (wharfinger.contents.settings)."""
    return contents.settings(values.plain(variables))


def json_text(value: Any) -> str:
    """Any structure as JSON text, keys in their own order."""
    return json.dumps(values.plain(value), indent=1) + "\n"


def contents_lines(answer: dict[str, Any], job: str, check: bool) -> list[str]:
    """What a job of the host has done, or in check mode would do (wharfinger.contents.lines)."""
    return contents.lines(job, answer, check=check)


#: Name → filter.
FILTERS: Mapping[str, Callable[..., Any]] = {
    # Of a variable, which `-e NAME=false` makes a text: as preflight reads it.
    "boolean": values.boolean,
    "backup_settings": backup_settings,
    "base_images_settings": base_images_settings,
    "checked_auth_config": checked_auth_config,
    "checked_pins": checked_pins,
    "gateway_address": gateway,
    "closing_message": closing_message,
    "contents_lines": contents_lines,
    "contents_settings": contents_settings,
    "contents_timers": contents.timers,
    "docker_auth_config": docker_auth_config,
    "image_registry_host": images.registry_host,
    "image_to_load": image_to_load,
    "images_plan": images_plan,
    "json_text": json_text,
    "mirror_settings": mirror_settings,
    "registry_catalog": registry_catalog,
    "registry_config": registry_config,
    "registry_container": registry_container,
    "seconds": values.duration,
    "token_server_container": token_server_container,
    "yaml_text": yaml_text,
}
