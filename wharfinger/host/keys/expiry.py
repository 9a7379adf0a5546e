"""Rotations that are under way, and what is about to expire, as sentences for people."""

from __future__ import annotations

import time

from ...deployment.certificate import Certificate
from ..system import durations
from ..system.context import Host
from ..system.errors import HostError
from ..system.state import State
from . import certificates
from . import settings as key_settings
from .due import DAY, renew_from
from .rotation import NEXT, WAIT
from .settings import Settings


def next_steps(host: Host, state: State) -> list[str]:
    """What is under way, one sentence each."""
    sentences = []
    if state.rotation is not None:
        text = NEXT[state.rotation.step]
        if state.rotation.step == WAIT and state.rotation.until is not None:
            text += f" (until {moment(state.rotation.until)})"
        sentences.append(f"{text}; the timer goes on with it, or playbooks/rotate_certificates.yml")
    previous = _previous_authority(host)
    if previous is not None:
        sentences.append(
            f"clients may still know only the previous authority, which ends {day(previous)}: once "
            "all trust the present one, run playbooks/rotate_certificates.yml -e rotate=ca -e "
            "finish=true"
        )
    return sentences


def _previous_authority(host: Host) -> Certificate | None:
    """The previous authority, which may be the only one that clients know; None if the server's
    certificate is not of the host's own authority."""
    try:
        if key_settings.load(host).tls_source != "own_ca":
            return None
    except HostError:
        return None
    return certificates.facts(host.runner, host.paths.certificates / "ca_previous.crt")


def moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def day(certificate: Certificate) -> str:
    return durations.day(certificate.not_after)


def expiring(host: Host, settings: Settings) -> list[str]:
    """What is about to expire and cannot be renewed by the timer, or should have been by now."""
    folder, now, sentences = host.paths.certificates, host.clock.now(), []
    tls = certificates.facts(host.runner, folder / "tls.crt")
    if tls is not None and now > renew_from(tls, settings.renew_days):
        if settings.tls_source == "provided":
            sentences.append(
                f"certificates: the provided certificate ends {day(tls)}: bring its successor "
                "and run site.yml"
            )
        elif now > tls.not_after - DAY:
            sentences.append(f"certificates: the server's certificate ends {day(tls)}")
    previous = _previous_authority(host)
    if previous is not None and now > previous.not_after - settings.renew_days * DAY:
        sentences.append(
            f"certificates: the previous authority ends {day(previous)}, and clients may know only "
            "that one: let all trust the present one, then run "
            "playbooks/rotate_certificates.yml -e rotate=ca -e finish=true"
        )
    authority = certificates.facts(host.runner, folder / "ca.crt")
    if (
        authority is not None
        and settings.tls_source == "own_ca"
        and now > authority.not_after - settings.renew_days * DAY
    ):
        sentences.append(
            f"certificates: the authority ends {day(authority)}: run "
            "playbooks/rotate_certificates.yml -e rotate=ca"
        )
    return sentences
