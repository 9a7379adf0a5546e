"""Reads what a registry and its token server answer (pure): challenges, tokens, error documents."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# RFC 9110, 11.2: auth-param is token "=" ( token / quoted-string )
_PARAMETER = re.compile(r'([A-Za-z0-9!#$%&\'*+.^_`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')


@dataclass(frozen=True)
class Challenge:
    """A WWW-Authenticate header: the scheme in lower case and its parameters."""

    scheme: str
    parameters: Mapping[str, str]


def challenge(header: str | None) -> Challenge | None:
    """The challenge in a WWW-Authenticate header; None if the header is missing or empty."""
    if not header:
        return None
    scheme, _, rest = header.strip().partition(" ")
    parameters = {
        key.lower(): re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
        for key, quoted, plain in _PARAMETER.findall(rest)
    }
    return Challenge(scheme.lower(), parameters)


def claims(token: str) -> dict[str, Any] | None:
    """The payload of a JSON web token, unverified: for reports, never for decisions on access.

    None if `token` is not a JSON web token.
    """
    return _part(token, 1)


def key_id(token: str) -> str | None:
    """The `kid` of a JSON web token's header: which key signed it (RFC 7515, 4.1.4)."""
    kid = (_part(token, 0) or {}).get("kid")
    return None if kid is None else str(kid)


def _part(token: str, number: int) -> dict[str, Any] | None:
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        padded = parts[number] + "=" * (-len(parts[number]) % 4)
        payload = json.loads(base64.urlsafe_b64decode(padded))
    except (ValueError, UnicodeDecodeError):
        return None
    return payload if isinstance(payload, dict) else None


def granted(payload: Mapping[str, Any], repository: str) -> set[str]:
    """The actions that a token's `access` claim gives on a repository."""
    actions: set[str] = set()
    for entry in payload.get("access") or ():
        if entry.get("type") == "repository" and entry.get("name") == repository:
            actions.update(entry.get("actions") or ())
    return actions


def error_words(body: bytes) -> str | None:
    """Code and message of a registry's error document; None if the body is something else, such as
    an error page of the proxy."""
    try:
        first = json.loads(body)["errors"][0]
        detail = first.get("detail")
        words = f"{first['code']}: {first.get('message', '')}".strip(": ")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None
    return f"{words} ({json.dumps(detail)})" if detail else words
