"""Scopes: what a token must hold, as distribution's token authentication writes it."""

from __future__ import annotations

CATALOG = "registry:catalog:*"


def pull_scope(repository: str) -> str:
    """What a token must hold to read a repository."""
    return f"repository:{repository}:pull"


def push_scope(repository: str) -> str:
    """What a token must hold to push to a repository."""
    return f"repository:{repository}:pull,push"


def delete_scope(repository: str) -> str:
    """What a token must hold to delete in a repository."""
    return f"repository:{repository}:delete"
