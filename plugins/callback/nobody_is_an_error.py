"""Ends a run of this project's playbooks that would do nothing; Ansible would call it a success."""

from __future__ import annotations

DOCUMENTATION = """
name: nobody_is_an_error
type: aggregate
short_description: a run without hosts, or with tags that no task has, fails
description:
  - Ends the run with a message and exit code 1 where no host is in the group that a playbook of
    this project is for, where an inventory could not be read, and where no task has the tag or
    name that was asked for. Other playbooks are left alone.
options: {}
"""

import os
import sys
from pathlib import Path
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from wharfinger.inventory import no_hosts_message, selection_mistakes, unread_sources

VARIABLES = {"--tags": "ANSIBLE_RUN_TAGS", "--skip-tags": "ANSIBLE_SKIP_TAGS"}


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "nobody_is_an_error"

    def __init__(self) -> None:
        super().__init__()
        self._play: Any = None

    def v2_playbook_on_start(self, playbook: Any) -> None:
        selected = {}
        for option, variable in VARIABLES.items():
            tags = context.CLIARGS.get(option.strip("-").replace("-", "_")) or ()
            # Ansible combines the tags of the command line and of the variable.
            inherited = [tag.strip() for tag in os.environ.get(variable, "").split(",")]
            selected[variable] = [tag for tag in sorted(tags) if tag in inherited]
            selected[option] = [tag for tag in sorted(tags) if tag not in inherited]
        start = context.CLIARGS.get("start_at_task")
        everything = not start and all(tag == "all" for tags in selected.values() for tag in tags)
        if everything or not _ours(Path(playbook._file_name)):
            return
        for variable in filter(selected.get, VARIABLES.values()):
            self._display.warning(
                f"{variable} is set, so this run is not for all tasks: "
                f"{', '.join(selected[variable])}"
            )
        self._end(selection_mistakes(playbook.get_plays(), selected, start))

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._play = play
        inventory = play.get_variable_manager()._inventory
        if _ours(_file(play)):
            read = inventory._inventory.processed_sources
            self._end(unread_sources(map(str, inventory._sources), read))

    def v2_playbook_on_no_hosts_matched(self) -> None:
        if _ours(_file(self._play)):
            groups = self._play.get_variable_manager()._inventory.groups
            self._end([no_hosts_message(self._play.hosts, context.CLIARGS.get("subset"), groups)])

    def _end(self, sentences: Any) -> None:
        """Exits: an exception would only become a warning here."""
        lines = list(sentences)
        for sentence in lines:
            self._display.error(sentence)
        if lines:
            sys.exit(1)


def _ours(file: Path) -> bool:
    return file.resolve() == PROJECT / "site.yml" or file.resolve().parent == PROJECT / "playbooks"


def _file(play: Any) -> Path:
    return Path(play.get_path().rpartition(":")[0])
