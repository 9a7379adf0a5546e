"""All errors of `wharf`, in one tree:

    ClientError             exit code 1
      NoAnswer              the registry cannot be reached, or its answer breaks off
      NotFound              the registry has no such repository, tag, digest or page
      Damaged               the content does not match its digest, or cannot be read
      Unsupported           the registry cannot do this
      ElsewhereForTokens    the registry sends the login to a host that may not see it
      Denied                exit code 3: this user may not do it
        LoginRefused        a login is needed, or the login is not accepted
      UsageError            exit code 2: the command line asks for something impossible

The text of an exception is what the command prints: what happened, where, and what to do.
`failures.py` makes these exceptions from answers and from what httpx raises.
"""

from __future__ import annotations

FAILED = 1
USAGE = 2
DENIED = 3
INTERRUPTED = 130


class ClientError(Exception):
    """The base of the tree: something failed."""

    exit_code = FAILED


class NoAnswer(ClientError):
    """The registry cannot be reached, or its answer breaks off."""


class NotFound(ClientError):
    """The registry has no such repository, tag, digest or page."""


class Damaged(ClientError):
    """The content does not match its digest, or cannot be read."""


class Unsupported(ClientError):
    """The registry cannot do this."""


class ElsewhereForTokens(ClientError):
    """The registry names a token server on a host to which the login may not be sent."""


class UsageError(ClientError):
    """The command line asks for something impossible."""

    exit_code = USAGE


class Denied(ClientError):
    """The user may not do this, or only after a login."""

    exit_code = DENIED


class LoginRefused(Denied):
    """A login is needed, or the login is not accepted."""
