"""Debian images that the host makes from one state of the archive and pushes to its registry."""
