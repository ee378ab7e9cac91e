"""A job of harbor: a folder for each trial, with `result.json`, `agent/` and `artifacts/`.

Harbor grades inside the agent's container and keeps no patch of its own. There is one where the job collects it as an
artifact, and where the agent's own trajectory holds its submission (mini-swe-agent, SWE-agent).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.files import UnreadableFileError, open_plain
from harness.importers.predictions.files import (
    MAX_LINE_BYTES,
    MAX_TRAJECTORY_BYTES,
    digest_of_patches,
    document,
    is_file,
    names,
)
from harness.importers.predictions.plain import whole_text
from harness.importers.predictions.prediction import (
    AttemptRecord,
    Prediction,
    PredictionSource,
    amount,
    count,
    mapping,
    text,
)
from harness.importers.predictions.trajectories import exit_status, record_in
from harness.text import counted

RESULT = "result.json"
TRAJECTORIES = ("agent/trajectory.json", "agent/mini-swe-agent.trajectory.json", "agent/swe-agent.trajectory.json")
"""Where a trial's trajectory may lie; the first that exists is read."""
SUBMISSIONS = TRAJECTORIES[1:]
"""Trajectories that hold the submission."""
PATCH_SUFFIXES = (".patch", ".diff")


def matches(path: Path) -> bool:
    """Whether it is a folder with a trial in it, or a trial itself."""
    return path.is_dir() and any(True for _ in _trials(path))


def read(path: Path) -> PredictionSource:
    """A prediction for each trial that left a patch.

    Raises:
        InputError: none of them did.
    """
    found: list[Prediction] = []
    agents: dict[str, None] = {}
    attempts: Counter[tuple[str, str]] = Counter()  # a job may try a task several times
    without = 0
    for trial, result in _trials(path):
        patch = _patch(trial)
        if patch is None:
            without += 1
            continue
        info = mapping(result.get("agent_info"))
        agent, model = text(info.get("name")), text(mapping(info.get("model_info")).get("name"))
        agents[agent] = None
        instance_id = text(result.get("task_name")).rpartition("/")[2]
        name = f"{agent} {model}".strip()
        attempts[instance_id, name] += 1
        found.append(
            Prediction(
                instance_id,
                name,
                patch,
                place=trial.name,
                attempt=attempts[instance_id, name],
                trajectory=next(
                    (trial / name for name in TRAJECTORIES if is_file(trial / name)), trial / TRAJECTORIES[0]
                ),
            )
        )
    if not found:
        raise InputError(
            f"{path}: a harbor job without patches: {counted(without, 'trial was', 'trials were')} graded inside the "
            "container; have the job collect `git diff` as an artifact (artifacts/model.patch), then grade it"
        )
    notes = (f"{path}: left out {counted(without, 'trial')} without a patch",) if without else ()
    digest = digest_of_patches((prediction.instance_id, prediction.patch) for prediction in found)
    return PredictionSource(path, "harbor", digest, tuple(found), agent=", ".join(filter(None, agents)), notes=notes)


def attempt(prediction: Prediction) -> AttemptRecord:
    """Cost, tokens, time and exit status of the trial's result, steps of its trajectory."""
    assert prediction.trajectory is not None
    steps = record_in(prediction.trajectory)
    result = _result(prediction.trajectory.parents[1]) or {}
    totals = mapping(result.get("agent_result"))
    failure = exit_status(mapping(result.get("exception_info")).get("exception_type"))
    cost = amount(totals.get("cost_usd"))
    prompt, completion = count(totals.get("n_input_tokens")), count(totals.get("n_output_tokens"))
    cached, seconds = count(totals.get("n_cache_tokens")), _seconds(mapping(result.get("agent_execution")))
    return AttemptRecord(
        cost_usd=steps.cost_usd if cost is None else cost,
        api_calls=steps.api_calls,
        prompt_tokens=steps.prompt_tokens if prompt is None else prompt,
        completion_tokens=steps.completion_tokens if completion is None else completion,
        cached_tokens=steps.cached_tokens if cached is None else cached,
        seconds=steps.seconds if seconds is None else seconds,
        exit_status=failure or steps.exit_status,
        messages=steps.messages,
    )


def _trials(path: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Trials with their results, in order of their names."""
    for trial in (path, *(path / name for name in names(path))):
        if (result := _result(trial)) is not None:
            yield trial, result


def _result(trial: Path) -> Mapping[str, Any] | None:
    """A trial's result; None for a folder that is no trial. A job's own result names no task."""
    if trial.is_symlink() or not is_file(trial / RESULT):
        return None
    try:
        content = document(trial / RESULT, MAX_TRAJECTORY_BYTES)
    except UnreadableFileError:
        return None
    return content if isinstance(content, dict) and {"task_name", "trial_name"} <= content.keys() else None


def _patch(trial: Path) -> str | None:
    """The patch that a trial left; None where there is none."""
    artifacts = trial / "artifacts"
    if artifacts.is_dir() and not artifacts.is_symlink():
        files = [name for name in names(artifacts) if name.endswith(PATCH_SUFFIXES) and is_file(artifacts / name)]
        if len(files) == 1:
            return _text_of(artifacts / files[0])
    for name in SUBMISSIONS:
        if is_file(trial / name):
            try:
                content = mapping(document(trial / name, MAX_TRAJECTORY_BYTES))
            except UnreadableFileError:
                continue
            submission = text(mapping(content.get("info")).get("submission"))
            if submission.lstrip().startswith(("diff --git ", "--- ")):
                return submission
    return None


def _text_of(path: Path) -> str | None:
    try:
        with open_plain(path) as file:
            return whole_text(file.read(MAX_LINE_BYTES).decode())
    except (UnreadableFileError, UnicodeDecodeError):
        return None


def _seconds(timing: Mapping[str, Any]) -> float | None:
    try:
        start, end = (datetime.fromisoformat(text(timing.get(name))) for name in ("started_at", "finished_at"))
        return amount((end - start).total_seconds())
    except (ValueError, TypeError):  # no time, or one with and one without its zone
        return None
