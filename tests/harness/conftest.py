"""Runs made by hand: the sample's instances with official logs that say what a test wants, no engine needed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from agents.attempt import Attempt
from harness.cells import PATCH_FILE
from harness.config import find_config, load_config
from harness.grading import Grade, Verdict
from harness.instances import Instance, load_dataset
from harness.overrides import apply_overrides
from harness.pipeline import plan
from harness.run_folder import RunFolder
from harness.store import Cell, State, Store

MakeRun = Callable[..., RunFolder]
SMALL, MEDIUM, LARGE = "scripted-small", "scripted-medium", "scripted-large"


def verdict_by_default(place: int, model: str) -> Verdict:
    """The large model resolves most, every kind of verdict occurs."""
    if model == LARGE:
        return Verdict.EMPTY_PATCH if place == 3 else Verdict.UNRESOLVED if place % 5 == 4 else Verdict.RESOLVED
    if model == MEDIUM:
        return Verdict.PATCH_FAILED if place == 2 else Verdict.RESOLVED if place % 2 else Verdict.UNRESOLVED
    return Verdict.RESOLVED if place % 5 == 4 else Verdict.UNRESOLVED


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes a run folder of the sample: `make_run(name, verdicts={cell: verdict}, only=[ids], unfinished=[cells])`."""

    def make(
        name: str = "run",
        verdicts: Mapping[tuple[str, str], Verdict] | None = None,
        only: Sequence[str] | None = None,
        unfinished: Sequence[tuple[str, str]] = (),
        cost: float = 1.0,
    ) -> RunFolder:
        config = apply_overrides(load_config(find_config("sample")), instances=only, out=tmp_path, run_id=name)
        dataset = load_dataset(config.dataset)
        folder = RunFolder(tmp_path / name)
        folder.path.mkdir()
        folder.freeze(config, dataset)
        instances = {instance.instance_id: (k, instance) for k, instance in enumerate(dataset.instances)}
        with Store(folder.store_path) as store:
            cells = plan(config, dataset)
            store.plan(cells)
            for cell in cells:
                if (cell.instance_id, cell.model) in unfinished:
                    store.failed(cell, "container", "the engine was gone")
                    continue
                place, instance = instances[cell.instance_id]
                verdict = (verdicts or {}).get((cell.instance_id, cell.model), verdict_by_default(place, cell.model))
                write_cell(
                    folder, store, cell, instance, verdict, cost * (1 + [SMALL, MEDIUM, LARGE].index(cell.model))
                )
            assert all(row.state in (State.GRADED, State.FAILED) for row in store.rows())
        return folder

    return make


def write_cell(folder: RunFolder, store: Store, cell: Cell, instance: Instance, verdict: Verdict, cost: float) -> None:
    out = folder.cell_dir(cell)
    out.mkdir(parents=True)
    patch = "" if verdict is Verdict.EMPTY_PATCH else f"diff --git a/x b/x\n# {cell.model} on {cell.instance_id}\n"
    (out / PATCH_FILE).write_text(patch)
    told = {"role": "user", "content": instance.problem_statement}
    (out / "trajectory.json").write_text(json.dumps({"messages": [told, {"role": "assistant", "content": "done"}]}))
    if verdict in (Verdict.RESOLVED, Verdict.UNRESOLVED):
        passed = verdict is Verdict.RESOLVED
        (out / "test_output.txt").write_text(official_log(instance, passed=passed))
        (out / "report.json").write_text(json.dumps({instance.instance_id: {"resolved": passed}}))
    attempt = Attempt(
        instance_id=cell.instance_id, model=cell.model, patch=patch, exit_status="Submitted", cost_usd=cost,
        api_calls=7, prompt_tokens=10, completion_tokens=5, cached_tokens=2, failed_calls=0, seconds=9.0,
        trajectory=out / "trajectory.json", unsubmitted_patch="", scripted=True,
    )  # fmt: skip
    store.agent_done(cell, attempt)
    store.graded(cell, Grade(verdict))


def official_log(instance: Instance, *, passed: bool) -> str:
    """What the official parser reads as every test passed, or as the tests of the issue failed."""

    def names(key: str) -> list[str]:
        tests = instance.row[key]
        return json.loads(tests) if isinstance(tests, str) else list(tests)

    lines = [f"{'PASSED' if passed else 'FAILED'} {test}" for test in names("FAIL_TO_PASS")]
    lines += [f"PASSED {test}" for test in names("PASS_TO_PASS")]
    return "\n".join([": '>>>>> Start Test Output'", *lines, ": '>>>>> End Test Output'", ""])
