"""Which authorities are trusted: the system's, docker's certs.d, and --cacert.

docker reads /etc/docker/certs.d/HOST[:PORT]/, without root $XDG_CONFIG_HOME/docker/certs.d, and
Docker Desktop ~/.docker/certs.d: every *.crt there is an authority, a NAME.cert with its NAME.key
is shown to the registry. All of them add to the system's, as they do for docker.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from .errors import ClientError, UsageError

SYSTEM = Path("/etc/docker/certs.d")


def directories(registry: str) -> list[Path]:
    """Where docker may have certificates for this HOST[:PORT]."""
    configuration = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    places = [SYSTEM, Path(configuration) / "docker/certs.d", Path.home() / ".docker/certs.d"]
    return [place / registry for place in places]


def context(registry: str, cacert: Path | None) -> ssl.SSLContext:
    """The TLS settings for a registry. Raises ClientError where a file cannot be used."""
    made = ssl.create_default_context()
    # Python 3.13 wants more of an authority than RFC 5280's readers usually do (docker among
    # them). Signature, dates and name are checked all the same.
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if cacert is not None:
        try:
            made.load_verify_locations(cafile=cacert)
        except (OSError, ssl.SSLError) as error:
            why = "holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
            raise UsageError(f"--cacert {cacert}: {why}; give a file in PEM form") from error
    for directory in directories(registry):
        try:
            files = sorted(directory.iterdir()) if directory.is_dir() else []
        except OSError as error:
            raise ClientError(f"{directory}: {error.strerror}") from error
        for file in files:
            _load(made, file)
    return made


def _load(made: ssl.SSLContext, file: Path) -> None:
    try:
        if file.suffix == ".crt":
            made.load_verify_locations(cafile=file)
        elif file.suffix == ".cert" and file.with_suffix(".key").exists():
            # An empty password: never a question on the terminal for a key that is encrypted.
            made.load_cert_chain(file, file.with_suffix(".key"), password="")
    except (OSError, ssl.SSLError) as error:
        why = "is no certificate in PEM form" if isinstance(error, ssl.SSLError) else error.strerror
        raise ClientError(
            f"{file}: {why}; docker cannot use it either: mend or remove it"
        ) from None
