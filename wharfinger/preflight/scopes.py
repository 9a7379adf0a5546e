"""What stops which playbook: a mistake that one is not about must not stand in its way.

An expired certificate is no reason to keep a user who has left; a disk that is too full for a
deployment is none to go on signing with a stolen key.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from wharfinger.deployment.problems import Problem, Report
from wharfinger.deployment.settings import stopping

#: Whoever runs the host's program at all needs these.
_PROGRAM = frozenset({"host, Python", "host, user", "host, state"})


@dataclass(frozen=True)
class Scope:
    """What a playbook is about, and so what stops it.

    topics: variables and topics of the host (`host, clock`); None: all there are. reading:
    whether any variable that is unknown, of a wrong type or cannot be resolved stops it. tells:
    whether errors about anything else are shown, as warnings.
    """

    topics: frozenset[str] | None
    reading: bool = True
    tells: bool = True

    def about(self, problem: Problem) -> bool:
        """Whether the problem is about one of the topics."""
        return self.topics is None or problem.topic in self.topics | _PROGRAM


#: What a playbook needs that replaces a container.
_ENGINE = ("host, engine", "host, nginx")
_CONTENTS = ("host, data", *_ENGINE)


def _scope(name: str, *topics: str) -> Scope:
    """The playbook's scope: its variables are in the table of settings."""
    return Scope(stopping(name) | frozenset(topics))


#: Scope → what is judged. Each is named after the playbook, `site` is site.yml.
SCOPES = {
    "site": Scope(None),
    "users": _scope("users"),
    # The host ends what the controller's clock has given an end.
    "rotate_robots": _scope("rotate_robots", "host, clock"),
    "rotate": _scope("rotate", "host, clock", *_ENGINE),
    "rollback": _scope("rollback", *_ENGINE),
    "retention": _scope("retention", *_CONTENTS),
    "garbage_collect": _scope("garbage_collect", *_CONTENTS),
    "scrub": _scope("scrub", *_CONTENTS),
    # Its former name, for a release.
    "check": _scope("scrub", *_CONTENTS),
    "remove": Scope(stopping("remove"), reading=False, tells=False),
}


def gathered(name: str, reading: Iterable[Problem], *reports: Report) -> Report:
    """One report of what stops this scope and what is worth telling there.

    reading: errors about variables that are unknown, of a wrong type or cannot be resolved.
    """
    scope = SCOPES[name]
    result = Report()
    aside: list[Problem] = []
    for problem in reading:
        stops = scope.reading or scope.about(problem)
        (result.errors if stops else result.warnings).append(problem)
    for report in reports:
        for problem in report.errors:
            (result.errors if scope.about(problem) else aside).append(problem)
        result.warnings += filter(scope.about, report.warnings)
    if scope.tells:
        result.warnings += aside
    return result
