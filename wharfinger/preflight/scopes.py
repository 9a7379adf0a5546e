"""Which mistakes stop a playbook: only those that concern it.

An expired certificate must not keep a user from being removed. A disk that is too full for a
deployment must not keep a stolen key from being replaced.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from wharfinger.deployment.problems import Problem, Report
from wharfinger.deployment.settings import stopping

#: Everything that runs the host program needs these.
_PROGRAM = frozenset({"host, Python", "host, user", "host, state"})


@dataclass(frozen=True)
class Scope:
    """What concerns a playbook, and so what stops it.

    topics: variables and topics of the host (`host, clock`); None: all. reading: whether it is
    stopped by any variable that is unknown, has a wrong type or cannot be resolved. tells: whether
    all other errors are shown as warnings.
    """

    topics: frozenset[str] | None
    reading: bool = True
    tells: bool = True

    def about(self, problem: Problem) -> bool:
        """Whether the problem is about one of the topics."""
        return self.topics is None or problem.topic in self.topics | _PROGRAM


#: What a playbook needs if it replaces a container.
_ENGINE = ("host, engine", "host, nginx")
_CONTENTS = ("host, data", *_ENGINE)


def _scope(name: str, *topics: str) -> Scope:
    """The playbook's scope: these topics, and its variables in the table of settings."""
    return Scope(stopping(name) | frozenset(topics))


#: Name → scope. Each is named after its playbook; `site` is site.yml.
SCOPES = {
    "site": Scope(None),
    "users": _scope("users"),
    # The controller's clock sets the end of an overlap, and the host's clock applies it.
    "rotate_robots": _scope("rotate_robots", "host, clock"),
    "rotate": _scope("rotate", "host, clock", *_ENGINE),
    "rollback": _scope("rollback", *_ENGINE),
    "retention": _scope("retention", *_CONTENTS),
    "garbage_collect": _scope("garbage_collect", *_CONTENTS),
    "scrub": _scope("scrub", *_CONTENTS),
    "backup": _scope("backup", "host, data"),
    "backup_drill": _scope("backup_drill", "host, data", "host, engine"),
    "mirror": _scope("mirror", "mirror.lock", "host, data"),
    "base_images": _scope("base_images", "host, data", "host, nginx"),
    # It ends with site.yml.
    "restore": Scope(None),
    "remove": Scope(stopping("remove"), reading=False, tells=False),
}


def report_of_scope(name: str, reading: Iterable[Problem], *reports: Report) -> Report:
    """One report: the errors that stop this scope, and the warnings that are shown in it.

    reading: errors about variables that are unknown, have a wrong type or cannot be resolved.
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
