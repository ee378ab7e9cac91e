"""Python values → text of a cell."""

from decimal import Decimal


def is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def to_text(value: object) -> str:
    """None becomes an empty cell; floats are shown with at most six significant digits; tabs become spaces."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value).expandtabs(4).replace("\r\n", "\n")
