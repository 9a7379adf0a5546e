"""The grammar of repositories' and tags' names (OCI distribution specification 1.1)."""

from __future__ import annotations

import re

# One segment of a repository's name.
COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
REPOSITORY = re.compile(rf"{COMPONENT.pattern}(?:/{COMPONENT.pattern})*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
# As many characters as the registry accepts in a repository's name.
LONGEST_REPOSITORY = 255
