"""What all figures share: size, colours, labels, tooltips, and one rendering as SVG."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.evaluation.schema import Row
from harness.report.row_labels import chip
from harness.report.text import plain, shortened

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "raised": "#ffffff", "ink": "#1b1d20", "muted": "#5b626b", "line": "#e4e1d9", "grid": "#ebe8e1",
    "accent": "#0a5aa8", "warn": "#8a5a00", "kx": "#6f757c", "k0": "#0a66b7", "k1": "#ba5418", "k2": "#1d7d57",
    "k3": "#8e4399", "k4": "#8f6b00", "k5": "#b03060", "k6": "#357c84", "k7": "#6b5b45", "k8": "#5a5fc7",
    "k9": "#547b1b", "k10": "#9b3b2f", "k11": "#4a6472",
}  # fmt: skip
"""Light theme of the page's style sheet, by the name of its variable. In the page a figure's colours are these
variables, so that they follow the theme."""
SERIES = 12
"""Colours `k0` … `k11`; what comes after them is grey."""
WIDTH = 8.9
"""Inches of a figure that is as wide as the page: 640 of an SVG's units, which a phone shows as pixels."""
LABEL_LENGTH = 34
"""Characters of a name."""
DPI = 150
"""Of the PNG, and of the layout: hinting makes text wider or narrower at another resolution."""

_RENDERING = threading.RLock()


@dataclass
class Drawing:
    """A figure with the tooltips of its marks."""

    name: str
    """Stem of its files, and prefix of its ids in the page."""
    label: str
    """What it shows, for readers who do not see it."""
    figure: Figure
    axes: Axes
    tips: dict[str, str] = field(default_factory=dict)
    """By the id of a group in the SVG."""
    _svg: str | None = None

    def tip(self, artist: Artist, text: str) -> None:
        """Show `text` when the pointer rests on the artist."""
        name = f"tip-{len(self.tips)}"
        # a mark within the axes needs no clipping and is not worth measuring
        artist.set(gid=name, clip_on=False, in_layout=False)
        self.tips[name] = plain(text)

    def svg(self) -> str:
        """The figure as matplotlib writes it, rendered once: the same numbers give the same text."""
        if self._svg is None:
            text = io.StringIO()
            # everything but the drawing is left out of the file's metadata, the date above all
            self.figure.savefig(text, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
            self._svg = text.getvalue()
        return self._svg

    def png(self) -> bytes:
        content = io.BytesIO()
        self.figure.savefig(content, format="png", metadata={"Software": None})
        return content.getvalue()


@contextmanager
def rendering() -> Iterator[None]:
    """Settings under which figures are made and rendered. matplotlib keeps them in a global, hence one at a time."""
    import matplotlib as mpl

    with _RENDERING, mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()  # a matplotlibrc of the user's must not change a report
        mpl.rcParams.update(_settings())
        # a browser finds a glyph that matplotlib's own font lacks
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _settings() -> dict[str, Any]:
    muted, line = COLOURS["muted"], COLOURS["line"]
    return {
        "svg.hashsalt": "polyswe", "svg.fonttype": "none", "text.parse_math": False, "font.size": 9,
        "axes.titlesize": 9, "text.color": COLOURS["ink"], "axes.labelcolor": muted, "xtick.color": muted,
        "ytick.color": muted, "axes.edgecolor": line, "xtick.major.size": 0, "xtick.minor.size": 0,
        "ytick.major.size": 0, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
        "grid.color": COLOURS["grid"], "legend.frameon": False, "legend.handlelength": 1.8,
        "legend.columnspacing": 1.4, "legend.labelspacing": 0.35, "legend.handletextpad": 0.6,
    }  # fmt: skip


def blank(name: str, label: str, *, width: float = WIDTH, height: float) -> Drawing:
    """An empty drawing in inches, with the headless renderer: no display is looked for, no global state left behind."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor=COLOURS["raised"])
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_facecolor("none")
    return Drawing(name, label, figure, axes)


def fix_layout(drawing: Drawing) -> None:
    """Lay the figure out now and for good: what is drawn afterwards may rely on places, nothing is measured twice."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    engine = drawing.figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.execute(drawing.figure)
        drawing.figure.set_layout_engine("none")


def series(k: int) -> str:
    """Colour of the k-th model or policy."""
    return COLOURS[f"k{k}" if k < SERIES else "kx"]


def label(name: str, length: int = LABEL_LENGTH) -> str:
    """A name from outside on one short line."""
    return shortened(" ".join(plain(name).split()), length)


def row_names(rows: Sequence[Row]) -> list[str]:
    """What stands beside the lines of a figure; a policy's name stands once, beside the first of its lines."""
    names: list[str] = []
    above: Row | None = None
    for row in rows:
        if row.kind == "single":
            names.append(label(row.name))
        elif above is not None and (above.kind, above.name) == (row.kind, row.name):
            names.append(f"· {chip(row)}")
        else:
            names.append(f"{label(row.name)} · {chip(row)}")
        above = row
    return names


def as_percent(value: float, _position: float = 0) -> str:
    """A tick's text."""
    return f"{value * 100:.4g}\u202f%"
