"""What the host's timer runs: `renew`. It takes up what was interrupted, renews what is due, and
raises an alarm where that fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .contents import reports
from .contents.window import reopen
from .keys import certificates, keeping, renewal
from .keys.renewal import Keeper, answer, begin_if_due, day
from .keys.rotation import REVOKE, WAIT, Signing
from .observation import alert
from .observation.watching import overdue
from .rollout.generations import generations_of
from .system import clock_check, logs, storage_facts
from .system.bridge import closed
from .system.context import Host
from .system.errors import HostError
from .system.files import exists
from .system.state import KINDS

# The exit code of a container whose process was ended by SIGKILL.
_KILLED = 137


def renew(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`renew`: what the timer runs. Takes up what an interrupted run left, renews what is due, goes
    on with a rotation. Whatever fails is told to certificates_alert_command and raised as one
    HostError, so that the timer's unit fails (`commands` tells of what keeps it from getting that
    far). No request keys.
    """
    settings = keeping.load(host)
    if not check:
        alert.remember(host, settings.hostname, settings.alert_command)
    state = host.store.load()
    if not exists(host.paths.site):
        if state.proxy_loaded is None:
            return {"actions": []}  # the first deployment is still under way
        raise HostError(f"{host.paths.site} is gone: run site.yml, which writes it again")
    keeper = Keeper(host, state, settings, check, alone=True)
    problems: list[str] = []

    def attempt(part: Callable[[], None]) -> None:
        try:
            part()
        except HostError as problem:
            problems.append(str(problem))
        except OSError as problem:
            where = f"{problem.filename}: " if problem.filename else ""
            problems.append(f"renew: {where}{problem.strerror or problem}")

    from .contents.untagged import note_untagged  # only here: it takes long to import

    in_doubt = clock_check.doubt(host, check=check)
    if not check:
        name = str((state.network or {}).get("name") or host.stack)
        attempt(lambda: keeper.done.actions.extend(closed(host, name, check=False)))
        attempt(lambda: keeper.done.actions.extend(reopen(host, {}, False)["actions"]))
        attempt(lambda: keeper.done.actions.extend(logs.keep(host, by_age=not in_doubt)))
        keeper.state = state = host.store.load()
        for kind in KINDS:
            attempt(lambda kind=kind: _repair(keeper, kind))  # type: ignore[misc]
    rotation = keeper.state.rotation
    if not in_doubt:
        attempt(lambda: keeper.signing(begin_if_due))
        attempt(keeper.server)
        if not check:
            attempt(lambda: note_untagged(host))
    else:
        problems.append(f"{in_doubt}. {_waiting(host)}")
        if rotation is not None and rotation.step != WAIT:
            # What was begun goes on, up to what goes by the clock.
            attempt(lambda: keeper.signing(Signing.take_up_strays))
    if keeper.done.wanted is not None:
        problems.append(
            "certificates: the server's certificate is due, and the authority's key is not on this "
            "host (certificates_ca_offline): run playbooks/rotate_certificates.yml from the "
            "controller that has it"
        )
    problems += renewal.expiring(host, settings)
    problems += reports.problems(host)
    # Not of this one, which is at work.
    problems += overdue(host, reports.JOBS)
    problems += storage_facts.problems(host, storage_facts.data_of(host, state))
    if not check:
        failure = alert.tell(
            host, state, settings.hostname, settings.alert_command, problems, keeper.news()
        )
        problems += [failure] if failure else []
    if problems:
        raise alert.Told("\n".join(problems))
    return answer(keeper)


def _waiting(host: Host) -> str:
    """What is not renewed while the clock is in doubt, and when it ends."""
    found = []
    for name, what in (
        ("tls", "the server's certificate"),
        ("signing", "the signing key's"),
        ("ca", "the authority"),
    ):
        facts = certificates.facts(host.runner, host.paths.certificates / f"{name}.crt")
        if facts is not None:
            found.append(f"{what} ends {day(facts)}")
    return f"Not renewed meanwhile: {', '.join(found) or 'nothing is there yet'}"


def _repair(keeper: Keeper, kind: str) -> None:
    rotation = keeper.state.rotation
    request = {
        "drain_timeout": keeper.settings.drain_timeout,
        # What is revoked is not waited for, whoever ends it.
        "revoke": rotation is not None and rotation.step == REVOKE,
    }
    all_of = generations_of(keeper.host, keeper.state, kind, request)
    all_of.repair()
    keeper.done.actions += all_of.actions
    serving = all_of.serving
    container = serving and all_of.records.container(serving)
    if serving is None or (container and container.running):
        return
    if container and container.status == "exited" and container.exit_code == _KILLED:
        # docker starts whatever ends by itself, but takes `docker kill` for somebody's wish. Who
        # stops it to work on the data (`docker stop`) lets it end in order, with another code.
        keeper.host.engine.start(container.name)
        keeper.done.actions.append(f"{kind}: {container.name} had been killed and is started again")
    else:
        raise HostError(
            f"{kind}: the container {all_of.records.name(serving.number)} does not run: start it "
            "with `docker start`, or run site.yml"
        )
