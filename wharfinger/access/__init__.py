"""Users, groups, robots and rules of the inventory: what is wrong with them, and who may do what.

Pure: no Ansible, no I/O, standard library only. `validate` reports every mistake, `Policy` is the
model (it decides), `compile_acl`, `compile_users` and `auth_config` write docker_auth's file. The
model and the compiler share no matching code, so that testing one against the other can fail.
"""

from .compiler import auth_config, compile_acl, compile_users
from .policy import VERBS, VERIFICATION_ACCOUNT, Decision, Policy, Rule
from .problems import Problem, Review
from .robots import Robot
from .table import rows, table
from .validation import validate

__all__ = [
    "VERBS",
    "VERIFICATION_ACCOUNT",
    "Decision",
    "Policy",
    "Problem",
    "Review",
    "Robot",
    "Rule",
    "auth_config",
    "compile_acl",
    "compile_users",
    "rows",
    "table",
    "validate",
]
