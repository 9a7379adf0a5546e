"""Checks all hosts of the inventory's group `registry` together, whatever --limit says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from wharfinger.deployment.problems import Report
from wharfinger.inventory.hosts import REGISTRIES
from wharfinger.preflight.report import mistakes
from wharfinger.preflight.together import check_together, described

# Scope → whether its playbook does more than change users and secrets. Playbooks of other scopes
# write no files on the controller.
SCOPES = {"site": True, "rotate": True, "users": False, "rotate_robots": False}


class ActionModule(ActionBase):
    """wharfinger.preflight.together.check_together. Run it once, after preflight of all hosts.

    `scope` names the playbook, as for preflight. No host is contacted: hosts outside the run's
    limit are known by their variables.
    """

    _VALID_ARGS = frozenset({"scope"})

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Fails with all errors at once."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        names = task_vars["groups"].get(REGISTRIES, [])
        scope = self._task.args.get("scope", "site")
        if scope not in SCOPES or len(names) < 2:
            return result
        report = Report()
        every = task_vars["hostvars"]
        hosts = {
            str(name): described(str(name), every.raw_get(name), every[name]) for name in names
        }
        check_together(hosts, report, deploys=SCOPES[scope])
        for warning in report.warnings:
            self._display.warning(str(warning))
        if report.errors:
            result.update(failed=True, msg=mistakes(report.errors))
        return result
