"""The output folder of mini-swe-agent: `preds.json`, and `<instance>/<instance>.traj.json` beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.importers.predictions import plain
from harness.importers.predictions.folders import base_of, beside, has_trajectories
from harness.importers.predictions.prediction import AttemptRecord, Prediction, PredictionSource
from harness.importers.predictions.trajectories import record_in

SUFFIX = ".traj.json"


def matches(path: Path) -> bool:
    """Whether trajectories of that name lie beside a file of predictions."""
    base = base_of(path)
    return base is not None and plain.matches(path) and has_trajectories(base, SUFFIX)


def read(path: Path) -> PredictionSource:
    """The predictions of the folder's file, each with its trajectory.

    Raises:
        InputError: the file is damaged.
    """
    source = plain.read(path)
    base = base_of(path) or path
    predictions = tuple(replace(p, trajectory=beside(base, p.instance_id, SUFFIX)) for p in source.predictions)
    return replace(source, predictions=predictions, agent="mini-swe-agent")


def attempt(prediction: Prediction) -> AttemptRecord:
    """Cost, calls, tokens, time, exit status and steps."""
    return record_in(prediction.trajectory)
