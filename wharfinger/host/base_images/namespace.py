"""Runs a program as root of a user namespace: on the host it is an account without rights.

The package scripts of a base image run as root in a directory of the host. In the namespace this
root is an account that owns nothing on the host. All that the program mounts and starts ends with
it, also where it is killed. docs/decisions/base_images.md says why mmdebstrap's own mode for this
is not used.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ...deployment.fixed import BASE_IMAGE_IDS
from ..system.errors import HostError

_COUNT = 65536
# Seconds until the kernel has made the namespace.
_PATIENCE = 30.0
# It is killed if this process is, also where no service manager does that.
_ENDING = ("setpriv", "--pdeathsig", "KILL", "--", "unshare")
_OWN = ("--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--propagation=private")


def give(directory: Path) -> None:
    """Makes the namespace's root the owner of a directory."""
    os.chown(directory, BASE_IMAGE_IDS, BASE_IMAGE_IDS)


@contextmanager
def started(
    command: Sequence[str], work: Path, environment: Mapping[str, str], errors: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Starts the command in a namespace of its own; its output is `stdout`, its errors go to the
    file. It is killed at the end of the body, if it has not ended. Raises HostError if this host's
    kernel makes no user namespaces."""
    with _namespace(work) as space, errors.open("wb") as stream:
        process = subprocess.Popen(
            ["nsenter", f"--user={space}", "--", *_ENDING, *_OWN, "--mount-proc", "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stream,
            cwd=work,
            env=dict(environment),
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@contextmanager
def _namespace(work: Path) -> Iterator[Path]:
    """The path of a user namespace; the account outside owns `work`."""
    give(work)
    # It ends with this process, because its input does.
    holder = subprocess.Popen(
        ["unshare", "--user", "--", "cat"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    space = Path(f"/proc/{holder.pid}/ns/user")
    own = Path("/proc/self/ns/user").readlink()
    try:
        deadline = time.monotonic() + _PATIENCE
        while holder.poll() is None and space.readlink() == own:
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
        if holder.poll() is not None:
            said = b"" if holder.stderr is None else holder.stderr.read()
            raise HostError(
                "the kernel of this host makes no user namespace, in which base images are made: "
                f"{said.decode('utf-8', 'replace').strip()}: see docs/base-images.md, What it needs"
            )
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{holder.pid}/{name}").write_text(f"0 {BASE_IMAGE_IDS} {_COUNT}\n")
        yield space
    finally:
        holder.kill()
        holder.communicate()
