"""Everything unitas raises on purpose."""


class UnitasError(ValueError):
    """Base of all errors of this package."""


class ParseError(UnitasError):
    """The text is not a quantity."""

    def __init__(self, text: str, position: int, reason: str) -> None:
        super().__init__(f"{reason} at column {position + 1} of {text!r}")
        self.text = text
        self.position = position


class UnknownUnitError(UnitasError):
    """No unit goes by this symbol."""


class DimensionError(UnitasError):
    """Lengths were mixed with times, or similar."""
