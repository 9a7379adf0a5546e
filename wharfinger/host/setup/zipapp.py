"""Packs the host program into one executable file, wharfinger-host.pyz, always with the same bytes.

It is not compressed: the bytes would depend on the version of zlib.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

_LAUNCHER = b"import sys\n\nfrom wharfinger.host.__main__ import main\n\nsys.exit(main())\n"
# The packages below `wharfinger` that the host program imports, and those of the copier of mirrors,
# which runs as a process of its own (host/mirrors/copier.py) and also needs httpx.
PACKAGES = ("deployment", "host", "oci")
COPIER = ("client", "copier")
# The earliest time in a zip file, so that the bytes do not depend on a clock.
_TIME = (1980, 1, 1, 0, 0, 0)


def build() -> bytes:
    """The zipapp's bytes: the packages of PACKAGES and COPIER, and a launcher, run by `python3`."""
    top = Path(__file__).parents[2]
    paths = [top / "__init__.py"]
    for name in (*PACKAGES, *COPIER):
        paths += (top / name).rglob("*.py")
    entries = {path.relative_to(top.parent).as_posix(): path.read_bytes() for path in paths}
    buffer = io.BytesIO()
    buffer.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted({"__main__.py": _LAUNCHER, **entries}.items()):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


def digest() -> str:
    """The SHA-256 of `build()`, as `observe` reports it of the installed file (host_program)."""
    return hashlib.sha256(build()).hexdigest()
