"""Paying in parts."""

from billing.money import Money


def instalments(total: Money, count: int) -> list[Money]:
    """`count` instalments as equal as possible, the higher ones first. Raises ValueError unless count is positive."""
    if count < 1:
        raise ValueError(f"cannot pay in {count} instalments")
    return total.allocate([1] * count)
