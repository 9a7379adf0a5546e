"""Can this host run the stack? The checks use `observe`'s answer and never ask the host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wharfinger.deployment.facts import HostFacts
from wharfinger.deployment.problems import Report
from wharfinger.host.system.durations import in_words

from .host_names import check_name
from .host_network import check_engine, check_network, version
from .host_nginx import check_metrics, check_nginx, check_ports
from .host_storage import check_space, check_storage, check_users

#: Distributions that the tests cover: (id, version) of os-release.
DISTRIBUTIONS = frozenset({("debian", "12"), ("debian", "13"), ("ubuntu", "24.04")})
ARCHITECTURES = ("amd64", "arm64")
PYTHON = (3, 11)


def check_host(
    good: Mapping[str, Any],
    host: HostFacts,
    controller: Mapping[str, Any],
    report: Report,
) -> None:
    """Reports why this host cannot run the stack.

    good: checked variables (durations and sizes as numbers); a missing one was reported already,
    and is not checked. host: missing parts (of a host too old to be observed) are not checked.
    controller: `clock`, epoch seconds before and after the observation.
    """
    _check_system(host, report)
    _check_state(host, report)
    _check_clock(good, host, controller, report)
    check_ports(good, host, report)
    check_nginx(good, host, report)
    check_metrics(good, host, report)
    check_engine(host, report)
    check_network(good, host, report)
    check_users(host, report)
    check_storage(good, host, report)
    check_space(good, host, report)
    check_name(good, host, report)


def _check_system(host: HostFacts, report: Report) -> None:
    system = host.distribution
    if system and (system.id, system.version) not in DISTRIBUTIONS:
        report.error(
            "host, distribution",
            f"{system.name or system.id} is not supported: use Debian 12 or 13, or Ubuntu 24.04",
        )
    architecture = host.architecture
    if architecture and architecture not in ARCHITECTURES:
        report.error(
            "host, architecture",
            f"{architecture} is not supported: use {' or '.join(ARCHITECTURES)}",
        )
    python = host.python
    if python and version(python) < PYTHON:
        report.error(
            "host, Python",
            f"{python} is too old: use Python 3.11 or newer, as Debian 12 and Ubuntu 24.04 have it",
        )
    if host.uid != 0:
        report.error(
            "host, user",
            f"the tasks run as user id {host.uid} and need root: "
            "write ansible_become: true and connect as a user who may sudo",
        )


def _check_state(host: HostFacts, report: Report) -> None:
    # The error itself says what to do. The other checks do not know what the host remembers.
    if host.state.error:
        report.error("host, state", host.state.error)


def _check_clock(
    good: Mapping[str, Any],
    host: HostFacts,
    controller: Mapping[str, Any],
    report: Report,
) -> None:
    clock = host.clock
    if clock is None:
        return
    before, after = controller["clock"]
    ahead, behind = clock - after, before - clock
    off = max(ahead, behind)
    if off > good.get("preflight_clock_tolerance", 60):
        report.error(
            "host, clock",
            f"it is {in_words(off)} {'ahead of' if ahead > behind else 'behind'} the controller's, "
            "and tokens and certificates would not be valid: set whichever is wrong "
            "(systemd-timesyncd or chrony keeps it right)",
        )
