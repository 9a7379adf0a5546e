"""Renders a role's templates on the controller and writes them in one execution on the host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"


class ActionModule(ActionBase):
    """As the template module, for several files at once: check mode and diff alike.

    Each file names either `template` (a path below templates/) or `content`.
    """

    _VALID_ARGS = frozenset({"files", "absent"})

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Returns the module's answer: changed, paths, diff."""
        super().run(tmp, task_vars)
        files = [self._rendered(file) for file in self._task.args["files"]]
        answer: dict[str, Any] = self._execute_module(
            module_name="rendered_files",
            module_args={"files": files, "absent": self._task.args.get("absent", [])},
            task_vars=task_vars,
        )
        return answer

    def _rendered(self, file: dict[str, Any]) -> dict[str, Any]:
        """The file with its template replaced by the rendered content."""
        rendered = {key: value for key, value in file.items() if key != "template"}
        if "template" in file:
            source = TEMPLATES / file["template"]
            try:
                text = source.read_text(encoding="utf-8")
            except OSError as error:
                raise AnsibleActionFail(f"{source}: cannot be read: {error.strerror}") from error
            rendered["content"] = self._templar.template(
                trust_as_template(text), escape_backslashes=False, overrides={"trim_blocks": True}
            )
        return rendered
