"""What the page's title says: dataset, models, date, run, and whether every cell has a verdict."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.data.rows import ALIASES, dataset_title
from harness.evaluation.schema import Results
from harness.report.html.cells import Cells
from harness.text import counted

FEW_MODELS = 4
"""Up to this many models are named in the line below the title."""
MODEL_NAMES = 90
"""Characters of their names, at most."""
_NOT_WORD = re.compile(r"[^a-z0-9]")


@dataclass(frozen=True)
class Heading:
    """The parts of the page's title."""

    dataset: str
    models: str
    names: str
    """The models' names where they are few and short; else empty."""
    date: str
    """Of the last verdict of a run, or of a replay's results; empty where it is unknown."""
    run: str
    """Name of the run's folder; empty for recorded outcomes."""
    recorded: bool
    """The outcomes were recorded elsewhere."""
    graded: int
    planned: int
    """Cells; 0 where only the results are known."""

    @property
    def complete(self) -> bool:
        return self.graded == self.planned

    @property
    def state(self) -> str:
        """`complete`, or how many cells have a verdict; empty where the cells are unknown."""
        if not self.planned:
            return ""
        return "complete" if self.complete else f"{self.graded:,} of {self.planned:,} cells"

    @property
    def title(self) -> str:
        """The document's title."""
        run = f"run {self.run}" if self.run else "recorded outcomes" if self.recorded else ""
        parts = (self.dataset, self.models, self.date, run, self.state)
        return " · ".join(part for part in parts if part)


def heading_of(results: Results, cells: Cells) -> Heading:
    """The heading of a page."""
    models = len(results.pool)
    names = ", ".join(results.pool)
    return Heading(
        dataset=_dataset_name(results.dataset),
        models=counted(models, "model"),
        names=names if models <= FEW_MODELS and len(names) <= MODEL_NAMES else "",
        date=cells.date,
        run="" if cells.run is None else cells.run.path.resolve().name,
        recorded=not results.simulated and any(row.evaluation == "recorded" for row in results.rows),
        graded=sum(fact.resolved is not None for fact in cells.facts),
        planned=len(cells.facts),
    )


def _dataset_name(title: str) -> str:
    """A known dataset by its own name, also where a file of it was given; other datasets as they are called."""
    known = {_NOT_WORD.sub("", name.lower()): name for name in map(dataset_title, ALIASES.values())}
    return known.get(_NOT_WORD.sub("", dataset_title(title).lower()), title)
