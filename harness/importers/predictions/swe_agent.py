"""The output folder of SWE-agent: `<instance>/<instance>.traj` and `.pred`, and mostly all of these in `preds.json`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.importers.predictions import plain
from harness.importers.predictions.files import digest_of_patches, is_file, names
from harness.importers.predictions.folders import base_of, beside, has_trajectories
from harness.importers.predictions.prediction import AttemptRecord, Prediction, PredictionSource
from harness.importers.predictions.trajectories import record_in

SUFFIX = ".traj"
PREDICTION_SUFFIX = ".pred"


def matches(path: Path) -> bool:
    """Whether files of these names lie in subfolders."""
    base = base_of(path)
    return base is not None and (has_trajectories(base, SUFFIX) or has_trajectories(base, PREDICTION_SUFFIX))


def read(path: Path) -> PredictionSource:
    """The predictions of the folder's file, or of each instance's own, with their trajectories.

    Raises:
        InputError: a file is damaged.
    """
    base = base_of(path) or path
    if plain.matches(path):
        source = plain.read(path)
    else:
        files = [base / name / f"{name}{PREDICTION_SUFFIX}" for name in names(base)]
        found = [
            replace(prediction, place=f"{file.parent.name}/{file.name}")
            for file in files
            if is_file(file)
            for prediction in plain.read_file(file)
        ]
        digest = digest_of_patches((prediction.instance_id, prediction.patch) for prediction in found)
        source = PredictionSource(path, "swe-agent", digest, tuple(found))
    predictions = tuple(replace(p, trajectory=beside(base, p.instance_id, SUFFIX)) for p in source.predictions)
    return replace(source, predictions=predictions, agent="SWE-agent")


def attempt(prediction: Prediction) -> AttemptRecord:
    """Cost, calls, tokens, exit status and steps."""
    return record_in(prediction.trajectory)
