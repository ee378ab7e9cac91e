"""Numbers as every table, report and sentence shows them."""

from __future__ import annotations

NONE = "–"
"""Stands where there is no number."""


def count(value: float) -> str:
    """Whole where it is whole: 372, 371.6."""
    return f"{value:.0f}" if abs(value - round(value)) < 0.005 else f"{value:.1f}"


def signed(value: float) -> str:
    """A count with its sign; zero has none."""
    text = count(abs(value))
    return text if text in ("0", "0.0") else f"{'+' if value > 0 else '−'}{text}"


def p_value(value: float | None) -> str:
    """A p value to three digits where it is small."""
    if value is None:
        return NONE
    return "<0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def money(value: float | None) -> str:
    """US dollars with three significant digits."""
    if value is None:
        return NONE
    if value == 0:
        return "$0"
    return f"${value:,.0f}" if value >= 1000 else f"${value:.2f}" if value >= 1 else f"${value:#.3g}"


def usd(value: float | None) -> str:
    """US dollars with four digits, or that they are unknown."""
    return "unknown cost" if value is None else f"${value:.4g}"


def bounded_usd(value: float | None, at_least: float | None, unpriced: float) -> str:
    """A cost; a lower bound with the share that has none where it is not known of everything."""
    if value is not None or at_least is None:
        return usd(value)
    return f"at least {usd(at_least)} ({unpriced:.0%} unpriced)"


def money_kind(*, scripted: bool, simulated: bool) -> str:
    """What stands before an amount that nobody pays, with a space behind it; empty for real money."""
    return "simulated " if simulated else "pretended " if scripted else ""
