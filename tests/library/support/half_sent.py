"""Keeps many requests open with half-sent headers, until it is killed:
`half_sent.py ADDRESS PLAIN_PORT TLS_PORT NAME NUMBER`.

Each second it prints how many are open. It starts those again that the server closes. Every fourth
uses TLS: all of them take the same connections of nginx, and thousands of handshakes would test the
machine's cores instead.
"""

from __future__ import annotations

import asyncio
import resource
import ssl
import sys
from typing import Any


async def keep(
    address: str, port: int, tls: dict[str, Any], turns: asyncio.Semaphore, held: set[int]
) -> None:
    """One client that always has a request open and never finishes it."""
    while True:
        try:
            async with turns:
                reader, writer = await asyncio.wait_for(
                    asyncio.open_connection(address, port, **tls), 20
                )
        except (OSError, TimeoutError):
            await asyncio.sleep(0.2)
            continue
        try:
            writer.write(b"GET /v2/ HTTP/1.1\r\nX-Begun: and not ended\r\n")
            held.add(id(writer))
            await reader.read()
        except OSError:
            pass
        finally:
            held.discard(id(writer))
            writer.close()


async def main(address: str, plain: int, secure: int, name: str, number: int) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    tls = {"ssl": context, "server_hostname": name}
    held: set[int] = set()
    turns = asyncio.Semaphore(50)
    clients = [
        asyncio.create_task(
            keep(address, plain, {}, turns, held)
            if client % 4
            else keep(address, secure, tls, turns, held)
        )
        for client in range(number)
    ]
    while clients:
        print(len(held), flush=True)
        await asyncio.sleep(1)


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    address, plain, secure, name, number = sys.argv[1:]
    asyncio.run(main(address, int(plain), int(secure), name, int(number)))
