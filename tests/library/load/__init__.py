"""Clients that use a registry all the time, and a record of what happened to them.

    with Load(Target(name, address), Account(user, password), ca_file) as load:
        load.phase("steady")
        …
        load.phase("another signing key")
        …
    print(load.report()["failed"])

or `python -m load --help`. What is counted: an *operation* is what a client wanted (push an image,
pull it, list its tags, sign in), a *request* is one HTTP request of the pooled clients. An
operation that did not succeed is *failed*, whatever the reason. A request that the client itself
sent once more, as Go's and every other pooled HTTP client does (see session.py), is *retried*.
"""

from __future__ import annotations

from .driver import Load
from .session import Account, Target

__all__ = ["Account", "Load", "Target"]
