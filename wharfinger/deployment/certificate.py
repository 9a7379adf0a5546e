"""What is known of a certificate. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from .reported import Facts


@dataclass(frozen=True)
class Certificate(Facts):
    """The first certificate in a file.

    not_before and not_after: seconds since 1970. fingerprint: SHA-256, hex. names: the subject
    alternative names. algorithm: with which its key signs tokens ("" if it cannot;
    signing_keys.py). Of an authority, path_length (None: any) and permitted, the names for which it
    may vouch (None: all). key_matches: whether the key beside it belongs to it; None if there is
    none. trusted: whether the authority in use has issued it, where somebody has looked.
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
