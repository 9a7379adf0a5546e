"""What stops a job from removing anything: a doubtful clock, or very many removals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..system import clock, clock_check
from ..system.context import Host
from ..system.errors import HostError
from . import reports
from .settings import Settings
from .storage import brake


def trusted_clock(host: Host, job: str, confirmed: bool) -> clock.Record:
    """The host's clock. Raises InDoubt if it is in doubt, since removals depend on it."""
    record = clock_check.look(host, confirmed=confirmed)
    if record.doubt:
        words = clock_check.sentence(record, host.clock.now())
        raise clock_check.InDoubt(f"{job}: nothing was removed: {words}")
    return record


def brake_verdict(
    settings: Settings, host: Host, job: str, removals: Iterable[Any], total: int
) -> str:
    """Why a person must confirm so many removals, and what to run for that; "" if nobody must."""
    tags = job == "retention"
    repositories = [
        removal.repository
        for removal in removals
        if removal.digest and (removal.tag is not None) == tags
    ]
    what = "tags" if tags else "manifests"
    verdict = brake.verdict(repositories, total, settings.raw, reports.history(host, job), what)
    if not verdict:
        return ""
    playbook = f"playbooks/{'retention' if tags else 'garbage_collect'}.yml"
    return (
        f"{verdict}. See what would go with {playbook} --check; if that is intended, run "
        f"{playbook} -e confirm_deletions=true"
    )


def check_brake(job: str, verdict: str, confirmed: bool) -> None:
    """Raises HostError if the brake holds and nobody has confirmed the removals."""
    if verdict and not confirmed:
        raise HostError(f"{job}: nothing was removed, because so much would go: {verdict}")


def blockers(host: Host, request: Mapping[str, Any], verdict: str) -> dict[str, Any]:
    """Why a run would remove nothing: `held` (the brake) and `doubt` (the clock); each is "" if it
    would not stop the run."""
    confirmed = request.get("confirm_deletions") is True
    right = request.get("clock_is_right") is True
    return {
        "held": "" if confirmed else verdict,
        "doubt": clock_check.doubt(host, confirmed=right, check=True),
    }
