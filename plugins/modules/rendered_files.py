#!/usr/bin/python
"""Compares and writes a list of small files in one execution. Called by the action of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rendered_files
short_description: Writes a role's rendered files in one module execution
description:
  - The host's half of the action plugin of the same name, which renders the templates.
  - Each file is replaced atomically, and only where content, group or mode differ; once the module
    has answered, the file outlives a power loss.
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
      - {path: /etc/nginx/sites-enabled/site, template: nginx/wharfinger.conf.j2, mode: "0644"}
"""

RETURN = r"""
paths:
  description: The files that were written or removed, or in check mode would be.
  type: list
  elements: str
  returned: always
"""

import os
from pathlib import Path

from ansible.module_utils.unlogged_module import UnloggedModule
from ansible.module_utils.wharfinger_host.system.files import (
    UMASK,
    sync_directory,
    write_atomically,
)

FILE_OPTIONS = {
    "path": {"type": "str", "required": True},
    "content": {"type": "str", "required": True, "no_log": False},
    "group": {"type": "int"},
    "mode": {"type": "str", "default": "0644"},
    "secret": {"type": "bool", "default": False, "no_log": False},
}


def read(path: str) -> str | None:
    """The file's text, or None where there is no file."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def write(module: UnloggedModule, wanted: dict) -> bool:
    """Brings one file to the wanted content and attributes; True where something changed."""
    path = wanted["path"]
    changed = read(path) != wanted["content"]
    if changed and not module.check_mode:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(
            Path(path), wanted["content"].encode(), int(wanted["mode"], 8), group=wanted["group"]
        )
    if Path(path).exists():
        changed = attributes(module, path, wanted) or changed
    return changed


def attributes(module: UnloggedModule, path: str, wanted: dict) -> bool:
    """Group and mode as wanted; True where one of them had to be changed."""
    return module.set_fs_attributes_if_different(
        {
            "path": path,
            "owner": None,
            "group": wanted["group"],
            "mode": wanted["mode"],
            "secontext": [None, None, None],
            "attributes": None,
        },
        False,
    )


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
    paths, differences = [], []
    for wanted in files:
        path, before = wanted["path"], read(wanted["path"])
        if not write(module, wanted):
            continue
        paths.append(path)
        if wanted["secret"]:
            differences.append(
                {"prepared": f"{path}: changed; its content is secret and not shown\n"}
            )
            continue
        if before != wanted["content"]:
            differences.append(
                {
                    "before_header": path,
                    "after_header": path,
                    "before": before or "",
                    "after": wanted["content"],
                }
            )
    for path in absent:
        if os.path.lexists(path):
            paths.append(path)
            if not module.check_mode:
                Path(path).unlink()
                sync_directory(Path(path).parent)
    module.exit_json(changed=bool(paths), paths=paths, diff=differences)


if __name__ == "__main__":
    main()
