"""What goes wrong, as one sentence for whoever runs the command, and the exit code it has."""

from __future__ import annotations

FAILED = 1
USAGE = 2
DENIED = 3
INTERRUPTED = 130


class ClientError(Exception):
    """Something failed, or was not found. The text says what, where, and what to do."""

    exit_code = FAILED


class NotFound(ClientError):
    """The registry has no such repository, tag, digest or page."""


class Damaged(ClientError):
    """What the registry gives is not what was stored, or cannot be read."""


class Unsupported(ClientError):
    """The registry cannot do what was asked of it."""


class UsageError(ClientError):
    """The command line asks for something that cannot be."""

    exit_code = USAGE


class Denied(ClientError):
    """Not allowed, or only after a login."""

    exit_code = DENIED


class LoginRefused(Denied):
    """A login is needed, or the one that was shown is not accepted."""
