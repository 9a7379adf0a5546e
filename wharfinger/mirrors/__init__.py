"""registry_mirrors and mirror.lock, as the controller sees them. Pure, standard library only."""

from .rows import MIRRORS, Mirror, examine
from .update import Update, updated

__all__ = ["MIRRORS", "Mirror", "Update", "examine", "updated"]
