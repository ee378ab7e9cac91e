"""Plain-text tables for terminals and log files."""

from tabula.render import render
from tabula.styles import STYLES, Style
from tabula.width import display_width

__all__ = ["STYLES", "Style", "display_width", "render"]
__version__ = "1.0"
