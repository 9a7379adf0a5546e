#!/usr/bin/python
"""Compares and writes a list of small files in one execution. Called by the action of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rendered_files
short_description: Writes a role's rendered files in one module execution
description:
  - The host's half of the action plugin of the same name, which renders the templates.
  - Each file is replaced atomically, and only if content, group or mode differ. Once the module has
    answered, the file survives a power loss.
options:
  files:
    description:
      - Each with O(files[].path), O(files[].content), and optionally O(files[].group) (its number),
        O(files[].mode) (octal text) and O(files[].secret), which keeps the content out of the diff.
    type: list
    elements: dict
    required: true
  absent:
    description: Paths that must not exist.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
author: Wharfinger developers
"""

EXAMPLES = r"""
- name: The site is in place
  rendered_files:
    files:
      - path: /etc/docker/daemon.json
"""

RETURN = r"""
paths:
  description: The files that were written or removed, or in check mode would be.
  type: list
  elements: str
  returned: always
"""

import os

from ansible.module_utils.unlogged_module import UnloggedModule
from ansible.module_utils.wharfinger_host.setup.rendered_files import bring
from ansible.module_utils.wharfinger_host.system.files import UMASK

FILE_OPTIONS = {
    "path": {"type": "str", "required": True},
    "content": {"type": "str", "required": True, "no_log": False},
    "group": {"type": "int"},
    "mode": {"type": "str", "default": "0644"},
    "secret": {"type": "bool", "default": False, "no_log": False},
}


def main() -> None:
    """Compares each file, writes what differs, and reports paths and differences."""
    module = UnloggedModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": FILE_OPTIONS,
            },
            "absent": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    os.umask(UMASK)
    files, absent = module.params["files"], module.params["absent"]
    # Ansible adds the parameters to every answer, a failure's too, and -vvv prints them.
    module.params = {"files": [file["path"] for file in files], "absent": absent}

    def set_attributes(path: str, wanted: dict) -> bool:
        attributes = {name: wanted[name] for name in ("group", "mode")}
        attributes |= {"path": path, "owner": None, "attributes": None}
        attributes["secontext"] = [None, None, None]
        return module.set_fs_attributes_if_different(attributes, False)

    paths, differences = bring(files, absent, set_attributes, check=module.check_mode)
    module.exit_json(changed=bool(paths), paths=paths, diff=differences)


if __name__ == "__main__":
    main()
