"""What every tool writes: `preds.json` (instance id → prediction), a list, or one prediction a line.

A prediction has `instance_id`, `model_patch` and mostly `model_name_or_path`, as the official harness takes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.files import UnreadableFileError
from harness.importers.predictions.files import digest_of_file, document, holds_lines, is_file, lines
from harness.importers.predictions.prediction import AttemptRecord, Prediction, PredictionSource, text

FILES = ("preds.json", "all_preds.jsonl", "preds.jsonl", "predictions.jsonl", "predictions.json", "all_preds.json")
"""What the file is called in a folder; the first that exists is read."""
SHOWN = 5
"""Faults that are named."""


def matches(path: Path) -> bool:
    """Whether it is a file, or a folder with one of the usual names in it."""
    return path.is_file() or file_in(path) is not None


def read(path: Path) -> PredictionSource:
    """The predictions of a file, or of the file in a folder.

    Raises:
        InputError: it is damaged, or holds something else.
    """
    file = file_in(path) or path
    return PredictionSource(path, "plain", digest_of_file(file), tuple(read_file(file)))


def attempt(prediction: Prediction) -> AttemptRecord:
    """Nothing: such a file holds patches only."""
    return AttemptRecord()


def file_in(folder: Path) -> Path | None:
    """The file of predictions in a folder."""
    return next((folder / name for name in FILES if is_file(folder / name)), None)


def read_file(path: Path) -> list[Prediction]:
    """Every prediction of a file, in its order.

    Raises:
        InputError: damaged or incomplete, every fault with its place.
    """
    found: list[Prediction] = []
    faults: list[str] = []
    try:
        for place, row, key in _rows(path):
            try:
                found.append(prediction_of(row, place, key))
            except UnreadableFileError as error:
                faults.append(f"{place}: {error}")
    except UnreadableFileError as error:
        faults.append(str(error))
    if faults:
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise InputError(f"{path}: {'; '.join(faults[:SHOWN])}{more}")
    return found


def prediction_of(row: Any, place: str, key: str = "") -> Prediction:
    """One prediction from its JSON object.

    Args:
        row: The object.
        place: Where it stands.
        key: The instance id under which it stands.

    Raises:
        UnreadableFileError: it is no prediction.
    """
    if not isinstance(row, dict):
        raise UnreadableFileError("not an object with instance_id and model_patch")
    instance_id = row.get("instance_id", key)
    if "model_patch" not in row:
        raise UnreadableFileError("no model_patch")
    patch = row["model_patch"]
    if not isinstance(instance_id, str) or not instance_id:
        raise UnreadableFileError("no instance_id")
    if key and instance_id != key:
        raise UnreadableFileError(f"stands under the id {key!r}, but its instance_id is {instance_id!r}")
    if patch is not None and not isinstance(patch, str):
        raise UnreadableFileError("its model_patch is no text")
    return Prediction(instance_id, text(row.get("model_name_or_path")), whole_text(patch or ""), place)


def whole_text(patch: str) -> str:
    """A patch that can be written to a file: JSON also spells halves of characters.

    Raises:
        UnreadableFileError: it cannot.
    """
    try:
        patch.encode()
    except UnicodeEncodeError:
        raise UnreadableFileError("its model_patch holds half a character, which no file can hold") from None
    return patch


def _rows(path: Path) -> Iterator[tuple[str, Any, str]]:
    """Place, object and key of every prediction."""
    if holds_lines(path):
        yield from ((f"line {number}", row, "") for number, _, row in lines(path))
        return
    content = document(path, pairs=_with_repeated_keys)
    if isinstance(content, _Repeated):
        yield from ((f"entry {number}", row, key) for number, (key, row) in enumerate(content.pairs, 1))
    elif isinstance(content, list):
        yield from ((f"entry {number}", row, "") for number, row in enumerate(content, 1))
    elif isinstance(content, dict) and "model_patch" in content:
        yield "the only entry", content, ""
    elif isinstance(content, dict):
        yield from ((f"entry {number}", row, str(key)) for number, (key, row) in enumerate(content.items(), 1))
    else:
        raise UnreadableFileError("neither an object nor a list of predictions")


@dataclass(frozen=True)
class _Repeated:
    """A JSON object that holds a key twice, of which a dict would keep the last."""

    pairs: list[tuple[str, Any]]


def _with_repeated_keys(pairs: list[tuple[str, Any]]) -> Any:
    content = dict(pairs)
    return content if len(content) == len(pairs) else _Repeated(pairs)
