"""mirror.lock beside the inventory has a line for each base image that a host has made."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from wharfinger.base_images import locked
from wharfinger.deployment.mirror_lock import NAME, LockError
from wharfinger.host.system.files import write_atomically
from wharfinger.values import plain


class ActionModule(ActionBase):
    """`images`: as the job base_images returns them.

    Returns `lines`, those that are new. Check mode writes nothing. Fails with the line that is not
    in the format.
    """

    _VALID_ARGS = frozenset({"images"})

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        path = Path((task_vars or {}).get("inventory_dir") or ".") / NAME
        day = time.strftime("%Y-%m-%d", time.gmtime())
        try:
            before = path.read_text() if path.exists() else ""
            text = locked(before, plain(self._task.args["images"]), day)
        except (LockError, OSError, UnicodeDecodeError) as problem:
            raise AnsibleActionFail(f"{path}: {problem}") from problem
        if text != before and not self._task.check_mode:
            write_atomically(path, text.encode(), 0o644)
        lines = sorted(set(text.splitlines()) - set(before.splitlines()))
        return result | {
            "changed": text != before,
            "lines": [line for line in lines if not line.startswith("#")],
        }
