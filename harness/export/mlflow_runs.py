"""A run as runs of MLflow, one for each model, by MLflow's client."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agents.pool import ModelConfig
from agents.redaction import SHORTEST, redact, secret_variables
from harness.errors import EnvironmentUnavailableError, InputError
from harness.files import make_folder
from harness.grading.verdict import Verdict
from harness.run.results import write_outcomes
from harness.run.run_record import RunRecord
from harness.store.rows import CellRow, State

if TYPE_CHECKING:
    from mlflow import MlflowClient


def export_mlflow(record: RunRecord, out: Path | None) -> str:
    """Log a run of MLflow for each model; returns what was written.

    Args:
        record: the run.
        out: a folder for a database and artifacts of its own; None takes the server in MLFLOW_TRACKING_URI.

    Raises:
        InputError: neither is given.
        EnvironmentUnavailableError: the server refuses, or does not answer.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it would report every use
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of every table that it makes
    uri = os.environ.get("MLFLOW_TRACKING_URI", "") if out is None else f"sqlite:///{out.resolve() / 'mlflow.db'}"
    if not uri:
        raise InputError("export --to mlflow needs --out FOLDER, or a server in MLFLOW_TRACKING_URI")
    if out is not None:
        make_folder(out)
    try:
        client = MlflowClient(tracking_uri=uri)
        name = f"polyswe {record.dataset.title}"
        experiment = client.get_experiment_by_name(name)
        artifacts = None if out is None else (out.resolve() / "artifacts").as_uri()
        place = experiment.experiment_id if experiment else client.create_experiment(name, artifact_location=artifacts)
        with tempfile.TemporaryDirectory(prefix="polyswe-export-") as scratch:
            table = Path(scratch) / "outcomes.csv"
            write_outcomes(record, table)
            runs = [
                _log(client, place, record, model, rows, table)
                for model in record.config.pool
                if (rows := [row for row in record.rows if row.model == model.name])
            ]
    except MlflowException as error:
        raise EnvironmentUnavailableError(f"MLflow at {_shown(uri)}: {_words(error, uri)}") from None
    return f"{len(runs)} runs in the experiment '{name}' at {_shown(uri)}"


def _log(
    client: MlflowClient, experiment: str, record: RunRecord, model: ModelConfig, rows: Sequence[CellRow], table: Path
) -> str:
    tags = {
        "polyswe.run": record.folder.path.name,
        "polyswe.dataset": record.dataset.fingerprint,
        "polyswe.scripted": str(model.scripted).lower(),
    }
    run = client.create_run(experiment, run_name=f"{record.folder.path.name} / {model.name}", tags=tags)
    run_id: str = run.info.run_id
    parameters = {
        "model": model.name,
        "model_id": model.model,
        "dataset": record.dataset.title,
        "mode": record.config.run.mode,
        "repeats": max(row.attempt for row in rows),
        **{f"model_kwargs.{key}": value for key, value in model.model_kwargs.items()},
    }
    for key, value in parameters.items():
        client.log_param(run_id, key, str(value)[:500])
    for key, number in _metrics(rows).items():
        client.log_metric(run_id, key, number)
    client.log_artifact(run_id, str(table))
    client.set_terminated(run_id)
    return run_id


def _metrics(rows: Sequence[CellRow]) -> dict[str, float]:
    """Over all attempts; amounts only where every attempt with a verdict has one."""
    graded = [row for row in rows if row.state is State.GRADED]
    found: dict[str, float] = {"cells": len(rows), "graded": len(graded)}
    if not graded:
        return found
    found["resolved"] = sum(row.verdict is Verdict.RESOLVED for row in graded)
    found["resolved_rate"] = found["resolved"] / len(graded)
    amounts: dict[str, list[float | None]] = {
        "cost_usd": [row.cost_usd for row in graded],
        "api_calls": [row.api_calls for row in graded],
        "agent_seconds": [row.agent_seconds for row in graded],
        "prompt_tokens": [row.prompt_tokens for row in graded],
        "completion_tokens": [row.completion_tokens for row in graded],
    }
    for name, values in amounts.items():
        known = [float(value) for value in values if value is not None]
        if len(known) == len(values):
            found[name] = sum(known)
    return found


def _words(error: Exception, uri: str) -> str:
    """An error's words on one line, without the secrets of the address and of the environment."""
    named = frozenset({"MLFLOW_TRACKING_URI"})
    hidden = [value for _, value in secret_variables(os.environ, named) if len(value) >= SHORTEST]
    return " ".join(redact(str(error).replace(uri.rstrip("/"), _shown(uri)), hidden).split())[:300]


def _shown(uri: str) -> str:
    """An address without user and password."""
    scheme, separator, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
