"""A run for other tools: `polyswe export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.common import check_output, quiet_libraries, say
from harness.commands.env_file import EnvFileOption
from harness.commands.options import ModelOption, SelectOption, narrowing
from harness.errors import EnvironmentUnavailableError, InputError


class Format(StrEnum):
    CSV = "csv"
    PARQUET = "parquet"
    INSPECT = "inspect"
    MLFLOW = "mlflow"


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, e.g. results/sample.")],
    to: Annotated[Format, typer.Option("--to", help="The format.")],
    out: Annotated[Path | None, typer.Option(help="File (csv, parquet) or folder (inspect, mlflow) to write.")] = None,
    select: SelectOption = None,
    model: ModelOption = None,
    env_file: EnvFileOption = None,
) -> None:
    """Export a run's cells for other tools: as a table, as Inspect logs, or as MLflow runs.

    Examples:

        polyswe export results/sample --to parquet --out sample.parquet

        polyswe export results/sample --to inspect --out logs     # then: inspect view --log-dir logs

        polyswe export results/sample --to mlflow                 # to the server in MLFLOW_TRACKING_URI
    """
    quiet_libraries()
    if out is not None:
        check_output(out, folder=to in (Format.INSPECT, Format.MLFLOW))
    from harness.run.run_record import read_record

    record = read_record(run, narrowing(select, model))
    try:
        if to is Format.MLFLOW:
            from harness.export.mlflow_runs import export_mlflow

            say(export_mlflow(record, out))
            return
        if out is None:
            raise InputError(f"export --to {to} needs --out")
        if to is Format.INSPECT:
            from harness.export.inspect_log import export_inspect

            say(export_inspect(record, out))
        else:
            from harness.export.tables import export_csv, export_parquet

            say((export_csv if to is Format.CSV else export_parquet)(record, out))
    except ModuleNotFoundError as error:
        raise EnvironmentUnavailableError(
            f"export --to {to} needs {error.name}: pip install 'polyswe[{to}]'"
        ) from error
