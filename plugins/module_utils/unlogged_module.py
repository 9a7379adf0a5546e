"""A module whose parameters are not logged on the host."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule


class UnloggedModule(AnsibleModule):
    """For parameters that hold the contents of secret files or a registry's settings.

    AnsibleModule's own `no_log` does not keep them out of syslog and journal, because the task's
    value replaces it. `no_log` for the task would hide the result, too. `no_log` for a parameter
    would remove each of its values from the result, even from paths and diffs.
    """

    def _log_invocation(self) -> None:
        """Logs only that the module ran."""
        self.log("Invoked")
