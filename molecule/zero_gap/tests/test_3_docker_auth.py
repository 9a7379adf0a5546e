"""docker_auth's definition in the embedded token server's place, and back: no client notices.

The program of docker_auth is not available here. Another image takes its place and reads the same
rendered file from the same command line; everything else is as with the real image.
"""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
import pytest

from load import Load
from load.site import Site
from support import hosts

ROTATE = "playbooks/rotate_certificates.yml"
# docker_auth's command line has glog's options, and then the file.
PROGRAM = """
import sys
from wharfinger.token_server.cli import main
sys.exit(main(["serve", sys.argv[-1]]))
"""
# Runs on the host, after a line that sets PASSWORD for an account that may push.
MAKE = """
import subprocess, sys

reference, image, entrypoint = sys.argv[1:]

def docker(*words, **more):
    subprocess.run(["docker", *words], check=True, stdout=subprocess.DEVNULL, text=True, **more)

changes = ["--change", f"ENTRYPOINT {entrypoint}", "--change", "CMD []"]
docker("create", "--name", "stand-in", image)
docker("commit", *changes, "stand-in", reference)
docker("rm", "stand-in")
address = reference.partition("/")[0]
docker("login", "-u", "admin", "--password-stdin", address, input=PASSWORD)
docker("push", reference)
docker("logout", address)
docker("rmi", reference)
"""


@pytest.fixture(scope="module", autouse=True)
def everybody(loaded: Load) -> None:
    """The pooled clients. At first, nothing changes."""
    loaded.phase("steady")
    time.sleep(5)


def algorithm(site: Site) -> str:
    """The algorithm that signs new tokens."""
    token = site.registry().token(hosts.account("admin"), "repository:load/stable:pull")
    return str(jwt.get_unverified_header(token)["alg"])


def arguments(site: Site) -> list[str]:
    """The command line of the token server that serves."""
    words: list[str] = site.serving("token_server")["Args"]
    return words


def test_to_docker_auth_the_key_is_rotated_first(site: Site, loaded: Load) -> None:
    assert algorithm(site) == "ES256"
    reference = f"{hosts.variables('debian13')['ansible_host']}/public/docker_auth:stand-in"
    entrypoint = json.dumps(["/usr/bin/python3.13", "-c", PROGRAM])
    image = str(site.serving("token_server")["Image"])
    make = f"PASSWORD = {hosts.account('admin').password!r}\n{MAKE}"
    site.script(make, reference, image, entrypoint)
    settings: dict[str, Any] = {"docker_auth_server": "cesanta", "images_docker_auth": reference}
    site.operator.settings |= settings
    site.change("to docker_auth", "site.yml")
    assert algorithm(site) == "RS256"
    assert "--logtostderr" in arguments(site)
    site.tidy(rotating=True)


def test_and_back_to_the_embedded_one(site: Site, loaded: Load) -> None:
    for name in ("docker_auth_server", "images_docker_auth"):
        del site.operator.settings[name]
    site.change("from docker_auth", "site.yml")
    assert "--logtostderr" not in arguments(site)
    assert algorithm(site) == "RS256"
    site.change("the end of the rotation to RSA", ROTATE)
    site.change("rotate to ES256", ROTATE, rotate="signing", rotate_wait=False)
    assert algorithm(site) == "ES256"
    loaded.stop()
    site.tidy(rotating=True)
