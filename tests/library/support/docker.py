"""A real Docker on a machine that uses the registry."""

from __future__ import annotations

import secrets

from testinfra.backend.base import CommandResult
from testinfra.host import Host

from support import hosts
from support.registry import Registry


class Docker:
    """Docker on the client machine, with a configuration of this test's own."""

    def __init__(self, client: Host, registry: Registry) -> None:
        self.client = client
        self.registry = registry
        self.configuration = client.check_output("mktemp -d /tmp/docker.XXXXXX")

    def __call__(self, command: str, *arguments: str) -> CommandResult:
        """Runs `docker COMMAND ARGUMENT…`."""
        quoted = " ".join(["%s"] * len(arguments))
        return self.client.run(
            f"docker --config %s {command} {quoted}", self.configuration, *arguments
        )

    def login(self, user: str) -> CommandResult:
        """Signs in, with the password on standard input, as people should."""
        return self.client.run(
            "printf %%s %s | docker --config %s login --username %s --password-stdin %s",
            hosts.account(user).password,
            self.configuration,
            user,
            self.registry.name,
        )

    def image(self, repository: str) -> str:
        """Makes an image that no registry has, tagged for a repository of this registry."""
        reference = f"{self.registry.name}/{repository}:{secrets.token_hex(4)}"
        self.client.check_output("head -c 65536 /dev/urandom > /tmp/content")
        self.client.check_output("tar -C /tmp -c content | docker import - %s", reference)
        return reference
