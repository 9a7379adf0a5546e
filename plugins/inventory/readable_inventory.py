"""Refuses an inventory that does not exist or cannot be read, before Ansible reads it."""

from __future__ import annotations

DOCUMENTATION = """
name: readable_inventory
short_description: the inventory's files are checked before Ansible reads them
description:
  - Reads no inventory itself. It is enabled before the other plugins, checks the files that C(-i)
    and C(-e @file) name, and ends the run if there is a mistake, with file and line but no value.
options: {}
"""

import sys
from pathlib import Path

from ansible import context
from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from wharfinger.inventory import given_mistakes, report


class InventoryModule(BaseInventoryPlugin):
    """Created before any source is parsed: later, Ansible would print what it cannot read."""

    NAME = "readable_inventory"
    judged = False

    def __init__(self) -> None:
        super().__init__()
        if InventoryModule.judged:
            return
        InventoryModule.judged = True
        mistakes = given_mistakes(context.CLIARGS, PROJECT)
        if mistakes:
            raise AnsibleParserError(report(mistakes))

    def verify_file(self, path: str) -> bool:
        return False
