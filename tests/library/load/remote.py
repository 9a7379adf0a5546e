"""Real docker or containerd on this machine, repeatedly: login, push, pull by tag and by digest.

Runs on a client machine as `python3 -c`, with only the standard library. The first line of
standard input is JSON: tool (docker or containerd), registry, repository, user, password, and
pause, the seconds between two rounds. Each operation is one line of JSON on standard output. The
program ends at the end of its input.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

stopping = threading.Event()


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def run(*command: str, text: str | None = None, password: str | None = None) -> str:
    """Runs a command; returns its output. `password` is typed at its prompt, on a terminal."""
    terminal: tuple[int, ...] = () if password is None else pty.openpty()
    if password is not None:
        os.write(terminal[0], (password + "\n").encode())
    try:
        done = subprocess.run(
            command,
            input=text,
            stdin=terminal[1] if terminal else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
    finally:
        for end in terminal:
            os.close(end)
    if done.returncode != 0:
        # The lines above the last one are progress bars.
        last = (done.stdout.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise RuntimeError(f"{command[0]} {command[-1]}: {last[-4000:]}")
    return done.stdout


def operation(kind: str, action: Callable[..., Any], *arguments: Any) -> tuple[bool, Any]:
    """Runs an action and reports how it went; returns whether it succeeded, and its answer."""
    start, began, answer, error = time.time(), time.monotonic(), None, ""
    try:
        answer = action(*arguments)
    except Exception as problem:
        error = f"{type(problem).__name__}: {problem}"
    seconds = time.monotonic() - began
    print(
        json.dumps({"kind": kind, "start": start, "seconds": seconds, "error": error}), flush=True
    )
    return not error, answer


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    archive.addfile(header, io.BytesIO(content))


def new_image(path: Path, reference: str) -> str:
    """A tar that both docker and containerd can read, with two layers that no registry has. Returns
    the manifest's digest."""
    layers = []
    for size in (40_000, 200_000):
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as archive:
            add(archive, f"content-{size}", os.urandom(size))
        layers.append(layer.getvalue())
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
            "history": [{"created": "1970-01-01T00:00:00Z"} for _ in layers],
        }
    ).encode()
    kind = "application/vnd.oci.image."

    def descriptor(media_type: str, content: bytes) -> dict[str, Any]:
        return {"mediaType": kind + media_type, "digest": digest(content), "size": len(content)}

    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": kind + "manifest.v1+json",
            "config": descriptor("config.v1+json", config),
            "layers": [descriptor("layer.v1.tar", layer) for layer in layers],
        }
    ).encode()
    index = {
        "schemaVersion": 2,
        "manifests": [
            descriptor("manifest.v1+json", manifest)
            | {
                "platform": {"architecture": "amd64", "os": "linux"},
                "annotations": {"io.containerd.image.name": reference},
            }
        ],
    }

    def blob(content: bytes) -> str:
        return "blobs/" + digest(content).replace(":", "/")

    classic = [
        {
            "Config": blob(config),
            "RepoTags": [reference],
            "Layers": [blob(layer) for layer in layers],
        }
    ]
    with tarfile.open(path, "w") as archive:
        add(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        add(archive, "index.json", json.dumps(index).encode())
        add(archive, "manifest.json", json.dumps(classic).encode())
        for content in (manifest, config, *layers):
            add(archive, blob(content), content)
    return digest(manifest)


class Docker:
    """The docker command and its engine, which keeps an image only until it has been pushed."""

    def __init__(self, settings: dict[str, Any], folder: Path) -> None:
        self.settings = settings
        self.options = ("docker", "--config", str(folder))
        self.name = settings["registry"] + "/" + settings["repository"]

    def login(self) -> None:
        run(
            *self.options,
            "login",
            "--username",
            self.settings["user"],
            "--password-stdin",
            self.settings["registry"],
            text=self.settings["password"],
        )

    def load(self, path: Path, reference: str) -> str:
        run("docker", "load", "--input", str(path))
        return self.identity(reference)

    def identity(self, reference: str) -> str:
        return run("docker", "image", "inspect", "--format", "{{.Id}}", reference).strip()

    def push(self, reference: str) -> str:
        said = run(*self.options, "push", reference)
        digest = re.search(r"digest: (sha256:[0-9a-f]{64})", said)
        if digest is None:
            raise RuntimeError(f"docker push did not say what it pushed: {said[-500:]}")
        return digest[1]

    def pull(self, reference: str, identity: str) -> None:
        run(*self.options, "pull", "--quiet", reference)
        present = self.identity(reference)
        if present != identity:
            raise RuntimeError(f"{reference} is {present} instead of {identity}")

    def remove(self, identity: str) -> None:
        # Without the image, the engine has to fetch every layer again.
        run("docker", "image", "rm", "--force", identity)

    def round(self, path: Path, reference: str) -> None:
        operation("login", self.login)
        new_image(path, reference)
        identity = self.load(path, reference)
        pushed, name = operation("push", self.push, reference)
        self.remove(identity)
        if pushed:
            for kind, wanted in (("tag", reference), ("digest", f"{self.name}@{name}")):
                if operation(f"pull by {kind}", self.pull, wanted, identity)[0]:
                    self.remove(identity)


class Containerd:
    """containerd by its own command, in a namespace of its own."""

    def __init__(self, settings: dict[str, Any], folder: Path) -> None:
        self.settings = settings
        self.name = settings["registry"] + "/" + settings["repository"]
        authority = f"/etc/docker/certs.d/{settings['registry']}/ca.crt"
        self.remote = ("--tlscacert", authority, "--user", settings["user"])

    def ctr(self, *command: str, password: str | None = None) -> str:
        return run("ctr", "--namespace", "load", *command, password=password)

    def push(self, reference: str) -> None:
        self.ctr("images", "push", *self.remote, reference, password=self.settings["password"])

    def pull(self, reference: str, wanted: str) -> None:
        # Content only: unpacking has nothing to do with the registry.
        self.ctr("content", "fetch", *self.remote, reference, password=self.settings["password"])
        for line in self.ctr("images", "ls").splitlines():
            fields = line.split()
            if fields[0] == reference:
                if wanted not in fields:
                    raise RuntimeError(f"{reference} is not {wanted}: {line}")
                return
        raise RuntimeError(f"{reference} was not pulled")

    def remove(self, reference: str) -> None:
        self.ctr("images", "rm", "--sync", reference)

    def round(self, path: Path, reference: str) -> None:
        wanted = new_image(path, reference)
        self.ctr("images", "import", "--no-unpack", str(path))
        pushed, _ = operation("push", self.push, reference)
        self.remove(reference)
        if pushed:
            for kind, name in (("tag", reference), ("digest", f"{self.name}@{wanted}")):
                if operation(f"pull by {kind}", self.pull, name, wanted)[0]:
                    self.remove(name)


def wait_for_the_end() -> None:
    sys.stdin.read()
    stopping.set()


def main() -> None:
    settings = json.loads(sys.stdin.readline())
    threading.Thread(target=wait_for_the_end, daemon=True).start()
    folder = Path(tempfile.mkdtemp(prefix="load-"))
    try:
        kind = Docker if settings["tool"] == "docker" else Containerd
        client = kind(settings, folder)
        number = 0
        while not stopping.wait(settings["pause"]):
            number += 1
            client.round(folder / "image.tar", f"{client.name}:t{number % 8}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


main()
