"""The format of a bcrypt hash. Imports nothing of this project."""

from __future__ import annotations

import re

#: A bcrypt hash; its first group is the cost.
BCRYPT_HASH = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
#: The costs that bcrypt itself supports.
COSTS = range(4, 32)
