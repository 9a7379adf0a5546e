"""Machines with the builders and tools of a registry's users, as containers on this machine.

`tools13` and `tools12` have Debian's own tools. Those that Debian lacks are compiled from the
module in tools/, which go.sum locks, and cached by its hash.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from images import toolbox
from images.build import default_cache
from images.registry import recipe
from local.registries import Served
from support import networks
from support.host_containers import RIGHTS, SYSTEMD

PROJECT = Path(__file__).resolve().parents[2]
TOOLS = Path(__file__).parent / "tools"
# Volumes, so that no overlay is on top of another.
OPTIONS = (
    *(*RIGHTS, *SYSTEMD),
    *("--volume=/var/lib/containerd", "--volume=/var/lib/containers"),
)
# What every machine has: trust, a Docker that keeps images in containerd's store where it can, and
# something to build: two layers of its own and one that all machines share.
PREPARE = """
update-ca-certificates >/dev/null 2>&1
for folder in docker containers; do
  mkdir -p /etc/$folder/certs.d/$R
  cp /usr/local/share/ca-certificates/registry.crt /etc/$folder/certs.d/$R/ca.crt
done
echo '{"features": {"containerd-snapshotter": true}}' > /etc/docker/daemon.json
cat > /etc/containers/storage.conf <<'end'
[storage]
driver = "vfs"
runroot = "/run/storage"
graphroot = "/var/lib/containers"
end
systemctl restart docker
mkdir -p /w && cd /w
head -c 200000 /dev/urandom > one
head -c 100000 /dev/urandom > two
cat > Dockerfile <<'end'
FROM scratch AS first
COPY one /one
FROM first AS second
COPY two /two
FROM scratch
COPY --from=second /two /two
CMD ["/two"]
end
"""


def docker(*words: str, **more: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    assert more.get("may_fail") or done.returncode == 0, done.stderr
    return done


@dataclass(frozen=True)
class Machine:
    """A running machine. `environment`: variables for each script."""

    container: str
    environment: Mapping[str, str]

    def run(self, script: str, **more: str) -> str:
        """Runs a bash script, each command of which must succeed. Returns both of its outputs."""
        code, text = self.tried(script, **more)
        assert code == 0, f"{self.container}: exit code {code}:\n{script}\n{text[-4000:]}"
        return text

    def tried(self, script: str, **more: str) -> tuple[int, str]:
        """The same for a script that may fail. Returns its exit code and output."""
        variables = {**self.environment, **more}
        options = [f"--env={name}={value}" for name, value in variables.items()]
        done = subprocess.run(
            [
                *("docker", "exec", *options, self.container, "bash", "-c"),
                f"exec 2>&1; set -euo pipefail; mkdir -p /w; cd /w; {script}",
            ],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


def compiled() -> Path:
    """The folder with the compiled tools."""
    sources = [TOOLS / "go.mod", TOOLS / "go.sum", recipe.TOOLCHAIN]
    key = toolbox.hash_sources(sources, architecture="amd64")[:12]
    folder = default_cache().parent / "tools" / key
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as name:
            work = Path(name)
            doing = "compiling the tools of tests/client"
            go = recipe._toolchain(work, doing)
            environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"}
            environment |= {"CGO_ENABLED": "0", "GOSUMDB": "off", "GOWORK": "off"}
            command = [go, "build", "-trimpath", "-ldflags", "-s -w", "-o", f"{work}/made/", "tool"]
            toolbox.run(command, doing=doing, cwd=TOOLS, environment=environment)
            (work / "made").rename(folder)
    return folder


@contextmanager
def network() -> Iterator[tuple[str, str]]:
    """A network for this run, and this machine's address in it."""
    name = f"wharfinger-tools-{networks.CLONE}"
    for container in docker("ps", "--all", "--quiet", f"--filter=network={name}").stdout.split():
        docker("rm", "--force", "--volumes", container)
    subnet = networks.create(name)
    try:
        yield name, str(next(ip_network(subnet).hosts()))
    finally:
        docker("network", "rm", name, may_fail=True)


@contextmanager
def machine(image: str, network_name: str, served: Served) -> Iterator[Machine]:
    """A machine of this image that trusts the registry."""
    command = [sys.executable, "molecule/shared/images.py", image]
    subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
    container = f"{network_name}-{image}"
    started = ["run", "--detach", "--pull=never", f"--name={container}"]
    started += [f"--network={network_name}", *OPTIONS, f"wharfinger-test/{image}:latest"]
    docker(*started)
    try:
        docker("cp", str(served.ca), f"{container}:/usr/local/share/ca-certificates/registry.crt")
        for tool in sorted(compiled().iterdir()) if image == "tools13" else ():
            docker("cp", str(tool), f"{container}:/usr/local/bin/{tool.name}")
        machine = Machine(container, {"R": served.name, "HOME": "/root", "COSIGN_PASSWORD": ""})
        deadline = time.monotonic() + 60
        while docker("exec", container, "docker", "info", may_fail=True).returncode != 0:
            assert time.monotonic() < deadline, f"{container}: docker does not come up"
            time.sleep(0.5)
        machine.run(PREPARE)
        yield machine
    finally:
        docker("rm", "--force", "--volumes", container, may_fail=True)


def missing() -> str:
    """What this machine lacks for these tests, in words; "" if nothing."""
    if os.geteuid() != 0 or docker("info", may_fail=True).returncode != 0:
        return "needs root and a running Docker Engine"
    return "" if shutil.which("mmdebstrap") else "needs mmdebstrap"
