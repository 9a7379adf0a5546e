"""What is wrong with what lies in credentials/, or with what is asked of it."""


class CredentialsError(Exception):
    """The text says what is wrong and what to do instead; nothing was changed."""
