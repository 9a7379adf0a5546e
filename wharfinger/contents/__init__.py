"""What the inventory says about the registry's contents: which tags stay, and when jobs run.

Pure: no Ansible, no I/O. `examine` reports every mistake in registry_retention. `settings` returns
what the host reads (wharfinger/host/contents/settings.py), `timers` when each job runs, and `lines`
what a job has done.
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
