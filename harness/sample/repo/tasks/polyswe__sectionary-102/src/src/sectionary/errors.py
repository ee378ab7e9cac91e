class ConfigError(Exception):
    """Anything wrong with a configuration."""


class ParseError(ConfigError):
    """The text of a file does not follow the grammar."""

    def __init__(self, number: int, problem: str) -> None:
        super().__init__(f"line {number}: {problem}")
        self.number = number


class LookupFailedError(ConfigError, KeyError):
    """A section or key does not exist."""

    def __str__(self) -> str:
        return str(self.args[0])


class CycleError(ConfigError):
    """References or parents run in a circle."""
