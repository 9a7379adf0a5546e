"""Loads the filters before the first task, and keeps what is loaded from the garbage collector."""

from __future__ import annotations

DOCUMENTATION = """
name: loaded_once
type: aggregate
short_description: what a run needs to its end is loaded and looked through once
description:
  - Ansible runs each task in a process of its own, a copy of the main one. Filters and tests that
    are not loaded there are searched for and loaded again in every task that uses one.
  - Modules that are loaded stay until the run ends, but Python's garbage collector looks through
    all their objects again and again, and once more at the end of the run.
options: {}
"""

import gc
from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import filter_loader, test_loader


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "loaded_once"

    def v2_playbook_on_start(self, playbook: Any) -> None:
        for loader in (filter_loader, test_loader):
            list(loader.all())
        gc.freeze()
