"""How much memory the stack takes: idle, and with 64 clients that pull or push blobs of growing
size. Registry, token server and nginx with its workers, each page counted once (PSS); the files
that the kernel keeps in memory meanwhile are its own to drop. dockerd, which is the host's, apart.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from benchmarks.pushes import BODY, REPOSITORY, Bench
from benchmarks.stack import MB, Stack, contents, running, table, together

CLIENTS = 64


def pss(pids: list[int]) -> float:
    """Megabytes; memory that processes share is divided among them."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in text.splitlines() if line[:4] == "Pss:")
    return total * 1024 / MB


def named(*names: str) -> list[int]:
    """This host's own processes, not those of a docker within a container."""
    processes = subprocess.run(
        ["pgrep", "-x", "|".join(names)], capture_output=True, text=True, check=False
    )
    return [
        int(pid)
        for pid in processes.stdout.split()
        if "/docker/" not in Path(f"/proc/{pid}/cgroup").read_text()
    ]


class Watch:
    """The most memory that each part takes while it is watched."""

    def __init__(self, stack: Stack) -> None:
        assert stack.nginx
        self.parts = {
            "nginx": [stack.nginx.pid, *stack.nginx_workers()],
            "registry": [stack.processes["registry"]],
            "token server": [stack.processes["token_server"]],
        }
        self.most: dict[str, float] = {}
        self._on = False

    def look(self) -> None:
        sizes = {part: pss(pids) for part, pids in self.parts.items()}
        sizes["all"] = sum(sizes.values())
        self.most = {part: max(value, self.most.get(part, 0)) for part, value in sizes.items()}

    def __enter__(self) -> Watch:
        self.most = {}
        self._on = True
        self._thread = threading.Thread(target=self._go_on)
        self._thread.start()
        return self

    def _go_on(self) -> None:
        while self._on:
            self.look()
            time.sleep(0.2)

    def __exit__(self, *_: object) -> None:
        self._on = False
        self._thread.join()

    def row(self, what: str, seconds: float | None = None) -> list[str]:
        shown = [f"{self.most[part]:.0f}" for part in (*self.parts, "all")]
        return [what, *shown, "" if seconds is None else f"{seconds:.0f}"]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 400], help="in MB")
    parser.add_argument("--seconds", type=int, default=20, help="at most, for each")
    options = parser.parse_args()
    limit = ("--max-time", str(options.seconds))
    rows = []
    with running() as stack:
        bench = Bench(stack)
        watch = Watch(stack)
        time.sleep(2)
        with watch:
            time.sleep(3)
        rows.append(watch.row("idle"))
        # The kernel keeps only 15 letters of a name.
        engine = pss(named("dockerd", "containerd", "containerd-shim"))
        for size in options.sizes:
            digest = stack.push(REPOSITORY, contents(size * MB))
            address = f"{stack.sides['ours']}/v2/{REPOSITORY}/blobs/{digest}"
            command = stack.curl(REPOSITORY, *limit, "--output", "/dev/null", address)
            with watch:
                took = together([command] * CLIENTS, patience=options.seconds)
            rows.append(watch.row(f"{CLIENTS} clients pull {size} MB", took))
        for size in options.sizes:
            path, digest = bench.file(size * MB)
            command = stack.curl(REPOSITORY, *BODY, *limit, "--upload-file", str(path))
            addresses = bench.begun("ours", CLIENTS)
            with watch:
                took = together(
                    [[*command, f"{address}&digest={digest}"] for address in addresses],
                    patience=options.seconds,
                )
            rows.append(watch.row(f"{CLIENTS} clients push {size} MB", took))
            bench.clean()
            path.unlink()
        table(["most at any moment (MB)", *watch.parts, "all", "seconds"], rows)
        print(f"\nThe host's own dockerd, containerd and shims beside them: {engine:.0f} MB.")
        print(f"A phase is cut short after {options.seconds} s: what it takes is known by then.")


if __name__ == "__main__":
    main()
