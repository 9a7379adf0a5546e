"""Renders a role's files on the controller and writes those that differ on the host."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from wharfinger import templates
from wharfinger.deployment import host_files
from wharfinger.inventory import decrypted
from wharfinger.preflight.controller import on_controller


class ActionModule(ActionBase):
    """As the template module, for several files at once: check mode and diff alike.

    `files`: each has a `path` of wharfinger/deployment/host_files.py, which has template, group,
    mode and secrecy, and `variables` for the template. Instead of a template: `content`, or
    `source`, the path of a file on the controller, relative to the inventory. `absent`: paths that
    must not exist. `digests`: path → SHA-256 or null, from preflight's observation: a file that
    already has the wanted digest is not sent to the host.
    """

    _VALID_ARGS = frozenset({"files", "absent", "digests"})

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Returns the module's answer (changed, paths, diff) and `wanted`: path → SHA-256."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        base = (task_vars or {}).get("inventory_dir")
        files = [self._rendered(file, base) for file in self._task.args["files"]]
        absent = self._task.args.get("absent") or []
        digests = self._task.args.get("digests") or {}
        wanted = {
            file["path"]: hashlib.sha256(file["content"].encode()).hexdigest() for file in files
        }
        files = [file for file in files if digests.get(file["path"]) != wanted[file["path"]]]
        absent = [path for path in absent if digests.get(path, "unknown") is not None]
        if not files and not absent:
            return result | {"changed": False, "paths": [], "diff": [], "wanted": wanted}
        answer = self._execute_module(
            module_name="rendered_files",
            module_args={"files": files, "absent": absent},
            task_vars=task_vars,
        )
        return result | answer | {"wanted": wanted}

    def _rendered(self, file: dict[str, Any], base: str | None) -> dict[str, Any]:
        """What the module takes: the row of the file with its content. base: the inventory's
        folder."""
        row = host_files.at(file["path"])
        attributes = {"path": row.path, "group": row.group, "mode": row.mode, "secret": row.secret}
        if "content" in file:
            return attributes | {"content": file["content"]}
        if "source" in file:
            path = on_controller(file["source"], {"base": base})
            return attributes | {"content": decrypted(self._loader, path).decode()}
        source = templates.FOLDER / row.template
        try:
            text = source.read_text(encoding="utf-8")
        except OSError as error:
            raise AnsibleActionFail(f"{source}: cannot be read: {error.strerror}") from error
        templar = self._templar.copy_with_new_env(
            available_variables=self._templar.available_variables | file.get("variables", {})
        )
        content = templar.template(
            trust_as_template(text), escape_backslashes=False, overrides={"trim_blocks": True}
        )
        return attributes | {"content": content}
