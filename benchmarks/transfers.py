"""What benchmarks of pulls and of pushes share: their stack, and how they report about it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.picture import Bar, bars
from benchmarks.stack import SIDES, Stack, ratios, table

REPOSITORY = "bench/app"


class Bench:
    """A stack whose sides are compared."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.spent: dict[str, list[float]] = {side: [] for side in SIDES}

    @contextmanager
    def spending(self, side: str, size: int) -> Iterator[None]:
        """Counts the servers' CPU during the body for that side and this many bytes."""
        before = self.stack.cpu()
        yield
        self.spent[side].append((self.stack.cpu() - before) / (size / 1e9))

    def shared(
        self, name: str, requests: Sequence[Mapping[str, str]], clients: int, *words: str
    ) -> list[list[str]]:
        """Commands of clients that share these requests (curl's options); each client makes one
        after another on one connection."""
        commands = []
        for client in range(clients):
            config = self.stack.folder / f"{name}.{client}"
            config.write_text(
                "".join(
                    f'{option} = "{value}"\n'
                    for request in requests[client::clients]
                    for option, value in request.items()
                )
            )
            commands.append(self.stack.curl(REPOSITORY, *words, "--config", str(config)))
        return commands

    def tell(self, done: str, results: Mapping[str, Mapping[str, float]]) -> None:
        """Prints the ratios (`done`: pulled, pushed), and how much CPU one client has cost."""
        table(*ratios(done, results))
        spent = {side: sorted(seconds)[len(seconds) // 2] for side, seconds in self.spent.items()}
        print(
            "\nSeconds of the servers' CPU for 1 GB, one client: "
            + ", ".join(f"{side} {seconds:.2f}" for side, seconds in spent.items())
        )


def command_line(about: str | None) -> argparse.Namespace:
    """The command line: `rounds`, and `picture`, a file or None."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--picture", type=Path, help="writes an SVG there")
    return parser.parse_args()


def draw(path: Path, title: str, speeds: Mapping[str, float]) -> None:
    """MB/s by side, as bars; the target is 0.9 of the registry itself."""
    bars(
        path,
        title,
        "MB/s",
        [
            Bar("the registry itself, no TLS", speeds["direct"]),
            Bar("here, TLS", speeds["ours"], 0.9 * speeds["direct"], True),
            Bar("the usual recipe, TLS", speeds["usual"]),
        ],
    )
