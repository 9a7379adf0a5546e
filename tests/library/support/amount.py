"""How much of what is repeated is tried: a sample in ./test, all of it for the evidence."""

from __future__ import annotations

import os

# WHARFINGER_TEST_FULL=1 ./test NAME; ./test evidence sets it.
FULL = bool(os.environ.get("WHARFINGER_TEST_FULL"))

# What clients of a load wait between two rounds is that many times their own pause: what they do
# not take of this machine's cores, the test hosts and the other parts of ./test have.
PACE = 1.0 if FULL else 6.0
