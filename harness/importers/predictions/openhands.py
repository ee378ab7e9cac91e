"""OpenHands' `output.jsonl`: a line an instance, with its patch in `test_result.git_patch`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.files import UnreadableFileError
from harness.importers.predictions.files import digest_of_file, first_value, is_file, line_at, lines
from harness.importers.predictions.plain import SHOWN, whole_text
from harness.importers.predictions.prediction import AttemptRecord, Prediction, PredictionSource, mapping, text
from harness.importers.predictions.trajectories import openhands

FILE = "output.jsonl"
NAME = "OpenHands"


def matches(path: Path) -> bool:
    """Whether it is such a file, or a folder with one."""
    if path.is_dir():
        return is_file(path / FILE)
    return "test_result" in mapping(first_value(path))


def read(path: Path) -> PredictionSource:
    """A prediction for each line. As OpenHands itself does, what stands before a patch's first header is dropped.

    Raises:
        InputError: damaged or incomplete, every fault with its line.
    """
    file = path / FILE if path.is_dir() else path
    found: list[Prediction] = []
    faults: list[str] = []
    try:
        for number, offset, row in lines(file):
            try:
                found.append(_prediction(row, f"line {number}", file, offset))
            except UnreadableFileError as error:
                faults.append(f"line {number}: {error}")
    except UnreadableFileError as error:
        faults.append(str(error))
    if faults:
        raise InputError(f"{file}: {'; '.join(faults[:SHOWN])}")
    return PredictionSource(path, "openhands", digest_of_file(file), tuple(found), agent=NAME)


def attempt(prediction: Prediction) -> AttemptRecord:
    """Cost, calls, tokens, time, exit status and steps."""
    if prediction.trajectory is None:
        return AttemptRecord()
    try:
        line = line_at(prediction.trajectory, prediction.offset)
    except (UnreadableFileError, OSError):
        return AttemptRecord()
    return openhands(line) if isinstance(line, dict) else AttemptRecord()


def _prediction(row: Any, place: str, file: Path, offset: int) -> Prediction:
    if not isinstance(row, dict) or not isinstance(row.get("instance_id"), str) or "test_result" not in row:
        raise UnreadableFileError("not an object with instance_id and test_result")
    patch = mapping(row["test_result"]).get("git_patch")
    if patch is not None and not isinstance(patch, str):
        raise UnreadableFileError("its git_patch is no text")
    metadata = mapping(row.get("metadata"))
    model = text(mapping(metadata.get("llm_config") or metadata.get("llm")).get("model"))
    return Prediction(
        instance_id=row["instance_id"],
        model=f"{NAME} {model}" if model else "",
        patch=_from_first_header(whole_text(patch or "")),
        place=place,
        trajectory=file,
        offset=offset,
    )


def _from_first_header(patch: str) -> str:
    """The patch as OpenHands hands it in: without what a terminal printed before it, and ended by a line break."""
    start = 0 if patch.startswith("diff --git ") else patch.find("\ndiff --git ") + 1
    patch = patch[start:]
    return patch if not patch or patch.endswith("\n") else f"{patch}\n"
