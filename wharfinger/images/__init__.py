"""Which images a host needs, and where each comes from. Pure: no Ansible, no I/O."""

from wharfinger.images.plan import Plan, plan

__all__ = ["Plan", "plan"]
