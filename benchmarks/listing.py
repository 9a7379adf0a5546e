"""How long it takes to list 2,000 tags in 200 repositories: `wharf` against curl in a loop.

The toolkit's own registry, token server (bcrypt of cost 10) and nginx on this machine; all sides
share its cores. curl is measured twice: one for each repository with the tokens at hand, which is
not what anybody has, and one for the token and one for the tags. Medians of alternating runs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests/library")]

from filling import Amount, Content
from filling.fill import batched, small
from load.record import Attempt
from load.session import Account, Session, Target
from local.registries import ADDRESS, Served, ours
from support.program import registry_program

USER, PASSWORD = "admin", "admin-pw"

# Each script reads lines "REPOSITORY[ TOKEN]" and prints each repository's list of tags.
WITH_TOKENS = """
while read -r name token; do
  curl -sS --cacert "$CA" -H "Authorization: Bearer $token" "https://$REGISTRY/v2/$name/tags/list"
done
"""
WITHOUT = """
while read -r name; do
  token=$(curl -sS --cacert "$CA" --netrc-file "$NETRC" --get "https://$REGISTRY/auth" \\
    --data-urlencode "service=$REGISTRY" --data-urlencode "scope=repository:$name:pull" |
    sed 's/.*"token":"\\([^"]*\\)".*/\\1/')
  curl -sS --cacert "$CA" -H "Authorization: Bearer $token" "https://$REGISTRY/v2/$name/tags/list"
done
"""


class Bench:
    """A filled registry, and the ways to list it."""

    def __init__(self, served: Served, home: Path, amount: Amount) -> None:
        self.served = served
        self.session = Session(
            Target(ADDRESS, ADDRESS, served.port), Account(USER, PASSWORD), str(served.ca)
        )
        content = Content()
        small(self.session, content, amount)
        self.names = sorted(content.repositories)
        self.tags = len(list(content.tags))
        netrc = home / "netrc"
        netrc.write_text(f"machine {ADDRESS} login {USER} password {PASSWORD}\n")
        netrc.chmod(0o600)
        self.environment = os.environ | {
            "HOME": str(home),
            "CA": str(served.ca),
            "REGISTRY": served.name,
            "NETRC": str(netrc),
        }
        self.environment.pop("DOCKER_CONFIG", None)
        self._run([*self._wharf("login"), "--user", USER, "--password-stdin"], PASSWORD)

    def _wharf(self, command: str) -> list[str]:
        program = str(Path(sys.executable).with_name("wharf"))
        return [program, command, self.served.name, "--cacert", str(self.served.ca)]

    def _run(self, command: list[str], text: str = "") -> str:
        done = subprocess.run(
            command, input=text, env=self.environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    def wharf(self) -> float:
        """Seconds, including the start of the program and the catalog."""
        began = time.monotonic()
        output = self._run([*self._wharf("repositories"), "--tags"])
        seconds = time.monotonic() - began
        assert len(output.splitlines()) == self.tags
        return seconds

    def curl(self, script: str, lines: list[str]) -> float:
        """Seconds of a loop over repositories that are already known."""
        began = time.monotonic()
        output = self._run(["bash", "-c", script], "\n".join(lines) + "\n")
        seconds = time.monotonic() - began
        lists = output.replace("}{", "}\n{").splitlines()
        assert sum(len(json.loads(tag_list)["tags"]) for tag_list in lists) == self.tags
        return seconds

    def with_tokens(self) -> float:
        """One curl for each repository, with a token that already exists."""
        lines = []
        for together in batched(self.names):
            scope = " ".join(f"repository:{name}:pull" for name in together)
            token = self.session.authorization(Attempt(), scope)["Authorization"].split()[1]
            lines += [f"{name} {token}" for name in together]
        return self.curl(WITH_TOKENS, lines)

    def without(self) -> float:
        """Two curls for each repository."""
        return self.curl(WITHOUT, self.names)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repositories", type=int, default=200)
    parser.add_argument("--tags", type=int, default=10, help="in each of them")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    if not shutil.which("curl"):
        sys.exit("curl is not installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "home").mkdir()
        (folder / "registry-data").mkdir()
        program = registry_program(folder)
        with ours(folder / "registry-data", program, cost=10) as served:
            bench = Bench(served, folder / "home", Amount(options.repositories, options.tags))
            sides: dict[str, Callable[[], float]] = {
                "wharf repositories --tags": bench.wharf,
                "one curl per repository, tokens at hand": bench.with_tokens,
                "two curls per repository, token and tags": bench.without,
            }
            seconds: dict[str, list[float]] = {side: [] for side in sides}
            for _ in range(options.runs):
                for side, run in sides.items():
                    seconds[side].append(run())
    medians = {side: statistics.median(times) for side, times in seconds.items()}
    ours_took = medians["wharf repositories --tags"]
    print(f"{bench.tags} tags in {len(bench.names)} repositories, median of {options.runs}")
    print(f"{'':42} {'s':>6} {'x wharf':>8}")
    for side, took in medians.items():
        print(f"{side:42} {took:6.2f} {took / ours_took:8.2f}")


if __name__ == "__main__":
    main()
