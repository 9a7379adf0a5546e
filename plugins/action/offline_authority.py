"""The certificate authority whose key stays on the controller: it signs what a host requests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from wharfinger.credentials.authority import OfflineAuthority
from wharfinger.host.system.errors import HostError


class ActionModule(ActionBase):
    """`wanted`: the host's request (wharfinger/host/keys/authority.py); returns `signed`.
    `adopted`: the authority that the host has now; if it is the prepared one, it moves into place.
    `key`: the present authority's key, which moves here from the host.
    """

    _VALID_ARGS = frozenset({"wanted", "adopted", "key", "credentials", "hostname"})

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Fails with a message about what is missing and how to provide it."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self._task.args
        folder = Path(arguments["credentials"])
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority = OfflineAuthority(folder, str(arguments["hostname"]))
        if "adopted" in arguments:
            result["changed"] = authority.adopt(str(arguments["adopted"]).encode())
            return result
        if "key" in arguments:
            result["changed"] = authority.take(str(arguments["key"]).encode())
            return result
        try:
            result["signed"] = authority.sign(arguments["wanted"])
        except HostError as problem:
            raise AnsibleActionFail(str(problem)) from problem
        result["changed"] = True
        return result
