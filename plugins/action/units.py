"""A role's systemd units and timers on the host, or its crontabs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from wharfinger.deployment import host_files


class ActionModule(ActionBase):
    """The units of `role` in wharfinger/deployment/host_files.py are in place, its timers run.

    `host`: preflight's observation. `timers`: job → the values that its template calls `timer`; the
    timers of other jobs are removed. A host on which nothing differs is not contacted.
    """

    _VALID_ARGS = frozenset({"role", "host", "timers"})

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Returns the answer of rendered_files and `started`, the names of the timers."""
        super().run(tmp, task_vars)
        host, timers = self._task.args["host"], self._task.args.get("timers") or {}
        systemd = host["init"] == host_files.SYSTEMD
        files = host_files.of_role(self._task.args["role"], host["init"], timers)
        ended = host_files.left_over(self._task.args["role"], host["init"], timers, host["files"])
        for file in ended:
            if file.timer_link and systemd:
                timer = {"name": file.name, "enabled": False, "state": "stopped"}
                self._module("systemd_service", timer, task_vars)
        answer = self._written(
            {
                "files": host_files.requests(files, timers),
                "absent": [file.path for file in ended],
                "digests": host["files"],
            },
            task_vars,
        )
        started = host_files.stale_timers(files, answer["wanted"], host["files"])
        if systemd and (answer["changed"] or started):
            self._module("systemd_service", {"daemon_reload": True}, task_vars)
        for name in started:
            timer = {"name": name, "enabled": True, "state": "restarted"}
            self._module("systemd_service", timer, task_vars)
        cron = not systemd and bool(files) and not host["watched"]
        if cron:
            self._module("service", {"name": "cron", "state": "started"}, task_vars)
        changed = answer["changed"] or bool(started) or cron
        return answer | {"changed": changed, "started": started}

    def _written(self, arguments: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        task = self._task.copy()
        task.args = arguments
        names = ("connection", "play_context", "loader", "templar", "shared_loader_obj")
        surroundings = {name: getattr(self, f"_{name}") for name in names}
        loader = self._shared_loader_obj.action_loader
        action = loader.get("rendered_files", task=task, **surroundings)
        answer: dict[str, Any] = action.run(task_vars=task_vars)
        if answer.get("failed"):
            raise AnsibleActionFail(str(answer.get("msg")), result=answer)
        return answer

    def _module(self, name: str, arguments: dict[str, Any], task_vars: Any) -> None:
        if self._task.check_mode:
            return
        answer = self._execute_module(
            module_name=f"ansible.builtin.{name}", module_args=arguments, task_vars=task_vars
        )
        if answer.get("failed"):
            raise AnsibleActionFail(f"{name}: {answer.get('msg')}", result=answer)
