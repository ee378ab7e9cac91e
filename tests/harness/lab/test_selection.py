"""The study of choosing among finished attempts: it finds what is planted, and nothing where nothing is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from harness.errors import InputError
from harness.importers.finished import read_finished
from harness.lab.selection import SelectionSettings, learned, study, study_selection
from tests.harness.finished_folder import write_finished

N = 90
MODELS = ("alpha", "beta", "gamma", "delta")
QUICK = SelectionSettings(parts=3, repeats=1, side_repeats=1, permutations=39, null_repeats=1, draws=1)


def folder(path: Path, *, informative: bool) -> Path:
    """Attempts of 4 equal models; a right one passes a test of 2 in 9 of 10 cases, a wrong one in 1 or in 9 of 10."""
    rng = np.random.default_rng(1)
    resolved = (rng.random((N, len(MODELS))) < 0.6).astype(np.float64)
    passes = np.where(resolved == 1, 0.9, 0.1 if informative else 0.9)
    fixed = (rng.random((2, *resolved.shape)) < passes).astype(np.float64)
    broken = {0: {"alpha": ["t"], "beta": [], "gamma": [], "delta": [], "gold": ["t"]}}
    return write_finished(path, resolved, fixed, models=MODELS, broken=broken)


def test_tests_that_tell_right_from_wrong_are_found(tmp_path: Path) -> None:
    found = study_selection(folder(tmp_path / "data", informative=True), tmp_path / "out", QUICK)
    assert found == json.loads((tmp_path / "out/selection.json").read_text())
    assert found["held_out"]["ci95"][0] > 0
    assert found["held_out"]["p"] == 1 / 40
    assert found["held_out"]["attempts_per_instance"] == 3
    assert found["signals"]["tests_fixed"]["within"] > 0.85
    assert found["learned"]["agreement and tests"]["held_out"]["ci95"][0] > 0
    assert found["learned"]["agreement"]["held_out"]["ci95"][0] <= 0, "patches agree at random"
    # one writer alone brings less than both
    alone = [record["held_out"]["delta"] for record in found["by_writers"].values()]
    assert max(alone) < found["held_out"]["delta"]
    page = (tmp_path / "out/README.md").read_text()
    assert "| conditional logit on agreement and tests | 4 |" in page
    assert f"held out, against the best in hindsight | {found['held_out']['delta']:+.1f}" in page
    attempts = [record["attempts_per_instance"] for record in found["sequential"]]
    assert attempts[0] < 3, "what is known to be right needs no other"
    assert attempts == sorted(attempts, reverse=True), "a higher price, fewer attempts"
    assert not list((tmp_path / "out").glob("*.partial*"))


def test_tests_that_say_nothing_bring_nothing(tmp_path: Path) -> None:
    found = study_selection(folder(tmp_path / "data", informative=False), None, QUICK)
    assert found["held_out"]["p"] > 0.05
    assert found["held_out"]["ci95"][0] <= 0


def test_a_conditional_logit_finds_what_makes_an_attempt_right() -> None:
    rng = np.random.default_rng(0)
    n = 20_000
    z = rng.normal(size=(n, 3, 2)) + 2 * rng.normal(size=(n, 1, 2))  # instances differ more than attempts do
    right = (rng.random((n, 3)) < expit(z @ [1.0, -0.5] - rng.normal(size=(n, 1)))).astype(np.float64)
    assert learned.conditional_logit(z, right) == pytest.approx([1.0, -0.5], abs=0.06)
    assert learned.conditional_logit(z, np.ones_like(right)).tolist() == [0, 0], "nothing to learn from"


def test_a_stopped_study_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, out = folder(tmp_path / "data", informative=True), tmp_path / "out"

    def stop(*_: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(study, "confidence", stop)
        with pytest.raises(KeyboardInterrupt):
            study_selection(data, out, QUICK)
    with monkeypatch.context() as patched:
        patched.setattr(study, "play", stop)  # every pool was played before
        found = study_selection(data, out, QUICK)
    assert found["confidence"]["predictions"] == N * len(MODELS) * (len(MODELS) - 1)


def test_a_folder_without_generated_tests_is_refused(tmp_path: Path) -> None:
    data = folder(tmp_path / "data", informative=True)
    (data / "sbv_generated_tests.csv.gz").unlink()
    with pytest.raises(InputError, match="no generated tests"):
        study_selection(data, tmp_path / "out", QUICK)


def test_the_published_figures_are_reached(shared_data: Path) -> None:
    source = shared_data / "finished"
    if not source.is_dir():
        pytest.skip(f"{source} is not there")
    judge = study.Judge(read_finished(source), SelectionSettings(repeats=1))
    record: Any = judge("members 3")
    assert record["pools"] == 56
    assert record["known_default"]["delta"] == pytest.approx(3.4, abs=0.05)
    assert record["known_default"]["share_of_pools_above"] == pytest.approx(0.93, abs=0.005)
    # published: +1.5 [-1.5, +4.5] with other folds
    assert -1.5 <= record["held_out"]["delta"] <= 4.5
    assert record["held_out"]["vs_best_in_training"]["ci95"][0] > 0
    assert judge("majority 3")["delta"] == pytest.approx(-6.1, abs=0.1)
