"""A submission of SWE-bench/experiments: a file of predictions, else the patches in `logs/`, and `trajs/`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.data.checks import PLAIN_ID
from harness.errors import InputError
from harness.files import UnreadableFileError, YamlError, open_plain, parse_yaml, why_unread
from harness.importers.predictions import plain
from harness.importers.predictions.files import MAX_LINE_BYTES, digest_of_patches, is_file, names
from harness.importers.predictions.prediction import AttemptRecord, Prediction, PredictionSource, mapping, text
from harness.importers.predictions.trajectories import record_in

METADATA, LOGS, TRAJECTORIES, PATCH = "metadata.yaml", "logs", "trajs", "patch.diff"
MAX_METADATA_BYTES = 2**20
SUFFIXES = (".traj.json", ".traj", ".json")
"""Ends of a trajectory's name behind the instance's id."""


def matches(path: Path) -> bool:
    """Whether it is a folder with such a submission's parts."""
    if not path.is_dir():
        return False
    parts = [name for name in (LOGS, TRAJECTORIES) if (path / name).is_dir()]
    return is_file(path / METADATA) or bool(parts and plain.file_in(path)) or LOGS in parts


def read(path: Path) -> PredictionSource:
    """A prediction for each line of its file; without one, for each log that holds its patch.

    Raises:
        InputError: damaged, or without patches.
    """
    name = _name(path)
    if plain.file_in(path) is not None:
        source = plain.read(path)
        found = list(source.predictions)
        digest = source.sha256
    else:
        found = _from_logs(path)
        digest = digest_of_patches((prediction.instance_id, prediction.patch) for prediction in found)
    if not found:
        raise InputError(
            f"{path}: a submission without its patches (no all_preds.jsonl, preds.json or {LOGS}/*/{PATCH}); "
            "polyswe replay takes its verdicts"
        )
    if len({prediction.model for prediction in found}) == 1 and name:
        found = [replace(prediction, model=name) for prediction in found]
    predictions = tuple(replace(p, trajectory=_trajectory(path, p.instance_id)) for p in found)
    return PredictionSource(path, "experiments", digest, predictions, agent=name)


def attempt(prediction: Prediction) -> AttemptRecord:
    """What the trajectory states, where it is one of mini-swe-agent, SWE-agent or ATIF."""
    return record_in(prediction.trajectory)


def _name(path: Path) -> str:
    """The submission's name; empty where it states none."""
    try:
        with open_plain(path / METADATA) as file:
            metadata = mapping(parse_yaml(file.read(MAX_METADATA_BYTES).decode()))
    except (UnreadableFileError, YamlError, UnicodeDecodeError):
        return ""
    return text(mapping(metadata.get("info")).get("name")) or text(metadata.get("name"))


def _from_logs(path: Path) -> list[Prediction]:
    found = []
    for instance in names(path / LOGS) if (path / LOGS).is_dir() else []:
        file = path / LOGS / instance / PATCH
        if not is_file(file) or file.parent.is_symlink():
            continue
        try:
            with open_plain(file) as content:
                patch = content.read(MAX_LINE_BYTES).decode()
        except (UnreadableFileError, UnicodeDecodeError) as error:
            raise InputError(f"{file}: cannot be read ({why_unread(error)})") from None
        found.append(Prediction(instance, path.resolve().name, patch, f"{LOGS}/{instance}"))
    return found


def _trajectory(path: Path, instance_id: str) -> Path | None:
    if not PLAIN_ID.fullmatch(instance_id):
        return None
    folder = path / TRAJECTORIES
    places = [place / f"{instance_id}{suffix}" for suffix in SUFFIXES for place in (folder, folder / instance_id)]
    return next((place for place in places if is_file(place)), None)
