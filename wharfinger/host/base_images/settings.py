"""What the host must know to make base images (base_images.json, as role `base_images` writes)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..system.context import Host
from ..system.errors import HostError
from ..system.files import read_text


@dataclass(frozen=True)
class Row:
    """A row of registry_base_images. mirror and security: the addresses of Debian's archive and of
    its security updates."""

    to: str
    tag: str
    suite: str
    packages: tuple[str, ...]
    mirror: str
    security: str

    @property
    def name(self) -> str:
        return f"{self.to}:{self.tag}"

    @property
    def sources(self) -> tuple[tuple[str, str], ...]:
        """The address and suite of each part of the archive that the image is made from."""
        return (
            (self.mirror, self.suite),
            (self.mirror, f"{self.suite}-updates"),
            (self.security, f"{self.suite}-security"),
        )


@dataclass(frozen=True)
class Settings:
    """hostname and port: the registry's own."""

    hostname: str
    port: int
    rows: tuple[Row, ...]


def load(host: Host) -> Settings:
    """Those of the last deployment. Raises HostError if there are none."""
    path = host.paths.base_images_settings
    text = read_text(path)
    if text is None:
        raise HostError(
            f"{path} is not there: set registry_base_images in the inventory and run site.yml"
        )
    try:
        raw = json.loads(text)
        return Settings(
            str(raw["hostname"]),
            int(raw["port"]),
            tuple(map(_row, raw["images"])),
        )
    except (ValueError, TypeError, KeyError) as problem:
        raise HostError(f"{path} cannot be read: run site.yml, which writes it") from problem


def _row(raw: Mapping[str, Any]) -> Row:
    texts = {key: str(raw[key]) for key in ("to", "tag", "suite", "mirror", "security")}
    return Row(packages=tuple(map(str, raw["packages"])), **texts)
