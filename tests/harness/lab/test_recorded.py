"""What the laboratory starts from: which runs and instances go into a study, and what the tables of signals say."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import InputError
from harness.lab.recorded import joint, recorded
from harness.lab.signals import EFFORT, PATCH, study_signals


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> str:
    rows = list(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def write_tasks(path: Path, texts: Mapping[str, str]) -> str:
    path.write_text("".join(json.dumps({"instance_id": i, "problem_statement": t}) + "\n" for i, t in texts.items()))
    return str(path)


def write_outcomes(path: Path, models: Sequence[str], instances: Sequence[str], blank: set[tuple[str, str]]) -> str:
    return write_csv(
        path,
        [
            {"instance_id": i, "model": m, "resolved": "" if (i, m) in blank else (k + h) % 2, "cost_usd": 0.1 + h}
            for k, i in enumerate(instances)
            for h, m in enumerate(models)
        ],
    )


TEXTS = {f"repo__a-{k}": f"The parser number {k} loses a column." for k in range(5)}


def test_a_study_has_complete_rows_and_other_runs_beside_it(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.jsonl", TEXTS)
    unknown = {("repo__a-3", "Alpha 1"), ("repo__a-3", "Beta 2"), ("repo__a-1", "Short 4"), ("repo__a-2", "Short 4")}
    own = write_outcomes(tmp_path / "own.csv", ["Alpha 1", "Beta 2", "Short 4"], list(TEXTS), unknown)
    other = write_outcomes(tmp_path / "other.csv", ["Gamma 7", "Alpha 1 (high)"], list(TEXTS), set())
    study = recorded([own], tasks, reference=[other])
    assert study.outcomes.models == ("Alpha 1", "Beta 2")
    assert study.outcomes.instances == tuple(i for i in TEXTS if i != "repo__a-3")
    assert study.embeddings.shape[0] == 4
    assert study.reference is not None
    assert study.reference.instances == study.outcomes.instances
    assert study.known_before is not None
    columns = [*study.outcomes.models, *study.reference.models]
    informs = dict(zip(columns, study.known_before[0], strict=True))
    # to whom Alpha is new, no run of Alpha is known
    assert informs == {"Alpha 1": False, "Beta 2": True, "Short 4": True, "Gamma 7": True, "Alpha 1 (high)": False}


def test_an_agent_nobody_used_is_named(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.jsonl", TEXTS)
    own = write_outcomes(tmp_path / "own.csv", ["Alpha 1"], list(TEXTS), set())
    with pytest.raises(InputError, match=r"no run's agent has 'mini' in its name; recorded agents: unknown"):
        recorded([own], tasks, agent="mini")


def test_what_both_benchmarks_have_is_not_learned_from(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.jsonl", TEXTS)
    elsewhere = {
        "repo__a-1": "another text under an id of the evaluation",
        "repo__b-1": "The parser  number 2 loses\na column.",  # a text of the evaluation
        "repo__b-2": "The clock is late.",
        "repo__b-3": "The clock is early.",
    }
    others = write_tasks(tmp_path / "others.jsonl", elsewhere)
    own = write_outcomes(tmp_path / "own.csv", ["Alpha 1", "Beta 2"], list(TEXTS), set())
    there = write_outcomes(tmp_path / "there.csv", ["alpha-one", "Unknown 3"], list(elsewhere), set())
    here, transferred = joint([own], tasks, [there], others, None, ["Alpha 1=alpha-one"])
    assert transferred.outcomes.instances == ("repo__b-2", "repo__b-3")
    assert transferred.outcomes.models == ("Alpha 1",)
    assert (here.embeddings.shape[0], transferred.embeddings.shape[0]) == (5, 2)
    with pytest.raises(InputError, match="'Alpha 1' is not of the form NAME=OTHER"):
        joint([own], tasks, [there], others, None, ["Alpha 1"])
    with pytest.raises(InputError, match="no model of the pool has outcomes on"):
        joint([own], tasks, [there], others, None)
    with pytest.raises(InputError, match="every instance is of the evaluation too"):
        joint([own], tasks, [there], tasks, None)


def write_signals(folder: Path, n: int = 120) -> None:
    """Attempts whose number of calls tells whether they are right, and whose patch tells nothing."""
    rng = np.random.default_rng(0)
    resolved = rng.random(n) < 0.5
    calls = np.where(resolved, 20, 60) + rng.integers(0, 60, n)
    attempts, style, patches = [], [], []
    for k in range(n):
        row = {"instance_id": f"repo__a-{k}", "resolved": bool(resolved[k])}
        effort = {name: int(calls[k]) for name in EFFORT}
        attempts.append(row | effort | {name: int(rng.integers(1, 9)) for name in PATCH})
        style.append({"instance_id": row["instance_id"], "repo": "a", "resolved": "", "n_edits": int(rng.integers(9))})
        patches.append({"instance_id": row["instance_id"], "n_unique_patches": "" if k == 0 else 1 + k % 8})
    for name, rows in (("instances", attempts), ("conv_per_instance", style), ("tts_patch_diversity", patches)):
        write_csv(folder / f"{name}.csv", rows)


def test_signals_that_tell_are_told_from_those_that_do_not(tmp_path: Path) -> None:
    write_signals(tmp_path)
    study = study_signals(tmp_path, tmp_path / "out", folds=5, repeats=2)
    by_group = {group.group: group for group in study.groups}
    assert by_group["effort"].auc_ci95[0] > 0.6
    assert by_group["patch size"].auc_ci95[0] < 0.5
    assert sum(kind.instances for kind in study.agreement) == 119  # nothing is known of the first
    assert json.loads((tmp_path / "out/signals.json").read_text())["instances"] == 120
    assert "| effort |" in (tmp_path / "out/signals.md").read_text()


def test_tables_of_signals_that_are_missing_or_lack_a_column_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"instances\.csv: no such file; give the folder"):
        study_signals(tmp_path)
    write_signals(tmp_path)
    write_csv(tmp_path / "tts_patch_diversity.csv", [{"instance_id": "repo__a-1", "different": 2}])
    with pytest.raises(InputError, match=r"tts_patch_diversity\.csv: no column n_unique_patches"):
        study_signals(tmp_path)
