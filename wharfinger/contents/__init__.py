"""What the inventory says of the registry's contents: which tags stay, and when what is run.

Pure: no Ansible, no I/O. `examine` reports every mistake in registry_retention, `settings` is what
the host reads (wharfinger/host/contents/settings.py), `timers` when it runs what, `lines` what it
has done.
"""

from .report import lines
from .retention import RetentionRule, examine
from .schedules import Schedule, schedule, timers
from .settings import FOREVER, settings

__all__ = [
    "FOREVER",
    "RetentionRule",
    "Schedule",
    "examine",
    "lines",
    "schedule",
    "settings",
    "timers",
]
