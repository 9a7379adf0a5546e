"""`renew`, which the host's timer runs: completes what was interrupted, renews what is due, and
raises an alarm if that fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..deployment.fixed import JOBS
from .backup.drill_leftovers import clean_up
from .contents import reports
from .contents.maintenance import reopen
from .contents.untagged import note_untagged
from .keys import certificates, expiry
from .keys import settings as key_settings
from .keys.expiry import day
from .keys.renewal import Renewal, answer
from .keys.rotation import REVOKE, WAIT
from .observation import alert
from .observation.watching import overdue
from .rollout.generations import generations_of
from .system import clock_check, logs, storage_facts
from .system.bridge import closed
from .system.context import Host
from .system.errors import HostError
from .system.files import exists
from .system.state import KINDS

# The exit code of a container after SIGKILL.
_KILLED = 137


def renew(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`renew`: completes what an interrupted run has left, renews what is due, and continues a
    rotation. Failures are reported by certificates_alert_command and raised as one HostError, so
    that the timer's unit fails (`commands` reports what ends this earlier). No request keys.
    """
    settings = key_settings.load(host)
    if not check:
        alert.remember(host, settings.hostname, settings.alert_command)
    state = host.store.load()
    if not exists(host.paths.site):
        if state.proxy_loaded is None:
            return {"actions": []}  # the first deployment is still under way
        raise HostError(f"{host.paths.site} is gone: run site.yml, which writes it again")
    run = _Run(host, Renewal(host, state, settings, check, alone=True))
    in_doubt = clock_check.doubt(host, check=check)
    if not check:
        run.recover(rotate_logs_by_age=not in_doubt)
    if in_doubt:
        run.problems.append(f"{in_doubt}. {_waiting(host)}")
        run.go_on_with_rotation()
    else:
        run.renew()
    run.look()
    problems = run.problems
    if not check:
        news = run.renewal.news()
        failure = alert.tell(
            host, run.renewal.state, settings.hostname, settings.alert_command, problems, news
        )
        problems += [failure] if failure else []
    if problems:
        raise alert.Reported("\n".join(problems))
    return answer(run.renewal)


class _Run:
    """A run of the timer. Each part is tried, even if others have failed."""

    def __init__(self, host: Host, renewal: Renewal) -> None:
        self.host = host
        self.renewal = renewal
        self.outcome = renewal.outcome
        self.problems: list[str] = []

    @contextmanager
    def _part(self) -> Iterator[None]:
        """Makes a failure of the body a problem of this run, and continues."""
        try:
            yield
        except HostError as problem:
            self.problems.append(str(problem))
        except OSError as problem:
            where = f"{problem.filename}: " if problem.filename else ""
            self.problems.append(f"renew: {where}{problem.strerror or problem}")

    def recover(self, *, rotate_logs_by_age: bool) -> None:
        """Completes what was interrupted, and rotates logs."""
        host, outcome = self.host, self.outcome
        network = str((self.renewal.state.network or {}).get("name") or host.stack)
        with self._part():
            outcome.actions += closed(host, network, check=False)
        with self._part():
            outcome.actions += reopen(host, {}, False)["actions"]
        with self._part():
            outcome.actions += clean_up(host)
        with self._part():
            outcome.actions += logs.keep(host, by_age=rotate_logs_by_age)
        self.renewal.state = host.store.load()
        for kind in KINDS:
            with self._part():
                _repair(self.renewal, kind)

    def renew(self) -> None:
        """Renews what is due."""
        with self._part(), self.renewal.signing_key() as key:
            key.begin_if_due()
        with self._part():
            self.renewal.server.ensure()
        if not self.renewal.check:
            with self._part():
                note_untagged(self.host)

    def go_on_with_rotation(self) -> None:
        """Continues a rotation, except for steps that depend on the clock."""
        rotation = self.renewal.state.rotation
        if rotation is not None and rotation.step != WAIT:
            with self._part(), self.renewal.signing_key() as key:
                key.take_up_strays()

    def look(self) -> None:
        """Finds problems that need a person."""
        host, state = self.host, self.renewal.state
        if self.outcome.wanted is not None:
            self.problems.append(
                "certificates: the server's certificate is due, and the authority's key is not on "
                "this host (certificates_ca_offline): run playbooks/rotate_certificates.yml from "
                "the controller that has it"
            )
        self.problems += expiry.expiring(host, self.renewal.settings)
        self.problems += reports.problems(host)
        # Not RENEW, which is running now.
        self.problems += overdue(host, JOBS)
        self.problems += storage_facts.problems(host, storage_facts.data_of(host, state))


def _waiting(host: Host) -> str:
    """What is not renewed while the clock is in doubt, and when it expires."""
    ends = []
    for name, what in (
        ("tls", "the server's certificate"),
        ("signing", "the signing key's"),
        ("ca", "the authority"),
    ):
        facts = certificates.facts(host.runner, host.paths.certificates / f"{name}.crt")
        if facts is not None:
            ends.append(f"{what} ends {day(facts)}")
    return f"Not renewed meanwhile: {', '.join(ends) or 'nothing is there yet'}"


def _repair(renewal: Renewal, kind: str) -> None:
    rotation = renewal.state.rotation
    request = {
        "drain_timeout": renewal.settings.drain_timeout,
        # A revoked key is not waited for, no matter which command completes that.
        "revoke": rotation is not None and rotation.step == REVOKE,
    }
    generations = generations_of(renewal.host, renewal.state, kind, request)
    generations.repair()
    renewal.outcome.actions += generations.actions
    serving = generations.serving
    container = serving and generations.records.container(serving)
    if serving is None or (container and container.running):
        return
    if container and container.status == "exited" and container.exit_code == _KILLED:
        # docker restarts a container that ends by itself, but not after `docker kill`. A person who
        # stops it to work on the data (`docker stop`) gets another exit code.
        renewal.host.engine.start(container.name)
        renewal.outcome.actions.append(
            f"{kind}: {container.name} had been killed and is started again"
        )
    else:
        raise HostError(
            f"{kind}: the container {generations.records.name(serving.number)} does not run: start "
            "it with `docker start`, or run site.yml"
        )
