"""The settings with which a host renews its certificates by itself, without a controller.

Every deployment writes them; the timer reads them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..system.context import Host
from ..system.errors import HostError
from ..system.files import read_text, write_atomically


@dataclass(frozen=True)
class Settings:
    """As in the inventory, with days and seconds as numbers; `raw` is all of it as stored."""

    hostname: str
    names: list[str]
    raw: Mapping[str, Any] = field(repr=False)
    port: int = 443
    auth: str = "token"
    token_server: str = "embedded"
    trusted_by_docker: list[str] = field(default_factory=list)
    tls_source: str = "own_ca"
    ca_days: int = 3650
    tls_days: int = 90
    signing_days: int = 365
    renew_days: int = 30
    ca_offline: bool = False
    token_lifetime: float = 300
    drain_timeout: float = 600
    alert_command: str = field(default="", repr=False)

    @property
    def has_own_ca(self) -> bool:
        """Whether the host needs its own authority; with ACME, until a certificate has come."""
        return self.tls_source in ("own_ca", "acme")


def read(raw: Mapping[str, Any]) -> Settings:
    """Raises HostError naming the key that is missing."""
    known = set(Settings.__dataclass_fields__) - {"raw"}
    values = {key: value for key, value in raw.items() if key in known}
    values["names"] = [str(name) for name in raw.get("names") or [raw.get("hostname")]]
    for key in ("port", "ca_days", "tls_days", "signing_days", "renew_days"):
        if key in values:
            values[key] = int(values[key])
    for key in ("token_lifetime", "drain_timeout"):
        if key in values:
            values[key] = float(values[key])
    try:
        return Settings(raw=raw, **values)
    except TypeError as problem:
        raise HostError(f"certificates: the settings are incomplete ({problem})") from problem


def load(host: Host) -> Settings:
    """The settings of the last deployment. Raises HostError if there was none."""
    path = host.paths.certificate_settings
    text = read_text(path)
    if text is None:
        raise HostError(f"{path} is not there: run the whole site.yml once, which writes it")
    try:
        return read(json.loads(text))
    except (ValueError, AttributeError) as problem:
        raise HostError(f"{path} cannot be read: run the whole site.yml, which writes it") from (
            problem
        )


def store(host: Host, settings: Settings, check: bool) -> list[str]:
    """Stores them for the timer; only root can read them, since they may contain secrets."""
    path = host.paths.certificate_settings
    text = json.dumps(settings.raw, indent=1, sort_keys=True) + "\n"
    if read_text(path) == text:
        return []
    if not check:
        write_atomically(path, text.encode(), 0o600)
    return [f"{path}: written"]
