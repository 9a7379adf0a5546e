"""The error that this program shows to an operator."""


class HostError(Exception):
    """What is wrong on the host, where, and what to do about it.

    The text is complete: one clear sentence or a few, never a traceback, never a secret.
    """
