"""Whether the ACME server answers the host, before a first certificate is requested."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wharfinger.deployment.facts import HostFacts
from wharfinger.deployment.problems import Report
from wharfinger.host.keys.acme import account

from .acme import DIRECTORY, EMAIL, KID, url_problem
from .images import lacks_authorities


def must_be_asked(settings: Mapping[str, Any], host: HostFacts) -> bool:
    """Whether the host must check that the ACME server answers.

    It must if it has no valid certificate from this server yet. Later certificates are the timer's
    task. settings: the variables, of the right types. host: what `observe` answered.
    """
    if settings["certificates_tls_source"] != "acme" or url_problem(settings[DIRECTORY]):
        return False
    tls = host.certificates.tls
    valid = tls is not None and tls.not_after > (host.clock or 0)
    own = account(settings[DIRECTORY], settings[EMAIL], settings[KID])
    return not valid or own not in host.acme_accounts


def check_answer(host: HostFacts, report: Report) -> None:
    """Reports an ACME server that does not answer the host: an error if nothing is served yet.

    host: `acme` is what `reachable` answered; None if it was not called.
    """
    why = host.acme
    if not why or lacks_authorities(host, why):
        return
    if host.serves:
        report.warning(DIRECTORY, f"{why} (until then, the present certificate stays in use)")
    else:
        report.error(DIRECTORY, f"{why}, or write certificates_tls_source: own_ca")
