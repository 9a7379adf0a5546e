"""Whether the ACME server answers the host, before a first certificate is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wharfinger.deployment.facts import HostFacts
from wharfinger.deployment.problems import Report
from wharfinger.host.keys.acme import account

from .acme import DIRECTORY, EMAIL, KID, url_problem
from .images import nobody_to_check


def to_ask(settings: Mapping[str, Any], host: HostFacts) -> bool:
    """Whether the host is to ask the ACME server if it answers: where no valid certificate has come
    from it yet. Later ones are the timer's matter.

    settings: the variables, of the right types. host: what `observe` answered.
    """
    if settings["certificates_tls_source"] != "acme" or url_problem(settings[DIRECTORY]):
        return False
    tls = host.certificates.tls
    valid = tls is not None and tls.not_after > (host.clock or 0)
    own = account(settings[DIRECTORY], settings[EMAIL], settings[KID])
    return not valid or own not in host.acme_accounts


def check_answer(host: HostFacts, report: Report) -> None:
    """Report an ACME server that does not answer the host: an error where nothing is served yet.

    host: `acme`, as `reachable` answered; not there where nobody was asked.
    """
    why = host.acme
    if not why or nobody_to_check(host, why):
        return
    if host.serves:
        report.warning(DIRECTORY, f"{why} (until then, what is there goes on serving)")
    else:
        report.error(DIRECTORY, f"{why}, or write certificates_tls_source: own_ca")
