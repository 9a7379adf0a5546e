#!/usr/bin/env python3
"""Fuzz for any length of time. Inputs that fail become seeds, which ./test fuzz then always tries.

    tests/fuzz/long.py --minutes 30                      every target, and the running server
    tests/fuzz/long.py --minutes 5 --target reader       one (may be repeated)
    tests/fuzz/long.py --count 100000                    this many mutations of each target

With --minutes, atheris guides the search by coverage if it is installed (linux x86_64), and keeps
what it found in ~/.cache/wharfinger/fuzz. With --count, mutations depend on --seed alone and are
the same each time. `wire` sends them to a server that is started for this.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import itertools
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

if not __package__:
    # When this runs as a file, Python looks for modules in tests/fuzz, but ours are below the root
    # and tests/library.
    root = Path(__file__).resolve().parents[2]
    sys.path[:1] = [str(root), str(root / "tests/library")]

from support.token_server import make_key, settings, started, stopped
from tests.fuzz import evidence, mutations, targets, wire

PROJECT = Path(__file__).resolve().parents[2]
CORPUS = Path.home() / ".cache/wharfinger/fuzz"
HEADING = "Any bytes: requests, configuration, patterns, the socket"
WIRE = "wire"
# An input of a few kilobytes that takes longer than this many seconds is a failure.
SLOWEST = 20
MEGABYTES = 2048


@dataclass
class Result:
    """The result for one target: the method, the number of inputs, and what was found."""

    target: str
    how: str
    count: int = 0
    seconds: float = 0.0
    saved: list[Path] = field(default_factory=list)
    # Problems other than failing inputs: of the run, or of the server after it.
    problems: list[str] = field(default_factory=list)
    note: str = ""

    @property
    def failures(self) -> int:
        return len(self.saved) + len(self.problems)


def save(target: str, data: bytes) -> Path:
    """Save a failing input as a seed."""
    path = mutations.SEEDS / target / f"found-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return path


def guided(target: str, seconds: float, seed: int) -> Result:
    """Fuzz a target under atheris, in a separate process."""
    result = Result(target, "atheris, guided by coverage")
    corpus = CORPUS / target
    corpus.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        words = Path(folder) / "words"
        words.write_text(
            "".join(
                '"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n'
                for word in targets.WORDS[target]
            )
        )
        command = [
            *(sys.executable, str(PROJECT / "tests/fuzz/guided.py"), target),
            *(str(corpus), str(mutations.SEEDS / target)),
            *(f"-max_total_time={int(seconds)}", f"-seed={seed}", f"-dict={words}"),
            *(f"-artifact_prefix={folder}/found-", f"-max_len={mutations.LARGEST}"),
            *(f"-timeout={SLOWEST}", f"-rss_limit_mb={MEGABYTES}", "-print_final_stats=1"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT)
        result.seconds = time.monotonic() - begun
        units = re.findall(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
        runs = re.findall(r"^#(\d+)\s", done.stderr, re.MULTILINE)
        result.count = int((units or runs or ["0"])[-1])
        for path in Path(folder).glob("found-*"):
            result.saved.append(save(target, path.read_bytes()))
        if done.returncode and not result.saved:
            print(done.stderr[-3000:], file=sys.stderr)
            result.problems.append(f"atheris ended with {done.returncode}")
        elif done.returncode:
            reasons = re.findall(r"^[\w.]*(?:Error|Exception)\b.*", done.stderr, re.MULTILINE)
            reason = reasons[-1] if reasons else done.stderr[-2000:]
            print(f"{target}: {reason}", file=sys.stderr)
    return result


def plain(target: str, seconds: float | None, count: int | None, seed: int) -> Result:
    """Try mutations of the seeds, one after the other, in this process."""
    result = Result(target, "mutations of the seeds")
    originals = list(mutations.seeds(target).values())
    rng = random.Random(f"{target}:{seed}")
    mutants = mutations.mutants(originals, targets.WORDS[target], rng)
    begun = time.monotonic()
    for data in _bounded(itertools.chain(originals, mutants), seconds, count):
        result.count += 1
        try:
            targets.TARGETS[target](data)
        except Exception as error:
            path = save(target, data)
            if path in result.saved:
                continue
            result.saved.append(path)
            print(f"{target}: {type(error).__name__}: {error}", file=sys.stderr)
            if len(result.saved) >= 5:
                break
    result.seconds = time.monotonic() - begun
    return result


def _bounded(inputs: Iterator[bytes], seconds: float | None, count: int | None) -> Iterator[bytes]:
    end = time.monotonic() + seconds if seconds is not None else None
    for number, data in enumerate(inputs):
        if (count is not None and number >= count) or (end and time.monotonic() > end):
            return
        yield data


def over_the_wire(seconds: float | None, count: int | None, seed: int) -> Result:
    """Start a server and hold conversations over its socket."""
    result = Result(WIRE, "mutations of the seeds, over a socket")
    with tempfile.TemporaryDirectory() as folder:
        make_key(Path(folder))
        server = started(Path(folder) / "auth_config.yml", settings(Path(folder)))
        try:
            inputs = _bounded(iter(wire.conversations(seed)), seconds, count)
            outcome = wire.run(server, inputs, seed=seed)
        finally:
            stopped(server)
    result.count, result.seconds = outcome.requests, outcome.seconds
    for reason, data in outcome.failures[:20]:
        print(f"{WIRE}: {reason}", file=sys.stderr)
        if data:
            result.saved.append(save(WIRE, data))
        else:
            result.problems.append(reason)
    if outcome.files[1] > outcome.files[0]:
        result.problems.append(f"open files: {outcome.files[0]} → {outcome.files[1]}")
    statuses = ", ".join(f"{name}: {n:,}" for name, n in sorted(outcome.statuses.items()))
    grown = f"{outcome.memory[0] // 1024} → {outcome.memory[1] // 1024} MiB"
    result.note = f"answers {statuses}; memory {grown}"
    return result


def report(results: Sequence[Result], command: str) -> str:
    """The chapter for the page of evidence."""
    seeds = {name: len(mutations.seeds(name)) for name in (*targets.TARGETS, WIRE)}
    return evidence.chapter(
        HEADING,
        [
            "`request`: a request's query, form and headers; `reader`: any bytes as configuration;",
            "`pattern`: globs against an independent reading of Go's path.Match, expressions",
            "against RE2; `decision`: entries and questions against the tests' own reading of",
            "docker_auth;",
            "`wire`: any bytes on a running server's socket. What each promises is in",
            "tests/fuzz/targets.py and tests/fuzz/wire.py.",
            "",
            evidence.made(command, sum(result.seconds for result in results)),
            "",
            "| target | how | seeds | inputs | seconds | failures | |",
            "|---|---|---|---|---|---|---|",
            *(
                f"| {result.target} | {result.how} | {seeds[result.target]} | {result.count:,} "
                f"| {result.seconds:.0f} | {result.failures} | {result.note} |"
                for result in results
            ),
        ],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Fuzz the token server.")
    amount = parser.add_mutually_exclusive_group(required=True)
    amount.add_argument("--minutes", type=float, help="for so long in all")
    amount.add_argument("--count", type=int, help="so many inputs of each target")
    parser.add_argument("--target", action="append", choices=[*targets.TARGETS, WIRE])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="without atheris")
    parser.add_argument("--report", type=Path, help="put a chapter on this page (Markdown)")
    options = parser.parse_args(arguments)
    names = options.target or [*targets.TARGETS, WIRE]
    seconds = options.minutes * 60 / len(names) if options.minutes else None
    can_guide = importlib.util.find_spec("atheris") is not None and not options.plain
    results = []
    for name in names:
        if name == WIRE:
            result = over_the_wire(seconds, options.count, options.seed)
        elif seconds is not None and can_guide:
            result = guided(name, seconds, options.seed)
        else:
            result = plain(name, seconds, options.count, options.seed)
        results.append(result)
        print(
            f"{name}: {result.count:,} inputs in {result.seconds:.0f} s, "
            f"{result.failures} failures; {result.note}".rstrip("; "),
            flush=True,
        )
        for problem in result.problems:
            print(f"  {problem}")
        for path in result.saved:
            print(f"  saved: {os.path.relpath(path)}")
    amount_given = f"--minutes {options.minutes:g}" if seconds else f"--count {options.count}"
    command = f"tests/fuzz/long.py {amount_given} --seed {options.seed}"
    command += "".join(f" --target {name}" for name in options.target or ())
    command += " --plain" if options.plain else ""
    if options.report:
        evidence.write(options.report, HEADING, report(results, command))
    return 1 if any(result.failures for result in results) else 0


if __name__ == "__main__":
    raise SystemExit(main())
