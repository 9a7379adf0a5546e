"""A client of the registry API, and `wharf`, its command.

It works with every registry that speaks the OCI distribution API. Few modules are imported at the
start, so that `wharf --help` is quick.
"""
