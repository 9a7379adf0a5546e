"""Looks what the upstreams of registry_mirrors have now, and writes mirror.lock."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from wharfinger import mirrors
from wharfinger.deployment import mirror_lock
from wharfinger.host.system.files import write_atomically
from wharfinger.values import plain


class ActionModule(ActionBase):
    """The host asks the upstreams, since it has the network; only the controller writes the lock.

    `mirrors`: registry_mirrors. In check mode nothing is written.
    """

    _VALID_ARGS = frozenset({"mirrors"})

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Returns `lines` (what has changed, for the operator) and `problems` (what could not be
        looked at)."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        path = Path((task_vars or {}).get("inventory_dir") or ".") / mirror_lock.NAME
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        entries, _ = mirrors.examine(plain(self._task.args["mirrors"]))
        request = {"mirrors": [entry.settings() for entry in entries], "lock": text}
        answer = self._execute_module(
            module_name="wharfinger_host",
            module_args={"command": "look_upstream", "request": request},
            task_vars=task_vars,
        )
        if answer.get("failed"):
            return answer
        # Upstreams may take long, and base images are locked in the same file.
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        today = datetime.now(UTC).strftime("%Y-%m-%d")
        before = mirror_lock.parse(text)
        update = mirrors.updated(before, entries, answer["mirrors"], today)
        new = mirror_lock.written(update.lines)
        changed = update.lines != before
        if changed and not self._task.check_mode:
            write_atomically(path, new.encode(), 0o644)
        return result | {
            "changed": changed,
            "diff": {"before": text, "after": new, "before_header": str(path)} if changed else {},
            "lines": update.changes or ["upstream has what mirror.lock says"],
            "problems": update.problems,
        }
