"""The record of a restore that is not over (backup/restoring.json).

A restore of the whole registry is over once the registry has been verified. Until then the jobs
that remove or save contents do not run. A restore of single repositories is over once their links
are written; meanwhile nginx refuses writes to them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import HostError
from .files import read_text, write_atomically

# The steps.
BRINGING = "bringing"  # files are being brought
CLOSED = "closed"  # the links of `only` are being written, and nginx refuses writes to them
RESTORED = "restored"  # everything has been brought; nobody has verified the registry yet


# At the end of a name in `only`: all repositories below it.
BELOW = "/**"


def covers(name: str, repository: str) -> bool:
    """Whether `name`, one of `only`, means this repository."""
    if name.endswith(BELOW):
        return repository.startswith(name.removesuffix("**"))
    return repository == name


@dataclass(frozen=True)
class Restoring:
    """`snapshot`: its id. `only`: the repositories; empty for the whole registry."""

    snapshot: str
    step: str
    only: Sequence[str] = ()

    def pattern(self) -> str:
        """A regular expression of the repositories to which nginx refuses writes; "" if it refuses
        none."""
        names = [
            re.escape(name.removesuffix(BELOW)) + ("/.+" if name.endswith(BELOW) else "")
            for name in (self.only if self.step == CLOSED else ())
        ]
        return "|".join(names)

    def problem(self) -> str:
        """What a person has to do about it, if no restore is at work."""
        again = f"playbooks/restore.yml -e snapshot={self.snapshot[:8]}"
        if self.only:
            return (
                f"the restore of {', '.join(self.only)} from snapshot {self.snapshot[:8]} was cut "
                f"off: run {again} -e only={','.join(self.only)}"
            )
        if self.step == RESTORED:
            return (
                f"the registry was restored from snapshot {self.snapshot[:8]} and has not been "
                f"verified yet: run site.yml"
            )
        return (
            f"the restore of snapshot {self.snapshot[:8]} was cut off: run {again}, or give it up "
            "with playbooks/remove.yml -e remove_data=HOSTNAME"
        )


def load(path: Path) -> Restoring | None:
    """The restore that is not over; None if there is none. Raises HostError for a damaged file."""
    text = read_text(path)
    if text is None:
        return None
    try:
        raw = json.loads(text)
        return Restoring(str(raw["snapshot"]), str(raw["step"]), tuple(map(str, raw["only"])))
    except (ValueError, TypeError, KeyError) as problem:
        raise HostError(
            f"{path} is damaged, so which restore was under way is not known: remove the file, and "
            "run playbooks/restore.yml again"
        ) from problem


def save(path: Path, record: Restoring) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(path, json.dumps(asdict(record)).encode() + b"\n", 0o600)


def over(path: Path) -> None:
    """The restore is over."""
    path.unlink(missing_ok=True)


def verified(path: Path) -> None:
    """The registry has been verified, so a restore of the whole registry is over."""
    record = load(path)
    if record is not None and record.step == RESTORED:
        over(path)


def refuse(path: Path, job: str) -> None:
    """Raises HostError if `job` must wait for the verification of a restored registry."""
    record = load(path)
    if record is not None and not record.only:
        raise HostError(f"{job}: nothing was done: {record.problem()}")
