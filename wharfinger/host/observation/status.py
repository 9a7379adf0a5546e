"""`status`: how this host's registry is, for people and as JSON."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from ...deployment.certificate import Certificate
from ...deployment.fixed import JOB_WORDS, JOBS, MIRROR, WATCHED
from ...deployment.reported import plain
from ..backup import recovery
from ..contents import mirror_rows, reports
from ..keys import certificates, expiry
from ..keys import settings as key_settings
from ..rollout.proxy import is_current
from ..system import clock_check, restoring, storage_facts
from ..system.context import Host
from ..system.durations import day, in_words
from ..system.errors import HostError
from ..system.files import exists
from ..system.lock import is_held
from . import engine_facts
from .engine_state import STATES, STOPPED
from .observe import summary, watched
from .watching import last_success, overdue

# The certificates by name, and where each is in use.
_USES = {
    "ca": "issues the server's certificate; clients trust it",
    "ca_previous": "the previous authority; clients may still know only this one",
    "ca_cross": "leads from the previous authority to the present one; sent by nginx",
    "tls": "the server's, served by nginx",
    "signing": "the token server signs with its key; trusted by the registry",
    "signing_next": "will sign tokens; trusted by the registry",
    "signing_previous": "no longer signs; still trusted by the registry",
}

# Seconds until docker has checked a container's health for the first time.
_FIRST_CHECK = 60


def status(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Needs no lock and changes nothing. Returns now, state (as `observe`), engine, proxy,
    certificates (not_after in seconds since 1970; where each is in use), rotation (the step of the
    signing key's that comes next, and `until`), next (what is under way), watched (whether the
    renewals run by themselves), busy (whether a command is at work), window (a time without writes
    that is under way: state.py), contents (by job, what its last run left: reports.py), recovery
    (RPO and RTO: backup/recovery.py, or null), succeeded (by job of a timer, when it last did, in
    seconds since 1970, or null), alerted (what the last renewal could not do), storage, and
    `problems`: one sentence each, empty if well."""
    if exists(host.paths.state) and not os.access(host.paths.state, os.R_OK):
        raise HostError(f"{host.paths.state} is readable by root only: run it with sudo")
    state = host.store.load()
    docker = engine_facts.look(host, {"name": (state.network or {}).get("name")})
    folder = host.paths.certificates

    def look(name: str) -> Certificate | None:
        return certificates.facts(host.runner, folder / f"{name}.crt", folder / f"{name}.key")

    answer: dict[str, Any] = {
        "state": summary(state, docker["containers"], docker["images"], is_current(host, state)),
        "engine": docker["engine"],
        "containers": plain(docker["containers"]),
        "proxy": {"running": host.nginx.running(), "ours": is_current(host, state)},
        "certificates": {
            name: _reported(certificate) | {"use": use}
            for name, use in _USES.items()
            if (certificate := look(name))
        },
        "rotation": state.rotation and vars(state.rotation),
        "next": expiry.next_steps(host, state),
        "watched": watched(host),
        "busy": is_held(host.paths.lock),
        "window": state.window and vars(state.window),
        "contents": _of_jobs(host),
        "recovery": recovery.look(host),
        "succeeded": {job: last_success(host, job) for job in WATCHED},
        "alerted": [str(alert["text"]) for alert in state.alerted.values()],
        "storage": storage_facts.look(storage_facts.data_of(host, state), host),
    }
    in_doubt = clock_check.doubt(host, check=True)
    sentences = problems(answer, host.clock.now()) + ([in_doubt] if in_doubt else [])
    sentences += _restore_problems(host) + _expiring(host) + reports.problems(host) + overdue(host)
    answer["now"] = host.clock.now()
    sentences += storage_facts.problems(host, storage_facts.data_of(host, state))
    answer["problems"] = list(dict.fromkeys(sentences))
    return answer


def _of_jobs(host: Host) -> dict[str, Any]:
    """The last report of each job, without the list of tags, which may be very long."""
    return {
        job: {key: value for key, value in report.items() if key != "rows"}
        for job in JOBS
        if (report := reports.last_report(host, job)) is not None
    }


def _reported(certificate: Certificate) -> dict[str, Any]:
    """The certificate's facts without `trusted`, which was not checked here."""
    return {key: value for key, value in plain(certificate).items() if key != "trusted"}


def _restore_problems(host: Host) -> list[str]:
    record = restoring.load(host.paths.restoring)
    if record is None or is_held(host.paths.backup_lock):
        return []
    return [record.problem()]


def _expiring(host: Host) -> list[str]:
    try:
        return expiry.expiring(host, key_settings.load(host))
    except HostError:
        return []  # never deployed, or by an earlier version: there are no settings


def problems(answer: Mapping[str, Any], now: float) -> list[str]:
    """What a person should look at (pure)."""
    sentences = []
    if not answer["engine"]["running"]:
        state = STATES.get(answer["engine"].get("state", ""), STOPPED)
        why = state.message.format(detail=answer["engine"]["detail"]) or "start it"
        sentences.append(f"docker does not run: {why}")
    for kind, generations in answer["state"]["generations"].items():
        serving = generations["serving"]
        if serving and not serving["running"]:
            sentences.append(f"{kind} generation {serving['number']} does not run")
        # docker also calls it unhealthy after a pause, until the next check.
        elif (
            serving
            and serving["health"] == "unhealthy"
            and now - serving.get("since", 0) > _FIRST_CHECK
        ):
            sentences.append(f"{kind} generation {serving['number']} is unhealthy")
    if not answer["proxy"]["running"]:
        sentences.append("nginx does not run")
    for name, certificate in answer["certificates"].items():
        if certificate["not_after"] < now:
            sentences.append(f"the certificate {name} expired {day(certificate['not_after'])}")
    if (
        any(kind["serving"] for kind in answer["state"]["generations"].values())
        and not (answer["watched"])
    ):
        sentences.append("nothing renews the certificates by itself: run site.yml again")
    if not answer["busy"]:
        # While a command is at work, unfinished steps are normal.
        sentences += [
            f"unfinished: {step}; run site.yml again" for step in answer["state"]["pending"]
        ]
    sentences += answer["alerted"]
    return sentences


def _word(job: str) -> str:
    return JOB_WORDS.get(job, job)


def text(answer: Mapping[str, Any]) -> str:
    """The answer as text for people."""
    lines = []
    for kind, generations in answer["state"]["generations"].items():
        serving = generations["serving"]
        if serving is None:
            lines.append(f"{kind:13} none")
            continue
        name = next(
            (
                container["name"]
                for container in answer["containers"]
                if (container["kind"], container["generation"]) == (kind, serving["number"])
            ),
            "no container",
        )
        state = serving["health"] if serving["running"] else "not running"
        if state == "starting":
            # Docker's word until its first check. Our own readiness check has passed by then.
            state = "running, not checked by docker yet"
        lines.append(
            f"{kind:13} generation {serving['number']} at {serving['address']}:{serving['port']}, "
            f"{state}, container {name}"
        )
    lines.append(f"{'nginx':13} " + ("running" if answer["proxy"]["running"] else "not running"))
    for name, certificate in answer["certificates"].items():
        kind = f" ({certificate['algorithm']})" if name.startswith("signing") else ""
        lines.append(
            f"{'certificate':13} {name}{kind}, until {day(certificate['not_after'])}: "
            f"{certificate['use']}"
        )
    lines += [f"{'next':13} {step}" for step in answer["next"]]
    if answer["window"] is not None:
        until = time.strftime("%H:%M:%S UTC", time.gmtime(answer["window"]["until"]))
        lines.append(
            f"{'writes':13} are refused for {_word(answer['window']['job'])}, until {until} at the "
            "latest"
        )
    lines += _jobs_in_words(answer)
    lines += [f"{name:13} {words}" for name, words in recovery.in_words(answer["recovery"])]
    storage = answer["storage"]
    free = storage["free_bytes"] / 1e9
    lines.append(f"storage       {storage['path']} on {storage['source']}, {free:.1f} GB free")
    lines += [f"PROBLEM       {problem}" for problem in answer["problems"]]
    return "\n".join(lines)


def _jobs_in_words(answer: Mapping[str, Any]) -> list[str]:
    """The last run of each job, and when those that have not failed since last succeeded."""
    lines = []
    for job, report in answer["contents"].items():
        if job == MIRROR:
            rows = report.get("mirrors") or ()
            lines += [f"{job:13} {mirror_rows.in_words(row)}" for row in rows]
            continue
        # A problem stands below, with the others.
        words = reports.summary(report) if report["ok"] else reports.failed_at(report)
        lines.append(f"{_word(job):13} {words}")
    for job, moment in answer["succeeded"].items():
        # Each mirror says by itself when it last succeeded.
        if job == MIRROR:
            continue
        if moment is not None and answer["contents"].get(job, {}).get("ok", True):
            ago = in_words(answer["now"] - moment)
            lines.append(f"{'succeeded':13} {_word(job)}, {ago} ago")
    return lines
