"""Tax codes."""

from decimal import Decimal

RATES = {
    "standard": Decimal("0.19"),
    "reduced": Decimal("0.07"),
    "exempt": Decimal(0),
}


class UnknownTaxCodeError(KeyError):
    """A line carries a tax code that has no rate."""


def rate_of(code: str) -> Decimal:
    """Rate as a fraction: 0.19 for 19 %."""
    try:
        return RATES[code]
    except KeyError:
        raise UnknownTaxCodeError(code) from None
