"""What accidents do to a registry under load: what clients see, when service returns, what is lost.

with Bench(…) as bench:
    with bench.fault("the registry is killed", returns="docker starts it again"):
        …
bench.report()
"""

from __future__ import annotations

from .bench import Bench
from .disks import full
from .report import Row, markdown

__all__ = ["Bench", "Row", "full", "markdown"]
