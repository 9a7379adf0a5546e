"""A module's answer; if the host cannot be examined, with advice about what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleError

from .connection import advice


def answer_of(
    execute: Callable[[], dict[str, Any]], task_vars: Mapping[str, Any]
) -> dict[str, Any]:
    """The answer of `execute`, which runs a module on the host.

    If the host cannot be reached or examined, the error, or the failed answer, begins with advice
    about what to do.
    """
    try:
        answer = execute()
    except AnsibleError as error:
        words = _advice(str(error), task_vars)
        if words is None:
            raise
        unreachable = isinstance(error, AnsibleConnectionFailure)
        kind = AnsibleConnectionFailure if unreachable else AnsibleActionFail
        raise kind(words) from None
    if answer.get("failed"):
        texts = (answer.get(key) for key in ("msg", "module_stderr", "module_stdout"))
        words = _advice("\n".join(str(text) for text in texts if text), task_vars)
        if words is not None:
            return {"failed": True, "msg": words}
    return answer


def _advice(text: str, task_vars: Mapping[str, Any]) -> str | None:
    sources = task_vars.get("ansible_inventory_sources") or ["INVENTORY"]
    sentence = advice(text, task_vars, " -i ".join(map(str, sources)))
    if sentence is None:
        return None
    return f"the host cannot be looked at; nothing was changed.\n  - {sentence}\n{text.strip()}"
