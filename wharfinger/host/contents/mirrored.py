"""Which repositories mirrors write into, and which platforms of an image they keep there."""

from __future__ import annotations

import json
from collections import defaultdict

from ...oci.platforms import Platforms
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import read_text


def mirrored(host: Host) -> dict[str, list[Platforms]]:
    """Repository → the platforms of each mirror that writes there, as the last deployment left
    them. Empty without mirrors. Raises HostError if the file cannot be read."""
    path = host.paths.mirror_settings
    kept: defaultdict[str, list[Platforms]] = defaultdict(list)
    try:
        for entry in json.loads(read_text(path) or "{}").get("mirrors", ()):
            kept[str(entry["to"])].append(Platforms(map(str, entry.get("platforms") or ())))
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise HostError(
            f"{path} cannot be read: run the whole site.yml, which writes it"
        ) from problem
    return dict(kept)
