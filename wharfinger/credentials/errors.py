"""The error about the files in credentials/, and about requests for them."""


class CredentialsError(Exception):
    """The text says what is wrong and what to do instead; nothing was changed."""
