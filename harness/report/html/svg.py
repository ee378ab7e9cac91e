"""Inline SVG that fits any width: x in per cent of the plot, y in pixels, colours from the page's style sheet.

Percentages instead of a viewBox, so that text keeps its size on a phone and nothing is computed in the browser.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from harness.report.html.text import plain


def tag(name: str, *children: str | Markup, **attributes: object) -> Markup:
    """An element: underscores in names become dashes (`class_` is class), None leaves one out, text is escaped."""
    shown = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _value(value))
        for key, value in attributes.items()
        if value is not None
    )
    inner = Markup("").join(child if isinstance(child, Markup) else escape(plain(child)) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), shown, inner)


def _value(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else plain(str(value))


@dataclass(frozen=True)
class Axis:
    """A linear or logarithmic scale from data to per cent (or to pixels)."""

    low: float
    high: float
    log: bool = False
    span: float = 100.0

    def at(self, value: float) -> float:
        low, high, here = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return (here - low) / (high - low) * self.span

    def x(self, value: float) -> str:
        return f"{self.at(value):.2f}%"


def ticks(low: float, high: float, wanted: int = 6) -> list[float]:
    """Round numbers within [low, high]."""
    raw = (high - low) / max(1, wanted)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten within [low, high]; only powers of ten over more than two decades."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors: Sequence[int] = (1, 2, 5) if high / low < 150 else (1,)
    return [f * 10.0**power for power in powers for f in factors if low <= f * 10.0**power <= high]


def canvas(height: int, *parts: str | Markup, label: str) -> Markup:
    """The outermost element: as wide as its place, `height` pixels high; what is drawn beyond it stays visible."""
    return tag("svg", *parts, width="100%", height=height, role="img", aria_label=label)


def line(x1: object, y1: object, x2: object, y2: object, class_: str) -> Markup:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def marker(shape: str, x: str, y: float, class_: str, title: str) -> Markup:
    """A point with a tooltip; `shape` is dot, diamond, star or cross."""
    paths = {
        "diamond": "M0-6L6 0 0 6-6 0Z",
        "star": "M0-8 2-2.6 7.6-2.5 3.1 1 4.7 6.5 0 3.3-4.7 6.5-3.1 1-7.6-2.5-2-2.6Z",
        "cross": "M-5-5 5 5M5-5-5 5",
    }
    drawn = tag("circle", r=4.5) if shape == "dot" else tag("path", d=paths[shape])
    return tag("svg", tag("g", tag("title", title), drawn, class_=class_), x=x, y=y, overflow="visible")
