"""The trusted authorities: the system's, those in docker's certs.d, and --cacert.

docker reads /etc/docker/certs.d/HOST[:PORT]/. Rootless docker reads $XDG_CONFIG_HOME/docker/certs.d
and Docker Desktop ~/.docker/certs.d. Every *.crt there is an authority; a NAME.cert with its
NAME.key is a client certificate for the registry. They are trusted in addition to the system's, as
in docker.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from .errors import ClientError, UsageError

SYSTEM = Path("/etc/docker/certs.d")


def directories(registry: str) -> list[Path]:
    """The folders in which docker looks for certificates for this HOST[:PORT]."""
    configuration = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    places = [SYSTEM, Path(configuration) / "docker/certs.d", Path.home() / ".docker/certs.d"]
    return [place / registry for place in places]


def context(registry: str, cacert: Path | None) -> ssl.SSLContext:
    """The TLS settings for a registry. Raises ClientError if a file cannot be used."""
    settings = ssl.create_default_context()
    # Python 3.13 is stricter about authorities than most readers of RFC 5280, docker included.
    # Signature, dates and name are still checked.
    settings.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if cacert is not None:
        try:
            settings.load_verify_locations(cafile=cacert)
        except (OSError, ssl.SSLError) as error:
            why = "contains no certificate" if isinstance(error, ssl.SSLError) else error.strerror
            raise UsageError(f"--cacert {cacert}: {why}; give a file in PEM form") from error
    for directory in directories(registry):
        try:
            files = sorted(directory.iterdir()) if directory.is_dir() else []
        except OSError as error:
            raise ClientError(f"{directory}: {error.strerror}") from error
        for file in files:
            _load(settings, file)
    return settings


def _load(settings: ssl.SSLContext, file: Path) -> None:
    try:
        if file.suffix == ".crt":
            settings.load_verify_locations(cafile=file)
        elif file.suffix == ".cert" and file.with_suffix(".key").exists():
            # With an empty password, an encrypted key is an error, not a question on the terminal.
            settings.load_cert_chain(file, file.with_suffix(".key"), password="")
    except (OSError, ssl.SSLError) as error:
        why = (
            "is not a certificate in PEM form"
            if isinstance(error, ssl.SSLError)
            else error.strerror
        )
        raise ClientError(
            f"{file}: {why}; docker cannot use it either: repair or remove it"
        ) from None
