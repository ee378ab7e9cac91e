"""What can go wrong; every QuillError ends the program with status 2."""


class QuillError(Exception):
    """A message for the user."""


class ConditionError(QuillError):
    """A --where that cannot be understood or does not fit the data."""


class InputError(QuillError):
    """Input that is not CSV, or not rectangular."""

    def __init__(self, source: str, line: int, reason: str) -> None:
        super().__init__(f"{source}:{line}: {reason}")
