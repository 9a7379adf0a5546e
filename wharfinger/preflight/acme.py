"""What `certificates_tls_source: acme` needs in the inventory and in files on the controller."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from wharfinger.deployment.problems import Refuse, Report

from .certificates import CA, read_certificates, read_file, roots_among
from .names import is_address
from .report import shown

DIRECTORY = "certificates_acme_directory"
SERVER_CA = "certificates_acme_ca"
EMAIL = "certificates_acme_email"
KID = "certificates_acme_eab_kid"
HMAC = "certificates_acme_eab_hmac_key"

_EXAMPLE = "https://acme-v02.api.letsencrypt.org/directory"
_PUBLIC = ("letsencrypt.org",)
# No public authority may certify these: RFC 6761, RFC 6762, RFC 8375, ICANN's .internal, and other
# domains that people use privately.
_PRIVATE = (
    *("internal", "local", "localhost", "localdomain", "lan", "home", "corp", "intranet"),
    *("test", "example", "invalid", "home.arpa", "onion"),
)


def check_acme(checked: Mapping[str, Any], refuse: Refuse) -> None:
    """Reports values of the inventory that prevent an ACME certificate.

    refuse: as Report.error. No message holds the external account's key.
    """
    for number, name in enumerate(checked.get("registry_extra_hostnames", []), 1):
        if is_address(name):
            refuse(
                "registry_extra_hostnames",
                f"{shown(name)} is an address, and certificates_tls_source acme works for names "
                "only: remove it, or write certificates_tls_source: own_ca",
                f"entry {number}",
            )
    directory = checked.get(DIRECTORY)
    if directory is not None:
        problem = url_problem(directory)
        if problem:
            refuse(DIRECTORY, problem)
        elif str(urlsplit(directory).hostname).endswith(_PUBLIC):
            _check_public(checked, refuse)
    email = checked.get(EMAIL)
    if email and not re.fullmatch(r"[^@\s,-][^@\s,]*@[^@\s,]+\.[^@\s,]+", email):
        refuse(
            EMAIL,
            f"{shown(email)} is not an e-mail address: write one like admin@example.com, or "
            "remove the line",
        )
    _check_binding(checked, refuse)


def url_problem(text: str) -> str | None:
    try:
        parts = urlsplit(text)
        fine = parts.scheme == "https" and parts.hostname and parts.port != 0
    except ValueError:
        fine, parts = False, urlsplit("")
    if not fine or not re.fullmatch(r"[!-~]+", text):
        return (
            f"{shown(text)} is not an https:// URL: write the URL of the ACME server's directory, "
            f"like {_EXAMPLE}"
        )
    if "@" in parts.netloc:
        return f"{shown(text)} has credentials in it: write the URL without what precedes the @"
    return None


def _check_public(checked: Mapping[str, Any], refuse: Refuse) -> None:
    names = [("registry_hostname", "", checked.get("registry_hostname"))]
    for number, name in enumerate(checked.get("registry_extra_hostnames", []), 1):
        names.append(("registry_extra_hostnames", f"entry {number}", name))
    for topic, place, name in names:
        if not name or is_address(name):
            continue
        if "." not in name or name.endswith(tuple(f".{end}" for end in _PRIVATE)):
            refuse(
                topic,
                f"{shown(name)} is not a name in public DNS, and Let's Encrypt certifies only "
                f"those: write a public name, or an ACME server of your own into {DIRECTORY}",
                place,
            )


def _check_binding(checked: Mapping[str, Any], refuse: Refuse) -> None:
    kid, hmac = checked.get(KID), checked.get(HMAC)
    if kid is None or hmac is None:
        return  # reported already
    for name, value, other, given in ((KID, kid, HMAC, hmac), (HMAC, hmac, KID, kid)):
        if given and not value:
            refuse(
                name,
                f"is empty, but {other} is given: write both as the authority gave them, "
                "or remove both",
            )
    if kid and not re.fullmatch(r"[!-~]+", kid):
        refuse(KID, "has blanks or other characters in it: write it as the authority gave it")
    if hmac and not re.fullmatch(r"[A-Za-z0-9_-]+={0,2}", hmac):
        refuse(
            HMAC,
            "is not base64url, which has letters, digits, - and _ only: write it as the authority "
            "gave it (where that has + and /: - for +, _ for /)",
        )


def check_acme_files(
    good: Mapping[str, Any], controller: Mapping[str, Any], report: Report
) -> None:
    """Reports what is wrong with the authorities' files on the controller."""
    if good.get(SERVER_CA):
        read_certificates(SERVER_CA, read_file(SERVER_CA, good, controller, report), good, report)
    if good.get(CA):
        bundle = read_certificates(CA, read_file(CA, good, controller, report), good, report)
        if bundle is not None and not roots_among(bundle):
            report.error(
                CA,
                f"{shown(good[CA])} holds no root certificate (one that signs itself): "
                "write the file of the root that clients must trust",
            )
    elif good.get(SERVER_CA):
        report.warning(
            CA,
            f"is empty, so clients must know the authority already, and {SERVER_CA} says that not "
            "every system does: write the file of the root that they must trust",
        )
