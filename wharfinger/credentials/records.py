"""The host's record of each user and robot. It never has the password."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bcrypt

from wharfinger import generated

from .errors import CredentialsError
from .folder import Credentials
from .hashes import LONGEST, digest_of, hash_password, identities, is_of, secret_record
from .rotation import Rotation


def user_record(
    name: str,
    user: Mapping[str, str],
    known: Mapping[str, Any] | None,
    credentials: Credentials,
    regenerate: bool,
) -> dict[str, Any]:
    """One user's record: `hash`, and for a generated secret `generated`, its SHA-256, and `random`:
    true.

    `generated` identifies a stale file in credentials/ without a bcrypt round. With `random`, the
    token server compares it, too. A record from before `random` existed has `generated` for
    whatever lay in credentials/; the first run that has the file adds `random` or removes
    `generated`. No fast digest of a chosen password is kept.
    """
    if "password_hash" in user:
        return {"hash": user["password_hash"]}
    if "password" in user:
        password = user["password"].encode()
        if known and bcrypt.checkpw(password, known["hash"].encode()):
            return {"hash": known["hash"]}
        return {"hash": hash_password(user["password"])}
    present = credentials.read(name)
    if known and not regenerate:
        if present is None:
            credentials.kept.append(name)
        elif not is_of(known, present):
            credentials.stale.append(name)
        else:
            return {"hash": known["hash"], **digest_of(present)}
        # Other keys are left over from a robot of this name.
        keys = ("hash",) if known.get("random") is False else ("hash", "generated", "random")
        return {key: known[key] for key in keys if key in known}
    if present is None:
        present = credentials.generate(name, replace=False)
    if not 0 < len(present.encode()) <= LONGEST:
        raise CredentialsError(
            f"credentials/{name} beside the inventory is {'too long' if present else 'empty'}, and "
            f"what it holds would be the password of {name}: remove the file, and a password is "
            f"generated, or write a password of 1 to {LONGEST} bytes into it."
        )
    return {"hash": hash_password(present), **digest_of(present)}


def robot_record(
    name: str, known: Mapping[str, Any] | None, credentials: Credentials, rotation: Rotation
) -> dict[str, Any]:
    """One robot's record: `hash`, `generated` (`identity`), `random` (whether it is a generated
    secret), `robot`, and `previous` (`hash`, `digest` and `until`) while the previous secret is
    valid.

    An earlier version's record gets `random` from the first run that has the file. The record of a
    user of this name is ignored: it may be of a password that somebody has chosen.
    """
    if known and not known.get("robot"):
        known = None
    present = credentials.read(name)
    if name in rotation.names and credentials.check_mode:
        present = credentials.generate(name, replace=True, size=generated.ROBOT_BYTES)
    taken_over = (
        known and present is not None and known.get("generated") in identities(name, present)
    )
    if known and (name not in rotation.names or taken_over):
        if present is None:
            credentials.kept.append(name)
        elif not taken_over:
            credentials.stale.append(name)
        ended = name in rotation.ended or known.get("previous", {}).get("until", "") <= rotation.now
        kept = {key: value for key, value in known.items() if key != "previous" or not ended}
        if taken_over and present is not None and "random" not in known:
            learned = secret_record(name, present)
            kept |= {"random": True} if learned["random"] else learned
        return kept
    if present is None:
        present = credentials.generate(name, replace=False, size=generated.ROBOT_BYTES)
    made: dict[str, Any] = {**secret_record(name, present), "robot": True}
    if known and rotation.until:
        made["previous"] = {
            "hash": known["hash"],
            "digest": known["generated"],
            "until": rotation.until,
        }
    return made
