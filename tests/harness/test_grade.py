"""`polyswe grade`: predictions of every format, graded for real on the sample, in runs like any other."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.errors import EXIT_INPUT, EXIT_OK
from harness.grading.verdict import Verdict
from harness.run.results import results_again
from harness.sample import TASK_REPO
from harness.store.run_folder import RunFolder
from harness.store.store import CellRow, State, Store

if TYPE_CHECKING:
    from harness.data.instances import Dataset

RIGHT, WRONG, EMPTY = "polyswe__billing-201", "polyswe__spanset-303", "polyswe__rotator-402"
NO_FIX = "diff --git a/NOTES b/NOTES\nnew file mode 100644\n--- /dev/null\n+++ b/NOTES\n@@ -0,0 +1 @@\n+nothing\n"
EXPECTED = {RIGHT: Verdict.RESOLVED, WRONG: Verdict.UNRESOLVED, EMPTY: Verdict.EMPTY_PATCH}
COMMANDS = ["git log --oneline", "git log --all -p"]
"""What every agent here has run; the second command looks at later history."""


def gold(instance: str) -> str:
    return (TASK_REPO / "tasks" / instance / "gold.patch").read_text()


def patches() -> dict[str, str]:
    return {RIGHT: gold(RIGHT), WRONG: NO_FIX, EMPTY: ""}


def write_json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def prediction(instance: str, patch: str | None, model: str) -> dict[str, Any]:
    return {"instance_id": instance, "model_name_or_path": model, "model_patch": patch}


def plain(folder: Path) -> Path:
    rows = [prediction(instance, patch, "plain") for instance, patch in patches().items()]
    return write_lines(folder / "plain.jsonl", rows)


def mini(folder: Path) -> Path:
    """mini-swe-agent 2: cost, calls, tokens and times."""
    out = folder / "mini"
    write_json(out / "preds.json", {i: prediction(i, patch, "mini") for i, patch in patches().items()})
    for instance, patch in patches().items():
        messages: list[dict[str, Any]] = [{"role": "user", "content": "Mend it.", "extra": {}}]
        for number, command in enumerate(COMMANDS):
            usage = {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 50}}
            messages += [
                {
                    "role": "assistant",
                    "content": "I look.",
                    "extra": {
                        "actions": [{"command": command, "tool_call_id": str(number)}],
                        "response": {"usage": usage},
                        "timestamp": 1000.0 + number,
                    },
                },
                {"role": "tool", "tool_call_id": str(number), "content": "<returncode>0</returncode>"},
            ]
        info = {
            "exit_status": "Submitted" if patch else "LimitsExceeded",
            "submission": patch,
            "model_stats": {"instance_cost": 0.25, "api_calls": 2},
        }
        content = {"info": info, "messages": messages, "trajectory_format": "mini-swe-agent-1.1"}
        write_json(out / instance / f"{instance}.traj.json", content)
    return out


def swe_agent(folder: Path) -> Path:
    """SWE-agent without its preds.json: a .pred and a .traj for each instance."""
    out = folder / "swe_agent"
    for instance, patch in patches().items():
        write_json(out / instance / f"{instance}.pred", prediction(instance, patch or None, "swe-agent"))
        steps = [{"action": command, "observation": "", "thought": "I look."} for command in COMMANDS]
        stats = {"instance_cost": 0.25, "api_calls": 2, "tokens_sent": 200, "tokens_received": 20}
        info = {"exit_status": "submitted", "submission": patch, "model_stats": stats}
        history = [{"role": "system", "content": "Mend it."}]
        write_json(out / instance / f"{instance}.traj", {"trajectory": steps, "history": history, "info": info})
    return out


def openhands(folder: Path) -> Path:
    rows = []
    for instance, patch in patches().items():
        events: list[dict[str, Any]] = []
        for number, command in enumerate(COMMANDS):
            action = {"id": 2 * number, "source": "agent", "action": "run", "args": {"command": command}}
            seen = {"id": 2 * number + 1, "cause": 2 * number, "observation": "run", "content": "", "extras": {}}
            events += [action | {"timestamp": f"2026-01-01T00:00:0{number}"}, seen]
        rows.append(
            {
                "instance_id": instance,
                "test_result": {"git_patch": patch.rstrip("\n")},
                "metadata": {"llm_config": {"model": "m"}},
                "metrics": {
                    "accumulated_cost": 0.25,
                    "accumulated_token_usage": {
                        "prompt_tokens": 200, "completion_tokens": 20, "cache_read_tokens": 100,
                    },
                    "token_usages": [{}, {}],
                },
                "history": events,
            }
        )  # fmt: skip
    return write_lines(folder / "openhands" / "output.jsonl", rows).parent


def harbor(folder: Path) -> Path:
    """A job whose trials collected their patches; the trial of the empty one has none."""
    out = folder / "harbor"
    write_json(out / "result.json", {"stats": {}})
    for instance, patch in patches().items():
        trial = out / f"{instance}__Ab3"
        result = {
            "task_name": f"swe-bench/{instance}",
            "trial_name": trial.name,
            "agent_info": {"name": "claude-code", "version": "1", "model_info": {"name": "m"}},
            "agent_result": {
                "n_input_tokens": 200, "n_cache_tokens": 100, "n_output_tokens": 20, "cost_usd": 0.25,
            },
            "agent_execution": {"started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:01Z"},
        }  # fmt: skip
        write_json(trial / "result.json", result)
        steps = [
            {
                "source": "agent",
                "message": "I look.",
                "llm_call_count": 1,
                "tool_calls": [
                    {"tool_call_id": command, "function_name": "bash", "arguments": {"command": command}},
                ],
            }
            for command in COMMANDS
        ]
        write_json(trial / "agent" / "trajectory.json", {"schema_version": "ATIF-v1.7", "steps": steps})
        if patch:
            (trial / "artifacts").mkdir()
            (trial / "artifacts" / "model.patch").write_text(patch)
    return out


def experiments(folder: Path) -> Path:
    """A submission: its patches and SWE-agent's trajectories under one name."""
    out = folder / "20260101_mine"
    write_lines(out / "all_preds.jsonl", [prediction(i, patch, "x") for i, patch in patches().items()])
    (out / "metadata.yaml").write_text("info:\n  name: A submission\n")
    (out / "logs").mkdir()
    for instance in patches():
        steps = [{"action": command, "observation": ""} for command in COMMANDS]
        stats = {"instance_cost": 0.25, "api_calls": 2, "tokens_sent": 200, "tokens_received": 20}
        content = {"trajectory": steps, "info": {"exit_status": "submitted", "model_stats": stats}}
        write_json(out / "trajs" / f"{instance}.traj", content)
    return out


SOURCES: Mapping[str, Callable[[Path], Path]] = {
    "plain": plain,
    "mini": mini,
    "swe-agent": swe_agent,
    "OpenHands m": openhands,
    "claude-code m": harbor,
    "A submission": experiments,
}
"""What writes each format, by the name of its model."""


def polyswe(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def rows_of(folder: RunFolder) -> dict[tuple[str, str], CellRow]:
    with Store(folder.store_path, read_only=True) as store:
        return {(row.instance_id, row.model): row for row in store.rows()}


@pytest.fixture(scope="module")
def graded(sample: Dataset, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """One run over a source of each format."""
    folder = tmp_path_factory.mktemp("sources")
    paths = [write(folder) for write in SOURCES.values()]
    done = polyswe("grade", *paths, "--dataset", "sample", "--run-id", "all", "--out", folder / "results")
    assert done.returncode == EXIT_OK, done.stderr
    assert "1 trials left no patch" in done.stderr
    return RunFolder(folder / "results" / "all")


@pytest.mark.docker
@pytest.mark.parametrize("model", SOURCES)
def test_each_format_is_graded_with_what_its_source_states(graded: RunFolder, model: str) -> None:
    rows = {instance: row for (instance, name), row in rows_of(graded).items() if name == model}
    expected = {i: v for i, v in EXPECTED.items() if not (i == EMPTY and model == "claude-code m")}
    assert {instance: row.verdict for instance, row in rows.items()} == expected
    row = rows[RIGHT]
    stated = (row.cost_usd, row.api_calls, row.prompt_tokens, row.completion_tokens)
    if model == "plain":
        assert stated == (None, None, None, None)
        assert not {"cost_usd", "calls", "prompt_tokens", "seconds", "submitted"} & row.signals.keys()
        return
    assert stated == (0.25, 2, 200, 20)
    with Store(graded.store_path, read_only=True) as store:
        flags = store.flags()[row.cell]
    assert [(flag.kind, flag.command) for flag in flags] == [("later-history", COMMANDS[1])]


@pytest.mark.docker
def test_results_tell_where_the_attempts_come_from(graded: RunFolder) -> None:
    notes = "\n".join(results_again(graded.path).notes)
    assert "polyswe graded these attempts and did not make them" in notes
    assert "plain: 3 patches from" in notes
    assert "claude-code m: 13 of 15 instances have no prediction" in notes
    assert "plain: the cost of 3 of 3 attempts is unknown" in notes


@pytest.mark.docker
def test_other_commands_take_the_run(graded: RunFolder, tmp_path: Path) -> None:
    assert "17 of 17 cells have a verdict" in polyswe("status", graded.path).stdout
    assert COMMANDS[1] in polyswe("show", graded.path, RIGHT, "mini", "--steps").stdout
    assert polyswe("report", graded.path).returncode == EXIT_OK
    same = polyswe("compare", f"{graded.path}::mini", f"{graded.path}::swe-agent", "--out", tmp_path / "c")
    assert same.returncode == EXIT_OK, same.stderr
    again = polyswe("evaluate", graded.path / "run.yaml")
    assert again.returncode == EXIT_INPUT
    assert "polyswe grade" in again.stderr


@pytest.mark.docker
@pytest.mark.slow
def test_a_changed_prediction_is_graded_anew_and_the_others_are_not(sample: Dataset, tmp_path: Path) -> None:
    first = write_lines(tmp_path / "a.jsonl", [prediction(RIGHT, NO_FIX, "m"), prediction(WRONG, "", "m")])
    command = ["grade", first, "--dataset", "sample", "--run-id", "r", "--out", tmp_path]
    assert polyswe(*command).returncode == EXIT_OK
    folder = RunFolder(tmp_path / "r")
    before = rows_of(folder)
    write_lines(first, [prediction(RIGHT, gold(RIGHT), "m"), prediction(WRONG, None, "m")])
    done = polyswe(*command)
    assert "1 predictions are others than before" in done.stderr
    after = rows_of(folder)
    assert after[RIGHT, "m"].verdict is Verdict.RESOLVED
    assert after[WRONG, "m"].updated_at == before[WRONG, "m"].updated_at
    # a second file of the model: further attempts where it meets the first, first ones elsewhere
    second = write_lines(tmp_path / "b.jsonl", [prediction(RIGHT, "", "m"), prediction(EMPTY, "", "m")])
    assert polyswe(*command, second).returncode == EXIT_OK
    with Store(folder.store_path, read_only=True) as store:
        cells = {(row.instance_id, row.attempt): row.verdict for row in store.rows()}
    empty = Verdict.EMPTY_PATCH
    assert cells == {(RIGHT, 1): Verdict.RESOLVED, (RIGHT, 2): empty, (WRONG, 1): empty, (EMPTY, 1): empty}
    # the run is no run of agents
    refused = polyswe("evaluate", "sample", "--run-id", "r", "--out", tmp_path)
    assert refused.returncode == EXIT_INPUT
    assert "choose another --run-id" in refused.stderr


@pytest.mark.docker
@pytest.mark.slow
def test_a_killed_grading_continues_and_grades_nothing_twice(sample: Dataset, tmp_path: Path) -> None:
    ids = [instance.instance_id for instance in sample.instances]
    source = write_lines(tmp_path / "all.jsonl", [prediction(i, gold(i), "m") for i in ids])
    words = ["grade", source, "--dataset", "sample", "--run-id", "r", "--out", tmp_path]
    command = [sys.executable, "-m", "harness", *map(str, words)]
    folder = RunFolder(tmp_path / "r")
    graded_before: dict[tuple[str, str], str] = {}
    for enough in (0, 3, 8):  # killed before the first verdict, then after a few more each time
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and _graded(folder) < max(enough, 1) and not (enough == 0 and _planned(folder)):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for key, row in rows_of(folder).items():
            if row.state is State.GRADED:
                assert graded_before.setdefault(key, row.updated_at) == row.updated_at
    assert subprocess.run(command, capture_output=True, check=False).returncode == EXIT_OK
    rows = rows_of(folder)
    assert {row.verdict for row in rows.values()} == {Verdict.RESOLVED}
    assert len(rows) == len(ids)
    assert all(rows[key].updated_at == at for key, at in graded_before.items())


def _planned(folder: RunFolder) -> int:
    return len(_rows_while_written(folder))


def _graded(folder: RunFolder) -> int:
    return sum(state == State.GRADED for state in _rows_while_written(folder))


def _rows_while_written(folder: RunFolder) -> list[str]:
    """States of the cells in a store that another process writes to; nothing before it is made."""
    try:
        with closing(sqlite3.connect(f"file:{folder.store_path}?mode=ro", uri=True)) as db:
            return [state for (state,) in db.execute("SELECT state FROM cells")]
    except sqlite3.OperationalError:
        return []
