"""What a job of the host has done, as an operator reads it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from wharfinger.host.contents.mirror_rows import drift
from wharfinger.host.contents.storage.sentences import UNREAD
from wharfinger.values import readable_size

# At most so many rows are shown; the task's result and the host's report have all.
_ROWS = 200


def lines(job: str, answer: Mapping[str, Any], *, check: bool) -> list[str]:
    """What the host program has answered for a job.

    check: in check mode nothing was done, and the answer says what would be done.
    """
    sentences = _LINES[job](answer, "would be " if check else "")
    refused = answer.get("window_seconds")
    if refused:
        sentences.append(f"pushes were refused for {refused:.0f} s, pulls went on")
    if answer.get("held"):
        sentences.append(f"The brake would stop this: {answer['held']}")
    if answer.get("doubt"):
        sentences.append(f"Nothing would be removed: {answer['doubt']}")
    damage = [
        f"{'Kept whole' if finding.get('kind') == UNREAD else 'Damaged'}: {finding['sentence']}"
        for finding in answer.get("damage") or ()
    ]
    return sentences + damage


def _retention(answer: Mapping[str, Any], would: str) -> list[str]:
    rows = answer["rows"]
    gone = [row for row in rows if not row["keep"]]
    named = sum(row["rule"] is not None for row in rows)
    sentences = [
        f"{len(gone)} of {len(rows)} tags {would}removed; "
        f"{len(rows) - named} in repositories that no rule names"
    ]
    words = [
        (f"{row['repository']}:{row['tag']}", _day(row["pushed"]), f"rule {row['rule']}")
        for row in gone[:_ROWS]
    ]
    widths = [max(map(len, column)) for column in zip(*words, strict=True)] if words else []
    for row, cells in zip(gone, words, strict=False):
        shown = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        sentences.append(f"{shown}  {row['reason']}")
    if len(gone) > _ROWS:
        sentences.append(f"and {len(gone) - _ROWS} more")
    if gone:
        sentences.append("their space is freed by playbooks/garbage_collect.yml or its timer")
    return sentences


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))


def _collect(answer: Mapping[str, Any], would: str) -> list[str]:
    if not answer["blobs"] and not answer["untagged"]:
        return ["nothing to collect: everything is in use, or too young (registry_untagged_keep)"]
    return [
        f"{readable_size(answer['freed'])} {would}freed: {answer['untagged']} manifests that no "
        f"tag leads to, {answer['blobs']} blobs"
    ]


def _check(answer: Mapping[str, Any], would: str) -> list[str]:
    if would:
        return ["everything would be read and compared with its digest; nothing is changed"]
    stale = [str(finding["sentence"]) for finding in answer.get("stale") or ()]
    stale += [
        str(finding["sentence"])
        for finding in answer.get("harmless") or ()
        if finding["kind"] == UNREAD
    ]
    # A host of an earlier version does not count them.
    absent = answer.get("not_mirrored")
    return [
        f"{answer['blobs']} blobs, {readable_size(answer['bytes'])}, read in "
        f"{answer['seconds']:.0f} s: nothing is damaged",
        *([f"members of indexes that are not mirrored: {absent}"] if absent else []),
        *stale[:_ROWS],
        *([f"and {len(stale) - _ROWS} more"] if len(stale) > _ROWS else []),
    ]


def _backup(answer: Mapping[str, Any], would: str) -> list[str]:
    if would:
        return [*answer["actions"]]
    return [
        f"backup {answer['snapshot']}: {answer['tags']} tags, {answer['manifests']} manifests, "
        f"{readable_size(answer['bytes'])}; the repository grew by "
        f"{readable_size(answer['added'])}; {answer['seconds']:.0f} s"
    ]


def _base_images(answer: Mapping[str, Any], would: str) -> list[str]:
    if would:
        return [*answer["actions"]]
    return [
        *(answer["actions"] or ["Debian's archive has not changed, so nothing was made"]),
        *(f"{made['to']}:{made['tag']} is {made['source']}" for made in answer["images"]),
    ]


def _drill(answer: Mapping[str, Any], would: str) -> list[str]:
    if would:
        return [*answer["actions"]]
    return [
        f"snapshot {answer['snapshot']}: {answer['sample']} of {answer['tags']} tags restored, "
        f"served and compared: {answer['manifests']} manifests, {answer['blobs']} blobs, "
        f"{readable_size(answer['bytes'])}",
        *(
            [f"restored at {readable_size(answer['speed'])} per second"]
            if answer.get("speed")
            else []
        ),
        f"part {answer['turn']} of {answer['turns']} of the repository was read and is whole; "
        f"{answer['seconds']:.0f} s",
    ]


def _mirror(answer: Mapping[str, Any], would: str) -> list[str]:
    if would:
        return [*answer["actions"]] or ["every locked tag is here"]
    counts = ", ".join(f"{number} to {name}" for name, number in sorted(answer["requests"].items()))
    return [
        *answer["actions"][:_ROWS],
        f"{answer['locked']} tags are locked and here, {answer['copied']} of them copied now; "
        f"requests: {counts or 'none'}; {answer['seconds']:.0f} s",
        *(f"{row['to']}: {words}" for row in answer["mirrors"] for words in drift(row)),
    ]


_LINES = {
    "retention": _retention,
    "collect": _collect,
    "check_contents": _check,
    "backup": _backup,
    "drill": _drill,
    "mirror": _mirror,
    "base_images": _base_images,
}
