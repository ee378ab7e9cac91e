"""A row for every cell: as CSV, which is the run's outcomes.csv, or as Parquet, whose columns have types."""

from __future__ import annotations

from pathlib import Path

from harness.files import write_atomic
from harness.importers.table import SIGNAL
from harness.run.results import details, write_outcomes
from harness.run.run_record import RunRecord
from harness.store.rows import State


def export_csv(record: RunRecord, out: Path) -> str:
    """Write the run's outcomes.csv to another place; returns what was written."""
    write_outcomes(record, out)
    return f"{len(record.rows)} cells: {out}"


def export_parquet(record: RunRecord, out: Path) -> str:
    """Write one row for every cell, null where there is no value; returns what was written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    further = details(record.folder, record.rows)
    names = sorted({name for row in record.rows for name in row.signals})
    cells = [
        {
            "instance_id": row.instance_id,
            "model": row.model,
            "attempt": row.attempt,
            "resolved": row.verdict == "resolved" if row.state is State.GRADED else None,
            "cost_usd": row.cost_usd,
            "api_calls": row.api_calls,
            "seconds": row.agent_seconds,
            **{f"{SIGNAL}{name}": row.signals.get(name) for name in names},
            **{name: _plain(value) for name, value in further[row.instance_id, row.model, row.attempt].items()},
        }
        for row in record.rows
    ]
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(cells), buffer)
    write_atomic(out, buffer.getvalue().to_pybytes())
    return f"{len(cells)} cells: {out}"


def _plain(value: object) -> object:
    return str(value) if isinstance(value, str) else value  # enumerations, too
