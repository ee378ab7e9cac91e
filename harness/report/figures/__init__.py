"""The report's figures: matplotlib draws each once, for the page and for the files in `figures/`."""

from harness.report.figures.drawing import Drawing
from harness.report.figures.inline import inline
from harness.report.figures.write import ON_PAGE, draw, save, write_figures

__all__ = ["ON_PAGE", "Drawing", "draw", "inline", "save", "write_figures"]
