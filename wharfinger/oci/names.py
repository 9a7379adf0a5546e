"""The grammar of names: repositories and tags (OCI distribution specification 1.1), and registries'
hosts as docker accepts them."""

from __future__ import annotations

import re

# One segment of a repository's name.
COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
REPOSITORY = re.compile(rf"{COMPONENT.pattern}(?:/{COMPONENT.pattern})*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
# A registry, HOST[:PORT].
HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?"
)
# The most characters that the registry accepts in a repository's name.
LONGEST_REPOSITORY = 255
