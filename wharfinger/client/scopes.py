"""Scopes: the rights that a token must have, as distribution's token authentication writes them."""

from __future__ import annotations

CATALOG = "registry:catalog:*"


def pull_scope(repository: str) -> str:
    """The right to read a repository."""
    return f"repository:{repository}:pull"


def push_scope(repository: str) -> str:
    """The right to push to a repository."""
    return f"repository:{repository}:pull,push"


def delete_scope(repository: str) -> str:
    """The right to delete in a repository."""
    return f"repository:{repository}:delete"
