"""Borders."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Style:
    """What is drawn around cells. `rule` is the fill of horizontal lines; empty means that there are none."""

    left: str
    between: str
    right: str
    rule: str = ""
    corner: str = ""
    frame: bool = False

    def overhead(self, count: int) -> int:
        """Columns that borders take in a table of `count` columns."""
        return len(self.left) + len(self.right) + len(self.between) * max(0, count - 1)

    def line(self, cells: Sequence[str]) -> str:
        return (self.left + self.between.join(cells) + self.right).rstrip()

    def ruler(self, widths: Sequence[int]) -> str:
        return self.corner + self.corner.join(self.rule * (width + 2) for width in widths) + self.corner


STYLES = {
    "grid": Style("| ", " | ", " |", rule="-", corner="+", frame=True),
    "markdown": Style("| ", " | ", " |", rule="-", corner="|"),
    "plain": Style("", "  ", ""),
}
