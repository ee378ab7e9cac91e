"""Recorded outcomes of other people's runs, and our own, as one matrix.

How to add an importer: write a module of this package with the two functions of `Importer`, and name it in IMPORTERS
before any that would match its files, too. `read` returns a `RecordedRun` per model: its cells by instance, a `fault`
where it must not be used, `notes` for the reader. Everything else (copies of runs, pools, matrices) follows from that.
Add a line to `load_outcomes` and a small file of the kind to the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from harness.errors import InputError
from harness.files import user_path
from harness.importers import details, evaluation, experiments, finished, leaderboards, table
from harness.importers.duplicates import flag_copies, merge_listings
from harness.importers.matrices import auxiliary_matrix, latest_date, outcome_matrix, unknown_verdicts
from harness.importers.predictions import refuse_predictions
from harness.importers.recorded import RecordedCell, RecordedOutcomes, RecordedRun
from harness.importers.source import Source, is_url, read_source
from harness.importers.table import write_outcomes_csv

__all__ = [
    "IMPORTERS",
    "Importer",
    "RecordedCell",
    "RecordedOutcomes",
    "RecordedRun",
    "auxiliary_matrix",
    "latest_date",
    "load_outcomes",
    "outcome_matrix",
    "unknown_verdicts",
    "write_outcomes_csv",
]


class Importer(Protocol):
    """Reads one kind of record; a module of this package."""

    def matches(self, source: Source) -> bool:
        """Whether a source looks like this kind; cheap, and true for a damaged file of the kind, too."""

    def read(self, source: Source) -> RecordedOutcomes:
        """Every run in it. Raises InputError, naming the place, for what is damaged or of another version."""


IMPORTERS: dict[str, Importer] = {
    "finished": finished,
    "experiments": experiments,
    "details": details,
    "evaluation": evaluation,
    "leaderboards": leaderboards,
    "table": table,
}
"""By name, in the order they are tried: the first that matches a source reads it."""


def load_outcomes(sources: Sequence[str | Path], *, cache: Path | None = None) -> RecordedOutcomes:
    """Every run recorded in some files, run folders or URLs, each run once.

    Args:
        sources: The SWE-bench site's leaderboards.json, CSVs of outcomes (see `harness.importers.table`), run folders
            with an outcomes.csv, reports of `swebench eval`, folders of SWE-bench/experiments (a submission, a split or
            the repository), folders of finished attempts (`harness.importers.finished`), or http(s) addresses of files.
            A copy of another run has that as its `fault`.
        cache: Folder for downloads (default `harness.files.cache_dir()`).

    Raises:
        InputError: a source is missing, unreadable, damaged, or of no known shape.
        EnvironmentUnavailableError: a URL cannot be reached.
    """
    if not sources:
        raise InputError("no outcomes given: name a leaderboards.json or a CSV of outcomes")
    runs: list[RecordedRun] = []
    notes: list[str] = []
    for name in dict.fromkeys(map(str, sources)):
        loaded = _load(name, cache)
        runs += loaded.runs
        notes += loaded.notes
    merged, doubts = merge_listings(runs)
    return RecordedOutcomes(tuple(flag_copies(merged)), (*notes, *doubts))


def _load(name: str, cache: Path | None) -> RecordedOutcomes:
    source = read_source(name, cache)
    if source.folder is None and not is_url(name):
        refuse_predictions(user_path(name))
    for importer in IMPORTERS.values():
        if importer.matches(source):
            loaded = importer.read(source)
            return RecordedOutcomes(loaded.runs, (*source.notes, *loaded.notes))
    refuse_predictions(user_path(name))
    raise InputError(
        f"{name}: a folder without outcomes.csv or sbv_patches.jsonl.gz; name a file or a finished run's folder"
    )
