"""The one error that this program shows to an operator."""


class HostError(Exception):
    """What is wrong on the host, where, and what to do about it.

    The text is complete and ready to be shown: one clear sentence or a few, never a traceback and
    never the value of a secret.
    """
