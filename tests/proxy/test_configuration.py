"""The registry itself reads the rendered configuration, and our list of keys matches its source."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import Encoding

from local.site import PROJECT
from local.stack import NAME, Signer
from support.networks import free_ports
from wharfinger.registry import configuration

# An example of every option that an operator may set.
EVERYTHING: dict[str, Any] = {
    "log": {
        "level": "debug",
        "formatter": "text",
        "reportcaller": True,
        "accesslog": {"disabled": False},
        "fields": {"site": "berlin", "number": 3},
        "hooks": [
            {
                "type": "mail",
                "disabled": True,
                "levels": ["panic"],
                "options": {
                    "smtp": {
                        "addr": "mail.example.com:25",
                        "username": "u",
                        "password": "p",
                        "insecure": False,
                    },
                    "from": "a@example.com",
                    "to": ["b@example.com"],
                },
            }
        ],
    },
    "storage": {
        "filesystem": {"maxthreads": 50},
        "tag": {"concurrencylimit": 8},
        "maintenance": {"uploadpurging": {"age": "24h", "dryrun": True}},
    },
    "http": {"headers": {"Strict-Transport-Security": ["max-age=1"]}},
    "notifications": {
        "events": {"includereferences": True},
        "endpoints": [
            {
                "name": "alerts",
                "disabled": True,
                "url": "http://172.31.255.241:9000/",
                "headers": {"Authorization": ["Bearer x"]},
                "timeout": "500ms",
                "threshold": 5,
                "backoff": "1.5s",
                "ignoredmediatypes": ["application/octet-stream"],
                "ignore": {"mediatypes": ["application/octet-stream"], "actions": ["pull"]},
            }
        ],
    },
    "health": {
        "storagedriver": {"interval": "5s", "threshold": 2},
        "file": [{"file": "/tmp/down", "interval": "10s"}],
        "http": [
            {
                "uri": "http://127.0.0.1:1/",
                "headers": {"X-A": ["b"]},
                "statuscode": 200,
                "timeout": "1s",
                "interval": "1h",
                "threshold": 3,
            }
        ],
        "tcp": [{"addr": "127.0.0.1:1", "timeout": "1s", "interval": "1h", "threshold": 3}],
    },
    "catalog": {"maxentries": 500},
    "tags": {"maxtags": 500},
    "validation": {
        "disabled": False,
        "manifests": {
            "urls": {"allow": ["^https://example\\.com/"], "deny": ["^http:"]},
            "indexes": {
                "platforms": "list",
                "platformlist": [{"architecture": "amd64", "os": "linux"}],
            },
        },
    },
    "policy": {"repository": {"classes": ["image"]}},
}

VARIABLES = {
    "REGISTRY_LOG_LEVEL": "warn",
    "REGISTRY_LOG_FIELDS_SITE": "berlin",
    "REGISTRY_CATALOG_MAXENTRIES": "10",
    "REGISTRY_VALIDATION_MANIFESTS_URLS_ALLOW": "['^https://example.com/']",
    "REGISTRY_NOTIFICATIONS_ENDPOINTS_0_NAME": "a",
    "REGISTRY_NOTIFICATIONS_ENDPOINTS_0_TIMEOUT": "1s",
    "REGISTRY_NOTIFICATIONS_ENDPOINTS_0_DISABLED": "true",
    "REGISTRY_HEALTH_FILECHECKERS_0_FILE": "/tmp/down",
    "GODEBUG": "http2client=0",
    "OTEL_SERVICE_NAME": "registry",
}


def started(
    registry: Path, folder: Path, auth: str, settings: dict[str, Any], variables: dict[str, Any]
) -> str:
    """What the registry logs until it listens."""
    signer = Signer()
    (folder / "live").mkdir()
    (folder / "data").mkdir()
    bundle = signer.certificate.public_bytes(Encoding.PEM)
    (folder / "live/token_signing.pem").write_bytes(bundle)
    (folder / "live/htpasswd").write_text("")
    rendered = configuration.render(
        auth=auth,
        service=NAME,
        issuer=NAME,
        realm=f"https://{NAME}/auth",
        settings=settings,
        drain_timeout=600,
    )
    port, debug = free_ports(2)
    rendered["http"]["addr"] = f"127.0.0.1:{port}"
    rendered["http"]["debug"]["addr"] = f"127.0.0.1:{debug}"
    rendered["storage"]["filesystem"]["rootdirectory"] = str(folder / "data")
    text = yaml.safe_dump(rendered).replace(configuration.LIVE_DIRECTORY, str(folder / "live"))
    (folder / "config.yml").write_text(text)
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(registry), "serve", str(folder / "config.yml")],
            stdout=output,
            stderr=output,
            env=os.environ | configuration.environment(variables),
        )
        deadline = time.monotonic() + 60
        while (
            "listening on 127" not in log.read_text()
            and process.poll() is None
            and time.monotonic() < deadline
        ):
            time.sleep(0.05)
        running = process.poll() is None
        process.kill()
        process.wait()
    words = log.read_text()
    assert running, words
    return words


@pytest.mark.parametrize("auth", ["token", "htpasswd"])
@pytest.mark.parametrize("settings", [{}, EVERYTHING], ids=["plain", "everything"])
def test_registry_accepts_what_is_rendered(
    registry: Path, tmp_path: Path, auth: str, settings: dict[str, Any]
) -> None:
    assert configuration.review(settings, {}) == []
    words = started(registry, tmp_path, auth, settings, {})
    assert "panic" not in words


def test_registry_obeys_the_variables_that_are_allowed(registry: Path, tmp_path: Path) -> None:
    assert configuration.review({}, VARIABLES) == []
    words = started(registry, tmp_path, "token", {}, VARIABLES | {"REGISTRY_LOG_LEVEL": "info"})
    assert "nrecognized environment variable" not in words
    assert "gnoring environment variable" not in words
    assert '"site":"berlin"' in words


def test_registry_ignores_the_variable_that_is_refused(registry: Path, tmp_path: Path) -> None:
    """The refusal gives this as its reason."""
    name = "REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_AGE"
    (problem,) = configuration.review({}, {name: "1h"})
    assert "distribution ignores it in the environment" in problem.message
    words = started(registry, tmp_path, "token", {}, {name: "1h"})
    assert f"Ignoring environment variable {name}" in words


@pytest.mark.parametrize(
    "name", ["REGISTRY_LOG_LEVL", "REGISTRY_HEALTH_FILE_0_FILE", "REGISTRY_NOTIFICATIONS_EVENTS_X"]
)
def test_registry_would_ignore_an_unknown_variable(
    registry: Path, tmp_path: Path, name: str
) -> None:
    (problem,) = configuration.review({}, {name: "x"})
    assert "does not know this variable and would ignore it" in problem.message
    words = started(registry, tmp_path, "token", {}, {name: "x"})
    assert f"Ignoring unrecognized environment variable {name}" in words


@pytest.mark.slow
def test_keys_are_those_of_the_source(tmp_path: Path) -> None:
    go = shutil.which("go")
    if not go:
        pytest.skip("needs Go")
    folder = PROJECT / "wharfinger" / "registry"
    for source in ("images/registry/go.mod", "images/registry/go.sum"):
        shutil.copy(PROJECT / source, tmp_path)
    shutil.copy(folder / "derive" / "main.go", tmp_path)
    derived = subprocess.run(
        [go, "run", "."],
        cwd=tmp_path,
        env=os.environ | {"GOFLAGS": "-mod=mod", "GOSUMDB": "off"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    committed = (folder / f"distribution-{configuration.VERSION}.keys").read_text()
    lines = [line for line in committed.splitlines() if not line.startswith("#")]
    assert lines == derived.splitlines()
