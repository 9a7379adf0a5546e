"""A module whose parameters reach no log of the host."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule


class UnloggedModule(AnsibleModule):
    """Its parameters hold secret files' contents or a registry's settings.

    AnsibleModule's own `no_log` does not keep them out of syslog and journal: what the task says
    replaces it. A task's `no_log` would hide the result too, and a parameter's would cut each of
    its values out of the result, paths and diffs included.
    """

    def _log_invocation(self) -> None:
        """That the module ran, and nothing more."""
        self.log("Invoked")
