#!/usr/bin/env python3
"""Compares two pictures of a host: `compare.py BEFORE NOW [--more] [PREFIX…]`.

tests/library/support/picture.py makes them. Prints a line for each item that is gone, different or
new, and then ends with exit code 1. Items that begin with a PREFIX do not count. With --more, new
items do not count either.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(before: str, now: str, *options: str) -> int:
    """Prints the differences."""
    old, new = (json.loads(Path(path).read_text()) for path in (before, now))
    more = "--more" in options
    prefixes = tuple(option for option in options if option != "--more")
    differences = [
        f"{item}: {new.get(item, 'gone')} instead of {value}"
        for item, value in sorted(old.items())
        if new.get(item) != value and not item.startswith(prefixes)
    ]
    if not more:
        differences += [
            f"{item}: {value}, which is new"
            for item, value in sorted(new.items())
            if item not in old and not item.startswith(prefixes)
        ]
    print("\n".join(differences))
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
