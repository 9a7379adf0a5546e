"""A request put to the access control list, scope by scope."""

from __future__ import annotations

from .acl import Address, Answer, Question
from .challenge import Challenge
from .configuration import Configuration, User


def decide(
    configuration: Configuration, request: Challenge, user: User, address: Address
) -> list[Answer]:
    """What each scope of the request gets."""
    return [
        configuration.acl.decide(
            Question(
                request.account,
                scope.type,
                scope.name,
                request.service,
                address,
                scope.actions,
                user.labels,
            )
        )
        for scope in request.scopes
    ]


def rule(configuration: Configuration, answer: Answer) -> str | None:
    """The deciding entry in words: its place in the file (from 0) and its comment."""
    if answer.entry is None:
        return None
    comment = configuration.acl.entries[answer.entry].comment
    return f"acl[{answer.entry}]" + (f" {comment}" if comment else "")
