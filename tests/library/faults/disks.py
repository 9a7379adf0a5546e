"""Full disks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .bench import Bench


@contextmanager
def full(bench: Bench, folder: str) -> Iterator[None]:
    """Fills the disk of this folder and keeps it full until the body has ended."""
    # Most of it at once, then again and again, because clients free space meanwhile.
    free = int(bench.run(f"df --output=avail --block-size=1K {folder} | tail -1"))
    bench.run(f"fallocate --length {max(free - 2048, 4)}K {folder}/filler")
    # dd fails each time: the disk is full and must stay full.
    filling = (
        f"while :; do dd if=/dev/zero bs=4k >>{folder}/filler 2>/dev/null || true; sleep 0.2; done"
    )
    bench.run(f"setsid sh -c '{filling}' >/dev/null 2>&1 & echo $! >/run/filling")
    try:
        bench.until(f"[ $(df --output=avail {folder} | tail -1) -lt 100 ]")
        yield
    finally:
        bench.run(f"kill -- -$(cat /run/filling); rm {folder}/filler")
