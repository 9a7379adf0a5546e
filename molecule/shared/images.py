#!/usr/bin/env python3
"""Makes the test hosts' images: `images.py [NAME…]`; without a name, all but the optional ones.

Each image is a minimal Debian or Ubuntu, made by mmdebstrap, like a fresh machine: systemd, SSH,
Python, and the user `operator`, who may use sudo. Root file systems are kept under
$XDG_CACHE_HOME/wharfinger/test-hosts, named by the hash of their recipe, and imported into Docker
as wharfinger-test/NAME:HASH and wharfinger-test/NAME:latest.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

PACKAGES = (
    "ca-certificates dbus iproute2 iptables openssh-server procps python3 sudo systemd systemd-sysv"
)
UBUNTU = "http://archive.ubuntu.com/ubuntu"
# Debian has no package with Ubuntu's archive keys. This is Ubuntu's own package, with its hash.
UBUNTU_KEYRING = (
    f"{UBUNTU}/pool/main/u/ubuntu-keyring/ubuntu-keyring_2023.11.28.1_all.deb",
    "36de43b15853ccae0028e9a767613770c704833f82586f28eb262f0311adb8a8",
)

# Turns the bare system into a host that an operator reaches by SSH.
SETUP = r"""set -eu
chroot "$1" useradd --gid operator --create-home --shell /bin/bash operator
echo 'operator ALL=(ALL) NOPASSWD: ALL' >"$1/etc/sudoers.d/operator"
chmod 0440 "$1/etc/sudoers.d/operator"
# Each host makes its own keys at its start; the run's public key is mounted at the second path.
rm -f "$1"/etc/ssh/ssh_host_*
units="$1/etc/systemd/system"
mkdir -p "$units/ssh.service.d" "$1/etc/ssh/sshd_config.d"
printf '[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\n' \
  >"$units/ssh.service.d/host-keys.conf"
printf 'AuthorizedKeysFile /etc/ssh/test_run.pub\nUseDNS no\n' \
  >"$1/etc/ssh/sshd_config.d/test.conf"
# Ubuntu starts SSH by its socket, which names another service file.
rm -f "$units/sockets.target.wants/ssh.socket"
ln -sf /usr/lib/systemd/system/ssh.service "$units/multi-user.target.wants/ssh.service"
# A container has no kernel modules, consoles or apt timers to look after.
for unit in apt-daily.timer apt-daily-upgrade.timer systemd-resolved.service; do
  ln -sf /dev/null "$units/$unit"
done
rm -f "$1/etc/hostname" "$1/etc/resolv.conf"
"""


@dataclass(frozen=True)
class Recipe:
    """What one image is made from. Its hash is part of the image's name."""

    suite: str
    packages: str = PACKAGES
    components: str = "main"
    mirror: str = ""
    setup: str = SETUP

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that change with anything in the recipe."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


RECIPES = {
    "debian13": Recipe("trixie"),
    "debian12": Recipe("bookworm"),
    "ubuntu2404": Recipe(
        "noble", f"{PACKAGES} apt ubuntu-keyring", components="main,universe", mirror=UBUNTU
    ),
    # A machine that uses the registry: Docker is already installed.
    "client": Recipe("trixie", packages=f"{PACKAGES} docker.io docker-cli"),
    # Machines with the usual tools of a registry's users, for tests/client.
    "tools13": Recipe(
        "trixie",
        f"{PACKAGES} docker.io docker-cli docker-buildx buildah podman skopeo cosign oras",
    ),
    "tools12": Recipe("bookworm", f"{PACKAGES} docker.io buildah podman skopeo"),
}
# Made only when named, so that no scenario depends on another distribution's mirror or waits for an
# image that it does not use.
OPTIONAL = {"ubuntu2404", "tools13", "tools12"}


def cache() -> Path:
    """The folder that keeps root file systems between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "wharfinger" / "test-hosts"


def ubuntu_keyring(directory: Path) -> Path:
    """Ubuntu's archive keys, downloaded and checked, as a file for mmdebstrap's --keyring."""
    url, wanted = UBUNTU_KEYRING
    package = directory / "ubuntu-keyring.deb"
    with urllib.request.urlopen(url, timeout=60) as answer:
        package.write_bytes(answer.read())
    sha256 = hashlib.sha256(package.read_bytes()).hexdigest()
    if sha256 != wanted:
        raise SystemExit(f"{url}: its SHA-256 is {sha256}, not {wanted}")
    subprocess.run(["dpkg-deb", "--extract", package, directory], check=True)
    return directory / "usr/share/keyrings/ubuntu-archive-keyring.gpg"


def bootstrap(recipe: Recipe, target: Path) -> None:
    """Writes the root file system as a tar, renamed last, so that a killed run leaves none."""
    with tempfile.TemporaryDirectory() as keys, tempfile.TemporaryDirectory(dir=cache()) as work:
        # apt reads the keys as its own user.
        Path(keys).chmod(0o755)
        setup = Path(work) / "setup"
        setup.write_text(recipe.setup)
        command = ["mmdebstrap", "--quiet", "--variant=minbase"]
        command += [f"--include={recipe.packages.replace(' ', ',')}"]
        command += [f"--components={recipe.components}", f'--customize-hook=sh {setup} "$1"']
        if recipe.mirror:
            command += [f"--keyring={ubuntu_keyring(Path(keys))}"]
        partial = Path(work) / "root.tar"
        command += [recipe.suite, str(partial)]
        subprocess.run([*command, recipe.mirror] if recipe.mirror else command, check=True)
        partial.rename(target)


def make(name: str) -> str:
    """Ensures that Docker has the image, and returns its name."""
    recipe = RECIPES[name]
    image = f"wharfinger-test/{name}:{recipe.key}"
    present = subprocess.run(["docker", "image", "inspect", image], capture_output=True)
    if present.returncode != 0:
        archive = cache() / f"{name}-{recipe.key}.tar"
        if not archive.exists():
            bootstrap(recipe, archive)
        subprocess.run(
            ["docker", "import", "--change", 'CMD ["/lib/systemd/systemd"]', archive, image],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    subprocess.run(["docker", "tag", image, f"wharfinger-test/{name}:latest"], check=True)
    return image


def main(names: list[str]) -> None:
    """Makes the named images, several at once, because most of the time is waiting for mirrors and
    for dpkg, which uses one core. A lock admits one process at a time."""
    if shutil.which("mmdebstrap") is None:
        raise SystemExit("mmdebstrap is not installed: apt install mmdebstrap")
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        names = names or [name for name in RECIPES if name not in OPTIONAL]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for name, image in zip(names, pool.map(make, names), strict=True):
                print(name, image, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
