"""`python -m load`: a load from the command line.

    PYTHONPATH=tests/library .venv/bin/python -m load --name registry.example.com \
        --address 10.0.0.5 --ca ca.crt --user admin --password-file FILE \
        --seconds 60 --report load.json

Each line of standard input begins the phase of that name. Ends after --seconds, or at the end of
the input. Exit code 1 where an operation failed.
"""

from __future__ import annotations

import shlex
import sys
import threading
from pathlib import Path

from . import Load, arguments
from .report import table


def main() -> int:
    """The command line."""
    parser = arguments.parser("load", __doc__, may="push and pull load/**")
    parser.add_argument("--seconds", type=float, help="without: until the input ends")
    parser.add_argument("--report", help="a file for the report, as JSON")
    for tool in ("docker", "containerd"):
        parser.add_argument(f"--{tool}", help=f"'ssh HOST sudo': where a real {tool} is used too")
    options = parser.parse_args()
    over = threading.Event()

    def listen(load: Load) -> None:
        for line in sys.stdin:
            load.phase(line.strip())
        if options.seconds is None:
            over.set()

    with Load(arguments.target(options), arguments.account(options), options.ca) as load:
        load.phase("steady")
        for tool in ("docker", "containerd"):
            if command := getattr(options, tool):
                load.add_real(tool, shlex.split(command))
        threading.Thread(target=listen, args=(load,), daemon=True).start()
        over.wait(options.seconds)
    report = load.report("steady")
    print(table(report))
    if options.report:
        load.write(Path(options.report), "steady")
    return 1 if report["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
