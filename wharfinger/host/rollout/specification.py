"""A container's specification: its check, its hash, and docker's request to create it (pure).

A specification is a dictionary with these keys:
- kind ("registry" | "token_server"), image (an image id), user ("uid:gid")
- entrypoint, command: lists; an empty list means the image's own
- environment: name → value
- files: name → text, the generation's own configuration directory, which never changes;
  files_target: where it is mounted; files_group: the gid that may read it
- mounts: [{source, target, read_only}]; tmpfs: target → options
- memory ("512m"), pids
- health: {command, interval, timeout, retries, start_period}, in seconds; null: no health check
- port; probe: {path, status: [...]}; null: any answer counts
- live: the startup inputs, that is, what the container reads only when it starts, by the names in
  Generations.startup_inputs; the host adds their fingerprints, which only change the hash
- stop_timeout: seconds
- algorithms: the signature algorithms of tokens that the registry trusts or the token server can
  sign with (signing_keys.py); a specification without this key is older and means RS256 alone
- proof: {issuer, service, auth}: a login that must succeed before the generation serves; null: no
  login
- readonly: true while nothing may write (maintenance.py); like `live` it is not a setting
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...deployment.fixed import HTTP_SECRET_PLACEHOLDER
from ..system.errors import HostError
from ..system.signing_keys import RS256
from ..system.state import KINDS

_UNITS = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_SECOND = 1_000_000_000
HTTP_SECRET = HTTP_SECRET_PLACEHOLDER
# The whole map in one variable: a registry 3.1.2 exits at …_READONLY_ENABLED. The other keys of
# `maintenance` stay as they are.
_READONLY = {"REGISTRY_STORAGE_MAINTENANCE_READONLY": '{"enabled": true}'}


@dataclass(frozen=True)
class Specification:
    """A checked specification. `hash` covers everything in it, `settings` all but `live` and
    `readonly`."""

    kind: str
    image: str
    user: str
    port: int
    hash: str
    settings: str
    raw: Mapping[str, Any]
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    files_target: str | None = None
    files_group: int = 0
    mounts: list[Mapping[str, Any]] = field(default_factory=list)
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    memory: int = 0
    pids: int = 0
    health: Mapping[str, Any] | None = None
    probe: Mapping[str, Any] | None = None
    proof: Mapping[str, Any] | None = None
    stop_timeout: int = 60
    algorithms: list[str] = field(default_factory=lambda: [RS256])
    readonly: bool = False

    def works_with(self, algorithm: str) -> bool:
        """Whether the container trusts, or can sign, tokens of this algorithm. A registry that
        checks passwords itself works with any algorithm, since it sees no tokens."""
        return (self.proof or {}).get("auth") == "htpasswd" or algorithm in self.algorithms

    def with_startup_inputs(self, current: Mapping[str, str]) -> Specification:
        """The same image and settings with the current fingerprints of the startup inputs. A
        missing file keeps the fingerprint that was recorded, or gets "" if none was."""
        names = self.raw.get("live") or ()
        recorded = names if isinstance(names, Mapping) else {}
        return self._replaced(
            {
                **self.raw,
                "live": {name: current.get(name) or recorded.get(name, "") for name in names},
            }
        )

    def with_readonly(self, readonly: bool) -> Specification:
        """The same image and settings, read-only or writable."""
        rest = {key: value for key, value in self.raw.items() if key != "readonly"}
        return self._replaced({**rest, "readonly": True} if readonly else rest)

    def _replaced(self, raw: Mapping[str, Any]) -> Specification:
        """A copy that differs in `live` and `readonly` only."""
        return replace(self, raw=raw, hash=_hash(raw), readonly=bool(raw.get("readonly")))


def read(raw: Mapping[str, Any]) -> Specification:
    """Checks a specification. Raises HostError that names the wrong key."""
    known = set(Specification.__dataclass_fields__) - {"hash", "settings", "raw"} | {"live"}
    unknown = sorted(set(raw) - known)
    if unknown:
        raise HostError(f"spec: unknown key {unknown[0]!r}: use {', '.join(sorted(known))}")
    if raw.get("kind") not in KINDS:
        raise HostError(f"spec: kind {raw.get('kind')!r}: write one of {', '.join(KINDS)}")
    try:
        return Specification(
            kind=raw["kind"],
            image=str(raw["image"]),
            user=str(raw["user"]),
            port=int(raw["port"]),
            hash=_hash(raw),
            settings=_hash(
                {key: value for key, value in raw.items() if key not in ("live", "readonly")}
            ),
            raw=raw,
            entrypoint=[str(word) for word in raw.get("entrypoint") or ()],
            command=[str(word) for word in raw.get("command") or ()],
            environment={key: str(value) for key, value in (raw.get("environment") or {}).items()},
            files={_file_name(key): str(text) for key, text in (raw.get("files") or {}).items()},
            files_target=raw.get("files_target"),
            files_group=int(raw.get("files_group") or 0),
            mounts=list(raw.get("mounts") or ()),
            tmpfs=dict(raw.get("tmpfs") or {}),
            memory=size(str(raw.get("memory") or "0")),
            pids=int(raw.get("pids") or 0),
            health=raw.get("health"),
            probe=raw.get("probe"),
            proof=raw.get("proof"),
            stop_timeout=int(raw.get("stop_timeout") or 60),
            algorithms=[str(algorithm) for algorithm in raw.get("algorithms") or (RS256,)],
            readonly=bool(raw.get("readonly")),
        )
    except KeyError as problem:
        raise HostError(f"spec: the key {problem} is missing") from problem
    except (TypeError, ValueError) as problem:
        raise HostError(f"spec of {raw['kind']}: {problem}") from problem


def _hash(raw: Mapping[str, Any]) -> str:
    text = json.dumps(raw, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _file_name(name: str) -> str:
    if "/" in name or name in ("", ".", ".."):
        raise ValueError(f"files: {name!r} is not a plain file name")
    return name


def size(text: str) -> int:
    """`512m` → bytes, in docker's own units (b, k, m, g; powers of 1024)."""
    match = re.fullmatch(r"([0-9]+)([bkmg]?)", text.strip().lower())
    if match is None:
        raise ValueError(
            f"memory: {text!r} is not a size: write a number and k, m or g, such as 512m"
        )
    return int(match.group(1)) * _UNITS[match.group(2)]


def definition(
    spec: Specification,
    *,
    labels: Mapping[str, str],
    network: str,
    address: str,
    files: str,
) -> dict[str, Any]:
    """The body of docker's POST /containers/create. `files`: the configuration directory's path."""
    mounts = [
        {
            "Type": "bind",
            "Source": str(mount["source"]),
            "Target": str(mount["target"]),
            # So the process cannot write, whatever its own settings say.
            "ReadOnly": spec.readonly or bool(mount.get("read_only", True)),
        }
        for mount in spec.mounts
    ]
    if spec.files_target:
        mounts.append(
            {"Type": "bind", "Source": files, "Target": spec.files_target, "ReadOnly": True}
        )
    endpoint = {"IPAMConfig": {"IPv4Address": address}}
    environment = {**spec.environment, **(_READONLY if spec.readonly else {})}
    return {
        "Image": spec.image,
        "User": spec.user,
        "Entrypoint": spec.entrypoint or None,
        "Cmd": spec.command or None,
        "Env": [f"{key}={value}" for key, value in sorted(environment.items())],
        "Labels": dict(labels),
        "Healthcheck": _health(spec.health),
        "StopTimeout": spec.stop_timeout,
        "HostConfig": {
            "NetworkMode": network,
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "RestartPolicy": {"Name": "unless-stopped"},
            "Memory": spec.memory,
            "MemorySwap": spec.memory,
            "PidsLimit": spec.pids or None,
            "Mounts": mounts,
            "Tmpfs": dict(spec.tmpfs),
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
        },
        "NetworkingConfig": {"EndpointsConfig": {network: endpoint}},
    }


def _health(health: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if health is None:
        return None
    return {
        # CMD, not CMD-SHELL: the images have no shell.
        "Test": ["CMD", *(str(word) for word in health["command"])],
        "Interval": int(float(health.get("interval", 30)) * _SECOND),
        "Timeout": int(float(health.get("timeout", 5)) * _SECOND),
        "Retries": int(health.get("retries", 3)),
        "StartPeriod": int(float(health.get("start_period", 0)) * _SECOND),
    }
