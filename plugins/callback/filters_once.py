"""Loads the filters before the first task, so that not every task loads them again."""

from __future__ import annotations

DOCUMENTATION = """
name: filters_once
type: aggregate
short_description: filters and tests are loaded once a run
description:
  - Ansible runs each task in a process of its own, a copy of the main one. Filters and tests that
    are not loaded there are searched for and loaded again in every task that uses one.
options: {}
"""

from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import filter_loader, test_loader


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "filters_once"

    def v2_playbook_on_start(self, playbook: Any) -> None:
        for loader in (filter_loader, test_loader):
            list(loader.all())
