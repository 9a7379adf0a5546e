"""One plain HTTP question to a container, by its address."""

from __future__ import annotations

import http.client


def get(address: str, port: int, path: str, timeout: float) -> tuple[int, bytes]:
    """Status and body (at most 1 MB) of GET http://address:port/path.

    Raises OSError or http.client.HTTPException where there is no answer within `timeout` seconds.
    """
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read(1_000_000)
    finally:
        connection.close()
