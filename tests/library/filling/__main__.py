"""Fills a registry from the command line.

PYTHONPATH=tests/library .venv/bin/python -m filling --name registry.example.com \
    --address 10.0.0.5 --ca ca.crt --user admin --password-file FILE
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from load.session import Account, Session, Target

from .compare import missing
from .fill import Amount, fill


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="filling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", required=True, help="the registry's name, as in its certificate")
    parser.add_argument("--address", required=True, help="where it is")
    parser.add_argument("--port", type=int, default=443)
    parser.add_argument("--ca", required=True, help="the authority that is trusted")
    parser.add_argument("--user", required=True, help="one who may do everything")
    parser.add_argument("--password-file", required=True, help="a file with the password")
    parser.add_argument("--repositories", type=int, default=Amount.repositories)
    parser.add_argument("--tags", type=int, default=Amount.tags, help="in each of them")
    parser.add_argument("--large", type=int, default=Amount.large, help="bytes of a large layer")
    parser.add_argument("--layers", type=int, default=Amount.layers, help="how many of them")
    options = parser.parse_args()
    password = Path(options.password_file).read_text(encoding="utf-8").strip()
    session = Session(
        Target(options.name, options.address, options.port),
        Account(options.user, password),
        options.ca,
        timeout=300,
    )
    began = time.monotonic()
    content = fill(
        session, Amount(options.repositories, options.tags, options.large, options.layers)
    )
    filled = time.monotonic()
    print(f"{len(list(content.tags))} tags were pushed in {filled - began:.1f} s")
    problems = missing(session, content)
    print(f"{len(problems)} are missing, seen in {time.monotonic() - filled:.1f} s")
    print("\n".join(problems))


if __name__ == "__main__":
    main()
