"""Compares, writes or removes small files that a role has rendered, and returns differences."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..system.files import sync_directory, write_atomically

#: Sets the group and mode of a path; returns whether something had to be changed.
SetAttributes = Callable[[str, Mapping[str, Any]], bool]


def bring(
    files: Sequence[Mapping[str, Any]],
    absent: Sequence[str],
    set_attributes: SetAttributes,
    *,
    check: bool,
) -> tuple[list[str], list[dict[str, str]]]:
    """Writes files that differ and removes those that must not exist; with `check`, only returns
    that.

    files: each with `path`, `content`, `group`, `mode` and `secret`, as the module's options.
    Returns the paths that were changed, and the differences as Ansible's --diff shows them.
    """
    paths, differences = [], []
    for wanted in files:
        path, before = str(wanted["path"]), _read(wanted["path"])
        if not _write(wanted, before, set_attributes, check):
            continue
        paths.append(path)
        if wanted["secret"]:
            differences.append(
                {"prepared": f"{path}: changed; its content is secret and not shown\n"}
            )
        elif before != wanted["content"]:
            differences.append(
                {
                    "before_header": path,
                    "after_header": path,
                    "before": before or "",
                    "after": str(wanted["content"]),
                }
            )
    for path in filter(os.path.lexists, absent):
        paths.append(path)
        if not check:
            Path(path).unlink()
            sync_directory(Path(path).parent)
    return paths, differences


def _read(path: str) -> str | None:
    """The file's text; None if there is no file."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _write(
    wanted: Mapping[str, Any], before: str | None, set_attributes: SetAttributes, check: bool
) -> bool:
    """Gives a file the wanted content and attributes; returns whether something changed."""
    path = Path(wanted["path"])
    changed: bool = before != wanted["content"]
    if changed and not check:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = int(wanted["mode"], 8)
        write_atomically(path, wanted["content"].encode(), mode, group=wanted["group"])
    if path.exists():
        changed = set_attributes(str(path), wanted) or changed
    return changed
