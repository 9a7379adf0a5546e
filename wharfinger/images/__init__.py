"""Which images a host needs, and where each comes from. Pure: no Ansible, no I/O."""

from wharfinger.images.pins import problems
from wharfinger.images.plan import REFERENCE, Plan, plan, registry_host

__all__ = ["REFERENCE", "Plan", "plan", "problems", "registry_host"]
