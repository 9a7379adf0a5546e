"""One test host for all tests, from never deployed to deployed, and a controller for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from .controller import Controller, Secrets
from .machine import NAME, Machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.play)


@pytest.fixture(scope="session")
def began() -> float:
    """When the first of these tests began, in epoch seconds."""
    return time.time()


@pytest.fixture(scope="session")
def secrets() -> Secrets:
    """The planted secrets, and later also those that the deployment made."""
    return Secrets()


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory, began: float) -> Iterator[Machine]:
    """A fresh Debian 13 host. Removed afterwards."""
    ready = subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    if os.geteuid() != 0 or not ready or shutil.which("mmdebstrap") is None:
        pytest.skip("needs root, a running Docker Engine and mmdebstrap")
    machine = Machine(tmp_path_factory.mktemp("machine"))
    try:
        machine.create()
        yield machine
    finally:
        machine.destroy()


@pytest.fixture(scope="session")
def controller(machine: Machine, secrets: Secrets) -> Iterator[Controller]:
    """A controller. All users may enter its directory, so a readable file in it is a leak."""
    with tempfile.TemporaryDirectory(prefix="wharfinger-play-") as name:
        Path(name).chmod(0o755)
        yield Controller(Path(name), machine.variables, secrets)


@pytest.fixture(scope="session")
def settings(secrets: Secrets) -> dict[str, Any]:
    """An inventory without mistakes, with a secret in every place that may hold one."""
    hashed = bcrypt.hashpw(secrets.plant("behind the hash").encode(), bcrypt.gensalt(10)).decode()
    return {
        "registry_hostname": NAME,
        "registry_hosts_entry": True,
        "images_source": "build",
        # Unused with an authority of our own, so neither sent to the host nor shown.
        "certificates_acme_eab_kid": "kid",
        "certificates_acme_eab_hmac_key": secrets.plant("an external account's key"),
        "registry_users": {
            "admin": {"password": secrets.plant("plain")},
            "vaulted": {"password": "{{ vault_password }}"},
            "readonly": {"password_hash": hashed},
            "someuser": {},
        },
        "registry_access": [
            {"who": "admin", "may": "all", "on": "all"},
            {"who": ["readonly", "vaulted"], "may": ["pull"], "on": "**"},
            {"who": "someuser", "may": ["pull", "push", "delete"], "on": "{user}/**"},
        ],
        "registry_settings": {
            "notifications": {
                "endpoints": [
                    {
                        "name": "audit",
                        "disabled": True,
                        "url": "http://127.0.0.1:9/",
                        "headers": {"Authorization": [secrets.plant("in registry_settings")]},
                    }
                ]
            }
        },
        "registry_environment": {
            "HTTPS_PROXY": f"http://someone:{secrets.plant('in registry_environment')}@127.0.0.1:9"
        },
    }


@pytest.fixture(scope="session")
def served(machine: Machine) -> None:
    """Docker and nginx are on the host, installed by somebody else."""
    machine.run(
        "export DEBIAN_FRONTEND=noninteractive; exec >/dev/null 2>&1; apt-get update; "
        "apt-get install --yes --no-install-recommends docker.io docker-cli nginx"
    )
