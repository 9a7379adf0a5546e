"""Finds, makes or keeps each user's bcrypt hash. The host keeps hashes; passwords stay here."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from wharfinger.credentials.accounts import accounts, check_regenerate
from wharfinger.credentials.errors import CredentialsError
from wharfinger.credentials.folder import Credentials
from wharfinger.credentials.rotation import rotate
from wharfinger.inventory.hosts import accounts_elsewhere, robots_left_out


class ActionModule(ActionBase):
    """What `wharfinger.credentials.accounts.accounts` answers for this host. Run it with no_log.

    Arguments: `users` and `robots` (registry_users, registry_robots), `credentials` (the directory
    for generated passwords), `regenerate` (a user's name, or empty), `rotation` (what `rotated`
    answered, or empty), `state`: with `renewed` it only makes the new password of `regenerate`
    (once for all hosts), which a later call without it then takes over; with `rotated`, likewise,
    the new secrets of the robots `names`, as `wharfinger.credentials.rotation.rotate` says.
    """

    _VALID_ARGS = frozenset(
        {"users", "robots", "credentials", "regenerate", "rotation", "state"}
        | {"names", "hosts", "overlap", "overlap_ends"}
    )

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Changes nothing on the host, except that `prepare` makes the verification's secret."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        credentials = Credentials(Path(self._task.args["credentials"]), self._task.check_mode)
        states = {"rotated": self._rotated, "renewed": self._renewed}
        act = states.get(self._task.args.get("state"), self._accounts)
        try:
            return result | act(credentials, task_vars or {})
        except CredentialsError as error:
            raise AnsibleActionFail(str(error)) from None

    def _rotated(self, credentials: Credentials, task_vars: dict[str, Any]) -> dict[str, Any]:
        arguments = self._task.args
        answer, warnings = rotate(
            credentials,
            [str(name) for name in arguments["names"]],
            list(arguments["hosts"]),
            robots_left_out(task_vars),
            datetime.now(UTC),
            overlap=int(arguments["overlap"]),
            overlap_ends=bool(arguments.get("overlap_ends")),
        )
        for warning in warnings:
            self._display.warning(warning)
        return answer

    def _renewed(self, credentials: Credentials, task_vars: dict[str, Any]) -> dict[str, Any]:
        name = self._task.args["regenerate"]
        check_regenerate(name, self._task.args["users"])
        credentials.generate(name, replace=True)
        return {"changed": True}

    def _accounts(self, credentials: Credentials, task_vars: dict[str, Any]) -> dict[str, Any]:
        users, robots, name = map(self._task.args.get, ("users", "robots", "regenerate"))
        check_regenerate(name, users)
        prepared: dict[str, Any] = self._execute_module(
            module_name="wharfinger_host", module_args={"command": "prepare"}, task_vars=task_vars
        )
        if prepared.get("failed"):
            return prepared
        rotation, others = self._task.args.get("rotation") or {}, accounts_elsewhere(task_vars)
        return accounts(credentials, users, robots, prepared, rotation, name, others)
