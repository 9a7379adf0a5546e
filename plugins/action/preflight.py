"""Checks the inventory and the host, changes nothing, and reports all mistakes at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from wharfinger.inventory import decrypted
from wharfinger.preflight import SCOPES
from wharfinger.preflight.asking import answer_of
from wharfinger.preflight.report import mistakes, warnings
from wharfinger.preflight.resolving import resolve, role_problems
from wharfinger.preflight.session import HostFailed, Session
from wharfinger.preflight.specifications import specifications


class ActionModule(ActionBase):
    """One observation of the host, then wharfinger.preflight.check over inventory and host.

    `scope` names the playbook (wharfinger/preflight/scopes.py); the default is site. With `role`,
    only that role's variables are checked, without the host. With `reach`, the host is only
    pinged.
    """

    _VALID_ARGS = frozenset({"scope", "role", "reach"})

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Returns the fields of Deployment, `host`, `archive`; fails with all errors at once."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars, template = task_vars or {}, self._templar.template
        if "role" in self._task.args:
            problems = role_problems(self._task.args["role"], task_vars, template)
            return result | ({"failed": True, "msg": mistakes(problems)} if problems else {})
        if self._task.args.get("reach"):
            answer = self._ask(task_vars, "ansible.builtin.ping", {})
            return answer if answer.get("failed") else result
        scope = self._task.args.get("scope", "site")
        if scope not in SCOPES:
            raise AnsibleActionFail(f"scope: {scope!r} is not one of {', '.join(SCOPES)}")
        specs = specifications()
        session = Session(
            ask=lambda command, request: self._ask(
                task_vars, "wharfinger_host", {"command": command, "request": request}
            ),
            read=lambda path: decrypted(self._loader, path),
            base=task_vars.get("inventory_dir") or ".",
        )
        try:
            report, facts = session.examine(
                scope, specs, resolve(specs, task_vars, template), load_extra_vars(self._loader)
            )
        except HostFailed as error:
            return error.answer
        for warning in warnings(report.warnings):
            self._display.warning(warning)
        if report.errors:
            return result | {"failed": True, "msg": mistakes(report.errors)}
        return result | facts

    def _ask(
        self, task_vars: dict[str, Any], module: str, arguments: dict[str, Any]
    ) -> dict[str, Any]:
        return answer_of(
            lambda: self._execute_module(
                module_name=module, module_args=arguments, task_vars=task_vars
            ),
            task_vars,
        )
