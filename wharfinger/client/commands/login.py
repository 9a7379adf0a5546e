"""`wharf login`: tries a login, then stores it as docker does."""

from __future__ import annotations

import asyncio
import sys

from .. import credentials, references
from ..api import Registry
from ..errors import UsageError
from ..options import Connection, password
from ..output import notice
from ..transport import Settings, Transport


def log_in(argument: str | None, connection: Connection) -> None:
    """Asks for what is missing, tries the login, stores it. Raises Denied if it is refused."""
    registry = references.registry(argument)
    user = connection.user
    if user is None:
        if not sys.stdin.isatty():
            raise UsageError(
                "there is no terminal to ask for the name: say --user NAME --password-stdin"
            )
        print("User: ", end="", file=sys.stderr, flush=True)
        user = sys.stdin.readline().strip()
    if not user or ":" in user:
        raise UsageError("a user's name has at least one letter and no colon")
    tried = credentials.Credentials(user, password(connection.password_stdin))
    settings = Settings(tried, connection.cacert, connection.plain_http, connection.max_requests)

    async def main() -> None:
        async with Transport(registry, settings, notice=notice) as transport:
            await Registry(transport).ping()
            await transport.prove_login()

    asyncio.run(main())
    place = credentials.store(registry, tried)
    print(f"{user} is logged in at {registry}; the password is in {place}")
