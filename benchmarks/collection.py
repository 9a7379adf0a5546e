"""Garbage collection and check of a full registry: time, bytes freed, failed reads; MB/s.

On a test host of this machine, over SSH, in one run. The registry is filled with large layers
(10 GB of them, or `--gigabytes`) beside 2,000 tags in 200 repositories; half of the layers is
deleted, and collected while clients read and one wants to write. Check is compared with sha256sum
of the same files, by turns, the better of two each; nothing holds either back but the machine.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests/library")]

from switches import NAME, Bench, deployed

from filling import Amount, Content, Pushing, fill, missing
from filling.clients import beside
from filling.fill import LARGE
from load import Account, Target
from load.session import Session

MIB = 1024 * 1024
LAYER = 512 * MIB
SETTINGS = "/etc/wharfinger/contents.json"
BLOBS = "/var/lib/wharfinger/registry/docker/registry/v2/blobs"
HASHED = f"find {BLOBS} -name data -print0 | xargs -0 sha256sum > /dev/null"


def on_host(bench: Bench, command: str) -> tuple[float, str]:
    """Runs a command on the host as root; returns its seconds and its output."""
    began = time.monotonic()
    done = subprocess.run([*bench.ssh(), f"sudo sh -c '{command}'"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return time.monotonic() - began, done.stdout


def room(gigabytes: int) -> None:
    """Ends the program with a message if docker's disk has too little room."""
    command = ["docker", "info", "--format", "{{.DockerRootDir}}"]
    root = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    free = shutil.disk_usage(root).free / 1e9
    if free < gigabytes * 1.2 + 3:
        sys.exit(f"{root} has {free:.0f} GB free: write a smaller --gigabytes than {gigabytes}")


def check(bench: Bench) -> None:
    """Measures the check against sha256sum."""
    edit = f'sed -i "s/.check_rate.: [0-9]*/\\"check_rate\\": 0/" {SETTINGS}'
    on_host(bench, edit)
    stored = int(on_host(bench, f"du --bytes --summarize {BLOBS} | cut -f1")[1])
    seconds: dict[str, list[float]] = {"sha256sum": [], "check": []}
    for _ in range(2):
        seconds["sha256sum"].append(on_host(bench, HASHED)[0])
        seconds["check"].append(on_host(bench, "wharfinger-host check_contents --json")[0])
    rates = {name: stored / 1e6 / min(times) for name, times in seconds.items()}
    print(f"{stored / 1e9:.1f} GB in the storage")
    print(f"sha256sum of all blobs {rates['sha256sum']:8.0f} MB/s")
    ratio = rates["check"] / rates["sha256sum"]
    print(f"check                  {rates['check']:8.0f} MB/s {ratio:6.2f} x (aim 0.8)", flush=True)


def collect(bench: Bench, session: Session, content: Content) -> None:
    """Deletes half of the large layers and collects them while clients work."""
    pushing = Pushing(session, content, [LARGE])
    tags = sorted(content[LARGE].tags)
    for tag in tags[: len(tags) // 2]:
        pushing.delete(LARGE, content[LARGE].tags[tag])
    with beside(session, content, writing=True) as met:
        time.sleep(5)
        seconds, said = on_host(bench, "wharfinger-host collect --json")
        time.sleep(5)
    answer: dict[str, Any] = json.loads(said)
    assert met.writer is not None
    print(f"collection             {seconds:8.1f} s, {answer['freed'] / 1e9:.1f} GB freed")
    print(f"writes refused for     {met.writer.window:8.1f} s, with {met.writer.statuses}")
    print(f"reads meanwhile        {len(met.reads):8}, {len(met.failed)} failed")
    problems = [*met.failed, *met.writer.problems, *missing(session, content)]
    print("\n".join(problems) or "every tag that was not deleted is there in full")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=int, default=10, help="of large layers")
    gigabytes = parser.parse_args().gigabytes
    room(gigabytes)
    with deployed() as (bench, authority):
        target, admin = Target(NAME, bench.address), Account("admin", bench.password)
        session = Session(target, admin, str(authority), timeout=300)
        began = time.monotonic()
        content = fill(session, Amount(large=LAYER, layers=gigabytes * 10**9 // LAYER))
        print(f"filled in              {time.monotonic() - began:8.1f} s", flush=True)
        check(bench)
        collect(bench, session, content)


if __name__ == "__main__":
    main()
