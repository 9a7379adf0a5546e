"""Users, groups, robots and rules of the inventory: what is wrong with them, and who may do what.

Pure: no Ansible, no I/O, standard library only. `examine` reports every mistake. `Policy` is the
model: it decides. `compile_acl` and `compile_users` write the configuration that docker_auth
decides by. The model and the compiler share no matching code, so that a test of one against the
other can fail.
"""

from wharfinger.deployment.fixed import VERIFICATION_ACCOUNT

from .compiler import compile_acl, compile_users
from .policy import VERBS, Decision, Policy, Rule
from .robots import Robot
from .table import rows, table
from .validation import examine, read_policy

__all__ = [
    "VERBS",
    "VERIFICATION_ACCOUNT",
    "Decision",
    "Policy",
    "Robot",
    "Rule",
    "compile_acl",
    "compile_users",
    "examine",
    "read_policy",
    "rows",
    "table",
]
