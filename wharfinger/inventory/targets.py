"""The hosts and tasks of a run: a run without hosts, or with an unknown tag, is a mistake."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from wharfinger.suggestions import nearest
from wharfinger.wording import listed

# How many names a message shows.
_NAMES = 20
_SPECIAL_TAGS = frozenset({"all", "always", "never", "tagged", "untagged"})


def limit_mistake(loader: Any, top: Any, limit: str) -> str | None:
    """What is wrong with a --limit that matches no host of the inventory; None if it is right.

    top: the inventory's group `all`. None also if the inventory has no hosts at all.
    """
    from ansible.inventory.manager import InventoryManager

    manager = InventoryManager(loader=loader, parse=False)
    manager.groups.update({group.name: group for group in [top, *top.get_descendants()]})
    manager.hosts.update({host.name: host for host in top.get_hosts()})
    manager.subset(limit)
    if not manager.hosts or manager.list_hosts("all"):
        return None
    return (
        f"--limit {limit}: matches no host, so nothing was done: {_hosts_by_group(manager.groups)}"
    )


def no_hosts_message(patterns: Iterable[str], limit: str | None, groups: Mapping[str, Any]) -> str:
    """Why a play's patterns, which are this project's groups, match no host.

    groups: name → Ansible's group, for the whole inventory.
    """
    pattern = ", ".join(patterns)
    group = groups.get(pattern)
    hosts = [host.name for host in group.get_hosts()] if group else []
    if hosts:
        return (
            f"--limit {limit}: matches no host of the group {pattern}, so nothing was done: "
            f"write one of {listed(hosts, _NAMES)}"
        )
    near = nearest(pattern, set(groups) - {pattern})
    instead = f"`{pattern}:` for `{near}:`" if near else f"hosts under `{pattern}:` and `hosts:`"
    return (
        f"{pattern}: no host is in this group, so nothing was done: write {instead} in the "
        f"inventory's hosts.yml; {_hosts_by_group(groups)}"
    )


def selection_mistakes(
    plays: Sequence[Any], given: Mapping[str, Iterable[str]], start: str | None
) -> list[str]:
    """A sentence for each tag that no task has, and for a start task that does not exist.

    plays: Ansible's. given: option, such as --tags → its tags. start: the value of --start-at-task.
    """
    tasks = [task for play in plays for task in _tasks(play)]
    tags = {tag for tagged in (*plays, *tasks) for tag in tagged.tags}
    names = {name for task in tasks for name in (task.name, task.get_name())}
    mistakes = [words for option in given for words in tag_mistakes(option, given[option], tags)]
    return mistakes + start_mistakes(start, names)


def tag_mistakes(option: str, given: Iterable[str], known: Collection[str]) -> list[str]:
    """A sentence for each tag of --tags or --skip-tags that no task has."""
    tags = sorted(set(known) - _SPECIAL_TAGS)
    instead = f"write one of {', '.join(tags)}" if tags else f"leave {option} out"
    return [
        f"{option} {tag}: no task has this tag, so nothing was done: {instead}"
        for tag in given
        if tag not in known and tag not in _SPECIAL_TAGS
    ]


def start_mistakes(pattern: str | None, names: Iterable[str]) -> list[str]:
    """A sentence if no task's name matches --start-at-task (a shell pattern)."""
    if pattern is None or any(
        name and (name == pattern or fnmatch(name, pattern)) for name in names
    ):
        return []
    return [
        f"--start-at-task {pattern}: no task has this name, so nothing was done: write one that "
        "--list-tasks shows"
    ]


def unread_sources(sources: Iterable[str], read: Iterable[str | None]) -> list[str]:
    """A sentence for each inventory that none of Ansible's plugins could read.

    read: the files (and lists of hosts) that a plugin has read.
    """
    files = {str(file) for file in read}
    return [
        f"{source}: cannot be read as an inventory, so nothing was done: correct it; "
        "Ansible's warnings above say why"
        for source in sources
        if source not in files and not any(Path(source) in Path(file).parents for file in files)
    ]


def _tasks(play: Any) -> list[Any]:
    """The tasks that are known before the run, as --list-tasks shows them."""
    from ansible.playbook.block import Block

    tasks: list[Any] = []
    blocks = list(play.compile())
    while blocks:
        for task in blocks.pop().block:
            (blocks if isinstance(task, Block) else tasks).append(task)
    return tasks


def _hosts_by_group(groups: Mapping[str, Any]) -> str:
    members = {
        name: [host.name for host in group.get_hosts()]
        for name, group in sorted(groups.items())
        if name != "all"
    }
    filled = [f"{name} ({listed(hosts, _NAMES)})" for name, hosts in members.items() if hosts]
    return f"the inventory has {listed(filled, _NAMES)}" if filled else "the inventory has no host"
