"""Predictions that other tools made: one small reader per format, from files and folders to patches with their costs.

How to add a format: write a module of this package with the three functions of `Reader`, and name it in READERS before
any that would match its files, too. Add a small file of the format to the tests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from harness.errors import InputError
from harness.importers.predictions import experiments, harbor, mini_swe_agent, openhands, plain, swe_agent
from harness.importers.predictions.files import head
from harness.importers.predictions.other_files import what_it_is
from harness.importers.predictions.prediction import AttemptRecord, Prediction, PredictionSource
from harness.text import counted, one_line

__all__ = [
    "READERS",
    "AttemptRecord",
    "Prediction",
    "PredictionSource",
    "Reader",
    "attempt_of",
    "read_predictions",
    "refuse_predictions",
]

MAX_NAME = 120
"""Characters of a model's name."""
SHOWN = 3
"""Ids or names that a message lists."""


class Reader(Protocol):
    """Reads one format; a module of this package."""

    def matches(self, path: Path) -> bool:
        """Whether a file or folder looks like this format; cheap, and true for a damaged one, too."""

    def read(self, path: Path) -> PredictionSource:
        """Every patch in it. Raises InputError, naming the place, for what is damaged."""

    def attempt(self, prediction: Prediction) -> AttemptRecord:
        """What the source states about the attempt; nothing where its trajectory is missing or damaged."""


READERS: dict[str, Reader] = {
    "harbor": harbor,
    "openhands": openhands,
    "mini-swe-agent": mini_swe_agent,
    "swe-agent": swe_agent,
    "experiments": experiments,
    "plain": plain,
}
"""By name, in the order they are tried: the first that matches reads it."""


def read_predictions(path: Path, model: str | None = None) -> PredictionSource:
    """The predictions of a file or folder, each instance once for each model.

    Args:
        path: A file or folder of one of the formats in `READERS`.
        model: The name of the model, in place of the one in the source.

    Raises:
        InputError: it is missing, damaged, of no known format, names no model, or holds different patches of one model
            for one instance.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    if path.is_symlink():  # what the user names may be a link; links within a folder are not followed
        path = path.resolve()
    if other := what_it_is(path):
        raise InputError(f"{path}: {other}")
    name = next((name for name, reader in READERS.items() if reader.matches(path)), None)
    if name is None:
        raise InputError(
            f"{path}: no predictions in it; expected preds.json, all_preds.jsonl, output.jsonl, or an agent's output "
            "folder"
        )
    source = READERS[name].read(path)
    if not source.predictions:
        raise InputError(f"{path}: no predictions in it; the file is empty")
    named = _named(source, model)
    predictions, notes = _each_once(path, named)
    return replace(source, format=name, predictions=tuple(predictions), notes=(*source.notes, *notes))


def refuse_predictions(path: Path) -> None:
    """Name `polyswe grade` where a command that needs verdicts is given predictions.

    Raises:
        InputError: the file or folder holds predictions.
    """
    if path.is_dir():
        # a submission's verdicts may lie beside its patches
        found = not what_it_is(path) and any(READERS[name].matches(path) for name in READERS if name != "experiments")
    else:
        begin = head(path, 2**16)
        found = b'"model_patch"' in begin or (b'"test_result"' in begin and b'"instance_id"' in begin)
    if found:
        raise InputError(
            f"{path}: predictions, which have no verdicts yet; grade them first: polyswe grade {path} --dataset DATASET"
        )


def attempt_of(source: PredictionSource, prediction: Prediction) -> AttemptRecord:
    """What a source states about the attempt behind one of its predictions."""
    return READERS[source.format].attempt(prediction)


def _named(source: PredictionSource, model: str | None) -> list[Prediction]:
    """The predictions with a name that can stand in tables and on one line."""
    names = {prediction.model for prediction in source.predictions}
    if model is not None:
        if not model.strip():
            raise InputError("--model-name: the name is empty")
        if len(names) > 1:
            raise InputError(
                f"{source.path}: holds predictions of {len(names)} models ({_some(sorted(names))}); --model-name needs "
                "a source of one model"
            )
        return [replace(prediction, model=_shown(model)) for prediction in source.predictions]
    if "" in names:
        nameless = next(prediction for prediction in source.predictions if not prediction.model)
        raise InputError(f"{source.path}: {nameless.place} names no model; give it a name with --model-name")
    return [replace(prediction, model=_shown(prediction.model)) for prediction in source.predictions]


def _shown(name: str) -> str:
    shown = "".join(letter if letter.isprintable() else "?" for letter in one_line(name, MAX_NAME)).strip()
    return shown or "?"


def _each_once(path: Path, predictions: Sequence[Prediction]) -> tuple[list[Prediction], list[str]]:
    """Every attempt once; the same patch twice is a note, two patches are a fault."""
    first: dict[tuple[str, str, int], Prediction] = {}
    repeated: Counter[str] = Counter()
    faults: list[str] = []
    for prediction in predictions:
        known = first.setdefault((prediction.instance_id, prediction.model, prediction.attempt), prediction)
        if known is prediction:
            continue
        if known.patch != prediction.patch:
            faults.append(f"{one_line(prediction.instance_id)} ({known.place} and {prediction.place})")
        repeated[prediction.instance_id] += 1
    if faults:
        raise InputError(
            f"{path}: different patches of one model for the same instance: {_some(faults)}; keep one of each, or give "
            "each attempt a file of its own"
        )
    twice = counted(repeated.total(), "prediction is", "predictions are")
    notes = [f"{path}: {twice} given twice with the same patch"] if repeated else []
    return list(first.values()), notes


def _some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(one_line(name, 80) for name in names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
