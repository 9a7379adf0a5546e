"""How much of the repeated work a test does: a sample in ./test, all of it for the evidence."""

from __future__ import annotations

import os

# WHARFINGER_TEST_FULL=1 ./test NAME; ./test evidence sets it.
FULL = bool(os.environ.get("WHARFINGER_TEST_FULL"))

# How many times their own pause clients of a load wait between two rounds. It leaves more of this
# machine's cores to the test hosts and the other parts of ./test.
PACE = 1.0 if FULL else 6.0
