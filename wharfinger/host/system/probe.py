"""Single requests: to a container by its address, and to nginx for the certificate it serves."""

from __future__ import annotations

import hashlib
import http.client
import socket
from collections.abc import Mapping


def get(
    address: str,
    port: int,
    path: str,
    timeout: float,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    """Status and body (at most 1 MB) of GET http://address:port/path.

    Raises OSError or http.client.HTTPException if there is no answer within `timeout` seconds.
    """
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Connection": "close", **(headers or {})})
        response = connection.getresponse()
        return response.status, response.read(1_000_000)
    finally:
        connection.close()


def served(address: str, port: int, name: str, timeout: float) -> str | None:
    """SHA-256 (hex) of the certificate that a client of `name` gets at address:port; None if there
    is no TLS. The certificate is not verified, only identified."""
    import ssl  # only here: 10 ms that most commands save

    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((address, port), timeout) as plain,
            context.wrap_socket(plain, server_hostname=name) as secure,
        ):
            data = secure.getpeercert(binary_form=True)
    except OSError:
        return None
    return hashlib.sha256(data).hexdigest() if data else None
