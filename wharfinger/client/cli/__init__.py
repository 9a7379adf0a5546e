"""The commands of `wharf`: their arguments, options and help. What they do is in ..commands, whose
modules are imported when a command runs."""

from . import registry  # isort: skip  (the order of the commands in the help)
from . import operator
from .app import app

__all__ = ["app", "operator", "registry"]
