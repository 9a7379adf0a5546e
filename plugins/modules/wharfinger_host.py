#!/usr/bin/python
"""A thin door to the host program (wharfinger/host): one command of it, with check mode."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wharfinger_host
short_description: Runs one command of the host program
description:
  - Runs a command of C(wharfinger/host) in the module's own process on the host, so that nothing
    needs to be installed there first. The installed copy (C(wharfinger-host)) runs the same code.
options:
  command:
    description: The command's name, such as V(observe), V(prepare) or V(ensure).
    type: str
    required: true
  request:
    description: The command's request, as its docstring in C(wharfinger/host) says.
    type: dict
    default: {}
attributes:
  check_mode:
    description: With C(--check) the command says what it would do and does nothing.
    support: full
  diff_mode:
    description: The actions are the diff.
    support: partial
author: Wharfinger developers
"""

EXAMPLES = r"""
- name: What this host is like is known
  wharfinger_host:
    command: observe
    request: {storage_path: /var/lib/wharfinger/registry}
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be done, one sentence each.
  type: list
  elements: str
  returned: always
"""

from ansible.module_utils.unlogged_module import UnloggedModule
from ansible.module_utils.wharfinger_host.commands import run
from ansible.module_utils.wharfinger_host.system.errors import HostError


def main() -> None:
    """Runs the command and reports its answer; a HostError becomes the task's message."""
    module = UnloggedModule(
        argument_spec={
            "command": {"type": "str", "required": True},
            "request": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    command, request = module.params["command"], module.params["request"]
    # Ansible adds the parameters to every answer and -vvv prints them: not a registry's settings.
    module.params = {"command": command}
    try:
        answer = run(command, request, check=module.check_mode)
    except HostError as error:
        module.fail_json(msg=str(error))
    # ansible-core 2.19 complains to the operator if the answer has `warnings`.
    for warning in answer.pop("warnings", ()):
        module.warn(warning)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
