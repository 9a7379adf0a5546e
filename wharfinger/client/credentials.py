"""Reads and writes logins in docker's config.json and its credential helpers.

The package `docker` reads the file and calls the helpers. This module finds the file, reports what
is wrong with it, and stores a login as `docker login` does.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import ClientError
from .references import DOCKER_HUB

DOCKER_HUB_KEY = "https://index.docker.io/v1/"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and a password, or instead the identity token that a helper keeps."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


def config_file() -> Path:
    """docker's config.json: in $DOCKER_CONFIG, or in ~/.docker."""
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"


def load(registry: str) -> Credentials | None:
    """The stored login for HOST[:PORT], or None. Raises ClientError."""
    settings = _settings()
    if not settings.keys() & {"auths", "credsStore", "credHelpers"}:
        return None
    from docker.auth import AuthConfig
    from docker.errors import DockerException, InvalidConfigFile

    try:
        with warnings.catch_warnings(action="ignore"):  # a missing helper is an error, below
            auths = AuthConfig.load_config(None, settings)
            login = auths.resolve_authconfig(registry)
    except InvalidConfigFile as error:
        raise ClientError(f"{config_file()}: 'auths' is not as docker writes it") from error
    except (binascii.Error, ValueError, AttributeError, TypeError) as error:
        raise ClientError(
            f"{config_file()}: the login stored there cannot be read: log in again (wharf login "
            f"{registry})"
        ) from error
    except DockerException as error:
        raise ClientError(f"{config_file()}: {_helper_error(error)}") from error
    if not login:
        return None
    lowered = {key.lower(): value or "" for key, value in login.items()}
    if not lowered.get("username") and not lowered.get("identitytoken"):
        return None
    return Credentials(
        lowered.get("username", ""), lowered.get("password", ""), lowered.get("identitytoken", "")
    )


def store(registry: str, credentials: Credentials) -> str:
    """Stores a login as docker does. Returns the place in words. Raises ClientError."""
    settings = _settings()
    server = DOCKER_HUB_KEY if registry == DOCKER_HUB else registry
    helpers = settings.get("credHelpers")
    helper = (helpers.get(server) if isinstance(helpers, dict) else None) or settings.get(
        "credsStore"
    )
    auths = settings.setdefault("auths", {})
    if not isinstance(auths, dict):
        raise ClientError(f"{config_file()}: 'auths' is not as docker writes it")
    if not helper:
        pair = f"{credentials.user}:{credentials.password}".encode()
        auths[server] = {"auth": base64.b64encode(pair).decode()}
        _write(settings)
        return (
            f"{config_file()}, unencrypted (base64), as docker keeps it without a credential helper"
        )
    from docker.credentials import Store
    from docker.credentials.errors import StoreError

    try:
        with warnings.catch_warnings(action="ignore"):
            Store(helper).store(server, credentials.user, credentials.password)
    except StoreError as error:
        raise ClientError(f"{config_file()}: {_helper_error(error)}") from error
    # The empty entry tells docker that the helper has the login. It replaces an earlier password.
    if auths.get(server) != {}:
        auths[server] = {}
        _write(settings)
    return f"the credential helper docker-credential-{helper}"


def _helper_error(error: Exception) -> str:
    return (
        f"the credential helper that is named there failed ({' '.join(str(error).split())[:300]}): "
        "install or unlock it, or remove its name (credsStore, credHelpers)"
    )


def _settings() -> dict[str, Any]:
    file = config_file()
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ClientError(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise ClientError(
            f"{file} is not JSON ({error}): repair it, docker needs it too"
        ) from error
    if not isinstance(settings, dict):
        raise ClientError(f"{file} is not a JSON object: repair it, docker needs it too")
    return settings


def _write(settings: dict[str, Any]) -> None:
    """Replaces config.json atomically. Only its owner may read it."""
    # If it is a symbolic link, its target is replaced, as docker does.
    file = config_file().resolve()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                json.dump(settings, stream, indent="\t")
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).replace(file)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise ClientError(f"{file}: {error.strerror}") from error
