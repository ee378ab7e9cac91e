"""The predictions of a package: one patch an instance, all under one name."""

from __future__ import annotations

from typing import Any, NamedTuple

from harness.files import UnreadableFileError, parse_json
from harness.submission.findings import Findings, some
from harness.submission.tree import MAX_FILE_BYTES, MAX_JSON_BYTES, Tree

FILE = "all_preds.jsonl"
KEYS = ("instance_id", "model_name_or_path", "model_patch")


class Prediction(NamedTuple):
    """A line of the predictions."""

    system: str
    patch: str


def read_predictions(tree: Tree, findings: Findings) -> dict[str, Prediction] | None:
    """Predictions by instance id; None where the file cannot be read."""
    if FILE not in tree.sizes:
        findings.fault(f"{FILE} is missing beside the logs")
        return None
    try:
        lines = tree.text(FILE, MAX_FILE_BYTES).split("\n")
    except UnreadableFileError as error:
        findings.fault(f"{FILE}: {error}")
        return None
    predictions: dict[str, Prediction] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = _row(line)
        except UnreadableFileError as error:
            findings.fault(f"{FILE} line {number}: {error}")
            continue
        instance = row["instance_id"]
        if instance in predictions:
            findings.fault(f"{FILE} line {number}: {instance} a second time; one attempt is allowed")
        else:
            predictions[instance] = Prediction(row["model_name_or_path"], row["model_patch"] or "")
    names = sorted({prediction.system for prediction in predictions.values()})
    if len(names) > 1:
        findings.fault(f"{FILE}: a system has one name, but there are {some(names)}")
    return predictions


def _row(line: str) -> dict[str, Any]:
    if len(line) > MAX_JSON_BYTES:
        raise UnreadableFileError(f"longer than {MAX_JSON_BYTES >> 20} MB")
    row = parse_json(line)
    lacking = [key for key in KEYS if not isinstance(row, dict) or key not in row]
    if lacking:
        raise UnreadableFileError(f"no {', '.join(lacking)}")
    no_text = [key for key in KEYS if not _is_text(row[key]) and (key, row[key]) != ("model_patch", None)]
    if no_text:
        raise UnreadableFileError(f"{', '.join(no_text)} not text")
    return dict(row)


def _is_text(value: object) -> bool:
    """A string that can be written to a file: JSON also spells halves of characters."""
    try:
        return isinstance(value, str) and bool(value.encode() or True)
    except UnicodeEncodeError:
        return False
