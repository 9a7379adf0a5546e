"""Registries on local ports of this machine, without containers, with nginx in front of them."""
