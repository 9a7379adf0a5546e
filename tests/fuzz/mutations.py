"""Seeds and their mutations, which a seeded generator makes the same in every run."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

SEEDS = Path(__file__).resolve().parent / "seeds"
# libFuzzer's usual limit.
LARGEST = 4096


def seeds(target: str) -> dict[str, bytes]:
    """Name → content of a target's committed seeds."""
    return {path.name: path.read_bytes() for path in sorted((SEEDS / target).iterdir())}


def mutants(
    originals: Sequence[bytes], words: Sequence[bytes], rng: random.Random
) -> Iterator[bytes]:
    """Endless mutations. Most stay close to the original, so that they pass the first checks."""
    while True:
        data = bytearray(rng.choice(originals))
        for _ in range(min(int(rng.expovariate(0.8)) + 1, 12)):
            _mutate(data, originals, words, rng)
        yield bytes(data[: LARGEST * 16])


def _mutate(
    data: bytearray, originals: Sequence[bytes], words: Sequence[bytes], rng: random.Random
) -> None:
    at = rng.randint(0, len(data))
    end = min(at + int(rng.expovariate(0.1)) + 1, len(data))
    kind = rng.randrange(9)
    if kind == 0:
        data[at:at] = rng.choice(words)
    elif kind == 1:
        data[at:end] = rng.choice(words)
    elif kind == 2:
        del data[at:end]
    elif kind == 3:
        # Move a line to another place.
        lines = bytes(data).split(b"\n")
        line = lines.pop(rng.randrange(len(lines)))
        lines.insert(rng.randint(0, len(lines)), line)
        data[:] = b"\n".join(lines)
    elif kind == 4:
        data[at:at] = data[at:end] * rng.choice((1, 2, 20))
    elif kind == 5:
        other = rng.choice(originals)
        start = rng.randint(0, len(other))
        data[at:end] = other[start : start + rng.choice((1, 8, 64, 512))]
    elif kind == 6 and at < len(data):
        data[at] = rng.randrange(256)
    elif kind == 7 and at < len(data):
        data[at] ^= 1 << rng.randrange(8)
    else:
        data[at:at] = bytes(rng.choices(range(32, 127), k=rng.choice((1, 2, 5))))
