"""`wharf` against real registries: the one that the toolkit builds, and Debian's."""
