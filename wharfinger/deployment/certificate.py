"""The facts about a certificate. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from .reported import Facts


@dataclass(frozen=True)
class Certificate(Facts):
    """The first certificate in a file.

    not_before and not_after: seconds since 1970. fingerprint: SHA-256, hex. names: the subject
    alternative names. algorithm: the one by which its key signs tokens; "" if it cannot
    (signing_keys.py). path_length (None: any) and permitted: only for an authority; permitted are
    the names that it may certify (None: all). key_matches: whether the key beside it belongs to it;
    None without a key. trusted: whether the authority in use has issued it; False if not checked.
    """

    subject: str = ""
    issuer: str = ""
    not_before: float = 0
    not_after: float = 0
    fingerprint: str = ""
    names: tuple[str, ...] = ()
    algorithm: str = ""
    path_length: int | None = None
    permitted: tuple[str, ...] | None = None
    key_matches: bool | None = None
    trusted: bool = False
