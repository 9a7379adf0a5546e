"""What stops which playbook: a mistake that one is not about must not stand in its way.

An expired certificate is no reason to keep a user who has left; a disk that is too full for a
deployment is none to go on signing with a stolen key.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .report import Report

#: Whoever runs the host's program at all needs these.
_PROGRAM = frozenset({"host, Python", "host, user", "host, state"})


@dataclass(frozen=True)
class Scope:
    """What a playbook is about, and so what stops it.

    subjects: variables and topics of the host (`host, clock`); None: all there are. reading:
    whether any variable that is unknown, of a wrong type or cannot be resolved stops it. tells:
    whether errors about anything else are shown, as warnings.
    """

    subjects: frozenset[str] | None
    reading: bool = True
    tells: bool = True

    def about(self, sentence: str) -> bool:
        """Whether the sentence is about one of the subjects."""
        return self.subjects is None or subject(sentence) in self.subjects | _PROGRAM


#: Retention, collection and check: one file of the host holds the settings of all three.
_CONTENTS = Scope(
    frozenset(
        {
            "registry_retention",
            "registry_retention_schedule",
            "registry_untagged_keep",
            "registry_gc_max_minutes",
            "registry_gc_schedule",
            "registry_check_rate",
            "registry_check_schedule",
            "registry_drain_timeout",
            "storage_path",
            "host, data",
            "host, engine",
            "host, nginx",
        }
    )
)

_ACCESS = ("registry_users", "registry_robots", "registry_groups", "registry_access")

#: Scope → what is judged. Each is named after the playbook, `site` is site.yml.
SCOPES = {
    "site": Scope(None),
    "users": Scope(
        frozenset(
            {
                *_ACCESS,
                "registry_auth",
                # What the token server's configuration is made of beside them.
                "registry_hostname",
                "registry_port",
                "registry_drain_timeout",
                "docker_auth_server",
                "docker_auth_token_lifetime",
                "docker_auth_account_failures",
                "docker_auth_known_failures",
                "docker_auth_address_failures",
            }
        )
    ),
    "rotate_robots": Scope(
        frozenset(
            {
                *_ACCESS,
                "registry_auth",
                "registry_hostname",
                "registry_port",
                "registry_drain_timeout",
                "docker_auth_token_lifetime",
                "docker_auth_account_failures",
                "docker_auth_known_failures",
                "docker_auth_address_failures",
                # The host ends what the controller's clock has given an end.
                "host, clock",
            }
        )
    ),
    "rotate": Scope(
        frozenset(
            {
                "registry_hostname",
                "registry_extra_hostnames",
                "registry_auth",
                "registry_drain_timeout",
                "docker_auth_token_lifetime",
                "certificates_tls_source",
                "certificates_ca_days",
                "certificates_tls_days",
                "certificates_signing_days",
                "certificates_renew_days",
                "certificates_ca_offline",
                "certificates_acme_directory",
                "certificates_acme_email",
                "certificates_acme_eab_kid",
                "certificates_acme_eab_hmac_key",
                "certificates_alert_command",
                "host, clock",
                "host, engine",
                "host, nginx",
            }
        )
    ),
    "rollback": Scope(
        frozenset(
            {
                "registry_hostname",
                "registry_auth",
                "registry_drain_timeout",
                "host, engine",
                "host, nginx",
            }
        )
    ),
    "retention": _CONTENTS,
    "garbage_collect": _CONTENTS,
    "check": _CONTENTS,
    "remove": Scope(frozenset({"storage_path"}), reading=False, tells=False),
}


def subject(sentence: str) -> str:
    """What a sentence is about: the variable, without the place in it, or `host, TOPIC`."""
    head = sentence.partition(":")[0]
    first, _, rest = head.partition(", ")
    return f"{first}, {rest}" if first == "host" else first


def gathered(scope: str, reading: Iterable[str], *reports: Report) -> Report:
    """One report of what stops this scope and what is worth telling there.

    reading: errors about variables that are unknown, of a wrong type or cannot be resolved.
    """
    one = SCOPES[scope]
    result = Report()
    aside: list[str] = []
    for sentence in reading:
        if one.reading or one.about(sentence):
            result.errors.append(sentence)
        else:
            result.warnings.append(sentence)
    for report in reports:
        for sentence in report.errors:
            (result.errors if one.about(sentence) else aside).append(sentence)
        result.warnings += filter(one.about, report.warnings)
    if one.tells:
        result.warnings += aside
    return result
