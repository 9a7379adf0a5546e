#!/usr/bin/env python3
"""Checks other people's sites and container on a host: `foreign.py ADDRESS ROOT_CERTIFICATE`.

Prints a line for each that does not answer as it was set up to, and then ends with exit code 1.
"""

from __future__ import annotations

import socket
import ssl
import sys

SHOP = b"somebody's shop\n"
INTRANET = b"somebody's intranet\n"
CONTAINER = b"somebody's container\n"


def ask(address: str, port: int, name: str, context: ssl.SSLContext | None) -> bytes:
    """The body of the answer to `name`. TLS always asks for intranet.example.test."""
    plain = socket.create_connection((address, port), 10)
    with (
        plain
        if context is None
        else context.wrap_socket(plain, server_hostname="intranet.example.test") as connection
    ):
        connection.sendall(f"GET / HTTP/1.0\r\nHost: {name}\r\n\r\n".encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer.partition(b"\r\n\r\n")[2]


def main(address: str, root: str) -> int:
    """Asks each by its name, and nginx also by names that no site has."""
    trusting = ssl.create_default_context(cafile=root)
    missing = 0
    for port, name, context, wanted in (
        (8081, "anything.example.test", None, CONTAINER),
        (80, "shop.example.test", None, SHOP),
        (80, "unknown.example.test", None, SHOP),
        (443, "intranet.example.test", trusting, INTRANET),
        (443, "unknown.example.test", trusting, INTRANET),
    ):
        try:
            answer: object = ask(address, port, name, context)
        except OSError as problem:
            answer = problem
        if answer != wanted:
            print(f"{name} on port {port}: {answer!r} instead of {wanted!r}")
            missing += 1
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
