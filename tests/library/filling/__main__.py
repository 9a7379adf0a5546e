"""Fills a registry from the command line.

PYTHONPATH=tests/library .venv/bin/python -m filling --name registry.example.com \
    --address 10.0.0.5 --ca ca.crt --user admin --password-file FILE
"""

from __future__ import annotations

import time

from load import arguments
from load.session import Session

from .compare import missing
from .fill import Amount, fill


def main() -> None:
    """The command line."""
    parser = arguments.parser("filling", __doc__, may="do everything")
    parser.add_argument("--repositories", type=int, default=Amount.repositories)
    parser.add_argument("--tags", type=int, default=Amount.tags, help="in each of them")
    parser.add_argument("--large", type=int, default=Amount.large, help="bytes of a large layer")
    parser.add_argument("--layers", type=int, default=Amount.layers, help="how many of them")
    options = parser.parse_args()
    session = Session(
        arguments.target(options), arguments.account(options), options.ca, timeout=300
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
