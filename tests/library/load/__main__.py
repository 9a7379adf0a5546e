"""`python -m load`: a load from the command line.

    PYTHONPATH=tests/library .venv/bin/python -m load --name registry.example.com \
        --address 10.0.0.5 --ca ca.crt --user admin --password-file FILE \
        --seconds 60 --report load.json

Each line of standard input begins the phase of that name. Ends after --seconds, or at the end of
the input. Exit code 1 where an operation failed.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import threading
from pathlib import Path

from . import Account, Load, Target
from .report import table


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", required=True, help="the registry's name, as in its certificate")
    parser.add_argument("--address", required=True, help="where it is")
    parser.add_argument("--port", type=int, default=443)
    parser.add_argument("--ca", required=True, help="the only authority that clients trust")
    parser.add_argument("--user", required=True, help="one who may push and pull load/**")
    parser.add_argument("--password-file", required=True, help="a file with the password")
    parser.add_argument("--seconds", type=float, help="without: until the input ends")
    parser.add_argument("--report", help="a file for the report, as JSON")
    for tool in ("docker", "containerd"):
        parser.add_argument(f"--{tool}", help=f"'ssh HOST sudo': where a real {tool} is used too")
    options = parser.parse_args()
    password = Path(options.password_file).read_text(encoding="utf-8").strip()
    target = Target(options.name, options.address, options.port)
    over = threading.Event()

    def listen(load: Load) -> None:
        for line in sys.stdin:
            load.phase(line.strip())
        if options.seconds is None:
            over.set()

    with Load(target, Account(options.user, password), options.ca) as load:
        load.phase("steady")
        for tool in ("docker", "containerd"):
            if command := getattr(options, tool):
                load.add_real(tool, shlex.split(command))
        threading.Thread(target=listen, args=(load,), daemon=True).start()
        over.wait(options.seconds)
    found = load.report("steady")
    print(table(found))
    if options.report:
        load.write(Path(options.report), "steady")
    return 1 if found["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
