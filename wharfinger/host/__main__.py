"""The command line: `wharfinger-host COMMAND [--request FILE|-] [--check]`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .commands import COMMANDS, run
from .observation.status import text
from .system.errors import HostError

# Commands that a timer or a person runs, and what they say where they had nothing to do.
_SPOKEN = {
    "renew": "nothing is due",
    "reopen": "nothing was interrupted",
    "failed": "its program has said why",
    "retention": "every tag stays",
    "collect": "there is nothing to collect",
    "check_contents": "nothing is damaged",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0, 1 (the message is on stderr; of `status`: there are problems), 2 (usage)."""
    parser = argparse.ArgumentParser(
        prog="wharfinger-host", description="Looks after this host's registry."
    )
    parser.add_argument("command", choices=sorted(COMMANDS))
    parser.add_argument(
        "--request", metavar="FILE", help="the command's request as JSON, - for standard input"
    )
    parser.add_argument("--check", action="store_true", help="only say what would be done")
    parser.add_argument(
        "--json", action="store_true", help="as JSON what is said in words otherwise"
    )
    parser.add_argument("--unit", help="`failed`: the unit that has failed")
    parser.add_argument(
        "--code", type=int, help="`failed`: its program's exit code, without systemd"
    )
    options = parser.parse_args(arguments)
    try:
        request = _request(options.request)
        if options.unit is not None:
            request |= {"unit": options.unit, "code": options.code}
        answer = run(options.command, request, check=options.check)
    except HostError as problem:
        print(f"wharfinger-host {options.command}: {problem}", file=sys.stderr)
        return 1
    if options.command == "status" and not options.json:
        print(text(answer))
        return 1 if answer["problems"] else 0
    if options.command in _SPOKEN and not options.json:
        # For the journal: what was done, and what comes next.
        lines = [*answer["actions"], *answer.get("notes", ()), *answer.get("next", ())]
        print("\n".join(lines) or _SPOKEN[options.command])
        return 0
    print(json.dumps(answer, indent=1, sort_keys=True))
    return 0


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
