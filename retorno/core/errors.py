"""The errors that a user meets."""


class RetornoError(Exception):
    """Something that its user can mend: the message says what was given, what was expected and what to do."""
