"""Refuses variables that cannot be read, and a --limit that matches no host."""

from __future__ import annotations

DOCUMENTATION = """
name: readable_variables
short_description: group_vars and host_vars are checked before Ansible reads them
description:
  - Has no variables itself. It checks the files of all hosts that a playbook may be for, and of
    their groups, at once, and ends the run if there is a mistake, with file and line but no value.
options:
  stage:
    ini:
      - {key: stage, section: vars_readable_variables}
    default: inventory
    choices: [inventory]
    description: Before any variable is read.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible import context
from ansible.errors import AnsibleOptionsError, AnsibleParserError
from ansible.plugins.vars import BaseVarsPlugin

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from wharfinger.inventory import (
    given_mistakes,
    limit_mistake,
    report,
    variable_mistakes,
)

# The groups that this project's playbooks are for.
GROUPS = ("registry", "clients")


class VarsModule(BaseVarsPlugin):
    """Called for each group and host after the inventory is parsed; the first call checks all."""

    judged = False

    def get_vars(
        self, loader: Any, path: str, entities: Sequence[Any], cache: bool = True
    ) -> dict[str, Any]:
        super().get_vars(loader, path, entities)
        if VarsModule.judged or entities[0].name != "all":
            return {}
        VarsModule.judged = True
        top = entities[0]
        # For an empty directory no source is parsed, so no inventory plugin has checked it.
        mistakes = given_mistakes(context.CLIARGS, PROJECT)
        if not mistakes:
            sources = map(str, context.CLIARGS.get("inventory") or ())
            folders = [Path(path) if Path(path).is_dir() else Path(path).parent for path in sources]
            playbooks = context.CLIARGS.get("args") or ()
            folders += [Path(path).resolve().parent for path in playbooks if Path(path).is_file()]
            # Ansible reads no variables of other hosts; their vault may be another team's.
            hosts = _ours(top) or top.get_hosts()
            groups = dict.fromkeys(group.name for host in hosts for group in host.get_groups())
            names = [host.name for host in hosts]
            mistakes = variable_mistakes(loader, folders, ["all", *groups], names)
        if mistakes:
            raise AnsibleParserError(report(mistakes))
        limit = context.CLIARGS.get("subset")
        mistake = limit_mistake(loader, top, limit) if limit else None
        if mistake:
            raise AnsibleOptionsError(mistake)
        return {}


def _ours(top: Any) -> list[Any]:
    """The hosts of this project's playbooks. top: the inventory's group `all`."""
    groups = [group for group in top.get_descendants() if group.name in GROUPS]
    return list(dict.fromkeys(host for group in groups for host in group.get_hosts()))
