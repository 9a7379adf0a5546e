"""The registry API from a user's side, and `wharf`, the command that is made of it.

Works with every registry that speaks the OCI distribution API. What is imported at the start is
little, so that `wharf --help` is quick.
"""
