"""The command line: `wharfinger-host COMMAND [--request FILE|-] [--check]`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from .commands import COMMANDS, run
from .system.errors import HostError


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0, 1 (message on stderr; for `status`: there are problems), 2 (usage)."""
    parser = argparse.ArgumentParser(
        prog="wharfinger-host", description="Looks after this host's registry."
    )
    parser.add_argument("command", metavar="COMMAND", help=", ".join(sorted(COMMANDS)))
    parser.add_argument(
        "--request", metavar="FILE", help="the command's request as JSON, - for standard input"
    )
    parser.add_argument("--check", action="store_true", help="only say what would be done")
    parser.add_argument(
        "--json", action="store_true", help="print the answer as JSON instead of words"
    )
    for row in COMMANDS.values():
        for option in row.options:
            parser.add_argument(f"--{option.name}", type=option.type, help=option.help)
    options = parser.parse_args(arguments)
    command = COMMANDS.get(options.command)
    if command is None:
        parser.error(_unknown(options.command))
    try:
        request = _request(options.request)
        for option in command.options:
            if (value := getattr(options, option.name)) is not None:
                request[option.name] = value
        answer = run(command.name, request, check=options.check)
    except HostError as problem:
        print(f"wharfinger-host {options.command}: {problem}", file=sys.stderr)
        return 1
    said = None if options.json else command.said(answer)
    if said is not None:
        print(said[0])
        return said[1]
    print(json.dumps(answer, indent=1, sort_keys=True))
    return 0


def _unknown(word: str) -> str:
    """The message for a command that does not exist."""
    meant = get_close_matches(word, COMMANDS, n=1)
    instead = f"did you mean {meant[0]}?" if meant else "wharfinger-host --help names all commands"
    return f"there is no command '{word}': {instead}"


def _request(source: str | None) -> dict[str, Any]:
    if source is None:
        return {}
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text()
        request = json.loads(text)
    except (OSError, ValueError) as problem:
        raise HostError(f"--request {source}: not a readable JSON file ({problem})") from problem
    if not isinstance(request, dict):
        raise HostError(f"--request {source}: the JSON must be an object")
    return request


if __name__ == "__main__":
    sys.exit(main())
