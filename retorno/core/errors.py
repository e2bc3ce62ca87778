"""The errors that a user meets."""


class RetornoError(Exception):
    """Something that its user can mend: the message says what was given, what was expected and what to do."""


class WorldError(RetornoError):
    """An environment that cannot be made, that raises, or that breaks what its spaces promise."""
