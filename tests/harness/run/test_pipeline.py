"""The whole path on the sample: real HTTP, real containers, real grading, real SQLite; and what survives a kill."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from harness.compare.load import load_side
from harness.config import find_config, load_config, with_overrides
from harness.data.instances import Dataset
from harness.docker.engine import RUN_LABEL
from harness.errors import EXIT_INCOMPLETE, EXIT_INPUT, EXIT_INTERRUPTED, EXIT_OK, InputError
from harness.grading.verdict import Verdict
from harness.run.forecast import forecast
from harness.run.interrupt import Stop
from harness.run.pipeline import evaluate
from harness.run.results import results_again
from harness.sample import PLAYBOOK
from harness.store.rows import CellRow, State
from harness.store.run_folder import RunFolder
from harness.store.store import Store

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.docker

FEW = ["polyswe__spanset-303", "polyswe__rotator-402", "polyswe__jobqueue-503"]
"""Between them: resolved, unresolved, empty, unappliable and limits."""
INTENDED = {
    "right": Verdict.RESOLVED,
    "wrong": Verdict.UNRESOLVED,
    "limit": Verdict.EMPTY_PATCH,
    "unsubmitted": Verdict.EMPTY_PATCH,
    "empty": Verdict.EMPTY_PATCH,
    "unappliable": Verdict.PATCH_FAILED,
}


def command(out: Path, *options: str, config: str = "sample") -> list[str]:
    # where the tests were started in the background, Ctrl-C would be ignored by what they start
    heeding = ["env", "--default-signal=INT", sys.executable]
    return [*heeding, "-m", "harness", "evaluate", config, "--out", str(out), *options]


def few(*options: str) -> list[str]:
    return ["--select", f"id={'|'.join(FEW)}", *options]


def rows_of(folder: RunFolder) -> dict[tuple[str, str], CellRow]:
    with Store(folder.store_path) as store:
        return {(row.instance_id, row.model): row for row in store.rows()}


def outcome(row: CellRow) -> tuple[object, ...]:
    """What must be the same in a repeated run (seconds and the length of printed timings are not)."""
    return row.state, row.verdict, row.exit_status, row.api_calls, row.unsubmitted


def containers(engine: DockerClient, folder: RunFolder) -> list[str]:
    label = {"label": f"{RUN_LABEL}={folder.label}"}
    found = engine.containers.list(all=True, filters=label, ignore_removed=True)  # it may go between list and look
    return [container.name for container in found]


@pytest.fixture(scope="module")
def undisturbed(sample: Dataset, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The whole sample, run once without any disturbance."""
    folder = RunFolder(tmp_path_factory.mktemp("results") / "sample")
    end = evaluate(load_config(find_config("sample")), folder, stop=Stop())
    assert end.missing == []
    return folder


def test_the_forecast_of_the_sample_is_right_within_a_factor_of_1_5(
    undisturbed: RunFolder, sample: Dataset, tmp_path: Path
) -> None:
    seen = forecast(load_config(find_config("sample")), sample, RunFolder(tmp_path / "none"))
    rows = rows_of(undisturbed).values()
    for model in seen.models:
        paid = sum(row.cost_usd or 0.0 for row in rows if row.model == model.model)
        assert paid / 1.5 <= model.cost <= paid * 1.5
        assert model.cost_range is not None
        assert model.cost_range[0] <= paid <= model.cost_range[1]
    agents = sum(row.agent_seconds or 0.0 for row in rows) / 4
    print(f"agents: {seen.agent_hours * 3600:.0f} s forecast, {agents:.0f} s taken")  # depends on the machine's load


def test_every_stand_in_ends_as_its_script_intends(undisturbed: RunFolder, sample: Dataset) -> None:
    rows = rows_of(undisturbed)
    assert len(rows) == 45
    for instance in sample.instances:
        attempts = yaml.safe_load((PLAYBOOK / f"{instance.instance_id}.yaml").read_text())["attempts"]
        for model, script in attempts.items():
            row = rows[instance.instance_id, model]
            assert row.verdict is INTENDED[script["intent"]], row
            assert row.unsubmitted == (script["intent"] == "unsubmitted"), row
            assert row.scripted


def test_a_cell_leaves_patch_trajectory_and_official_logs(undisturbed: RunFolder) -> None:
    for row in rows_of(undisturbed).values():
        cell = undisturbed.cell_dir(row.cell)
        assert json.loads((cell / "trajectory.json").read_text())["messages"]
        patch = (cell / "patch.diff").read_text()
        assert bool(patch) == (row.verdict is not Verdict.EMPTY_PATCH)
        if row.verdict in (Verdict.RESOLVED, Verdict.UNRESOLVED):
            report = json.loads((cell / "report.json").read_text())[row.instance_id]
            assert report["resolved"] == (row.verdict is Verdict.RESOLVED)
            assert ">>>>> End Test Output" in (cell / "test_output.txt").read_text()
        if row.unsubmitted:
            assert (cell / "unsubmitted.diff").read_text().startswith("diff --git")


def test_results_follow_from_the_store(undisturbed: RunFolder) -> None:
    rows = rows_of(undisturbed)
    results = json.loads((undisturbed.path / "results.json").read_text())
    singles = {row["name"]: row for row in results["rows"] if row["kind"] == "single"}
    for model in ("scripted-small", "scripted-medium", "scripted-large"):
        own = [row for row in rows.values() if row.model == model]
        assert singles[model]["resolved"] == sum(row.verdict is Verdict.RESOLVED for row in own)
        assert singles[model]["cost_per_instance"] == pytest.approx(sum(row.cost_usd or 0 for row in own) / 15)
    solved = {row.instance_id for row in rows.values() if row.verdict is Verdict.RESOLVED}
    assert results["complementarity"]["oracle"] == len(solved)
    kinds = {(row["kind"], row["evaluation"]) for row in results["rows"]}
    assert {("policy", "cross-fitted"), ("policy", "in-sample"), ("random", "live"), ("oracle", "live")} <= kinds
    assert results["scripted"] is True
    assert "scripted" in results["verdict"].lower()


def test_predictions_are_what_was_graded(undisturbed: RunFolder) -> None:
    rows = rows_of(undisturbed)
    for path in (undisturbed.path / "predictions").glob("*.jsonl"):
        predictions = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(predictions) == 15
        for prediction in predictions:
            assert set(prediction) == {"instance_id", "model_name_or_path", "model_patch"}
            cell = rows[prediction["instance_id"], path.stem].cell
            assert prediction["model_patch"] == (undisturbed.cell_dir(cell) / "patch.diff").read_text()


def test_a_finished_run_is_not_run_again(undisturbed: RunFolder) -> None:
    before = rows_of(undisturbed)
    end = evaluate(load_config(find_config("sample")), undisturbed, stop=Stop())
    assert end.missing == []
    assert rows_of(undisturbed) == before


def test_a_part_of_a_run_leaves_the_results_of_the_whole(undisturbed: RunFolder) -> None:
    whole = (undisturbed.path / "results.json").read_bytes()
    end = evaluate(with_overrides(load_config(find_config("sample")), {"dataset.limit": 6}), undisturbed, stop=Stop())
    assert (undisturbed.path / "results.json").read_bytes() == whole
    assert json.loads((end.written_to / "results.json").read_text())["instances"] == 6
    assert end.written_to != undisturbed.path


def test_a_part_of_a_run_leaves_the_configuration_of_the_whole(make_run: Callable[..., RunFolder]) -> None:
    folder = make_run("run", only=FEW[:2], unfinished=[(FEW[0], "scripted-small")])
    whole = (folder.path / "run.yaml").read_bytes()
    settings = load_config(find_config("sample"))
    end = evaluate(with_overrides(settings, {"dataset.instances": FEW[:1]}), folder, stop=Stop())
    assert end.missing == []
    assert (folder.path / "run.yaml").read_bytes() == whole
    assert not (folder.path / "dataset.jsonl").exists(), "a smaller one would stand for the whole run's"
    part = folder.path / "selection"
    assert end.written_to == part
    assert yaml.safe_load((part / "run.yaml").read_text())["dataset"]["instances"] == 1
    assert len((part / "dataset.jsonl").read_text().splitlines()) == 1
    assert results_again(folder.path).instances == 2
    # the part is read as recorded outcomes, and not taken for a run of its own
    assert load_side(str(part)).matrix.instances == (FEW[0],)
    with pytest.raises(InputError, match="part of the run"):
        results_again(part)


@pytest.mark.parametrize("content", [b"config: {dataset: [", None])
def test_the_same_command_restores_a_finished_runs_configuration(
    make_run: Callable[..., RunFolder], content: bytes | None
) -> None:
    folder = make_run("run", only=FEW[:2])
    before = rows_of(folder)
    if content is None:
        folder.manifest_path.unlink()
    else:
        folder.manifest_path.write_bytes(content)
        with pytest.raises(InputError, match="repeat the command that made the run"):
            results_again(folder.path)
    settings = load_config(find_config("sample"))
    evaluate(with_overrides(settings, {"dataset.instances": FEW[:2]}), folder, stop=Stop())
    assert results_again(folder.path).instances == 2
    assert rows_of(folder) == before


def test_nothing_is_left_on_the_engine_or_beside_the_results(undisturbed: RunFolder, engine: DockerClient) -> None:
    assert containers(engine, undisturbed) == []
    assert not undisturbed.scratch.exists()
    assert not list(undisturbed.path.glob("*-wal")) + list(undisturbed.path.glob("*-shm"))


def test_other_settings_do_not_mix_with_what_is_there(undisturbed: RunFolder) -> None:
    config = load_config(find_config("sample"))
    other = config.model_copy(update={"agent": config.agent.model_copy(update={"step_limit": 3})})
    before = rows_of(undisturbed)
    from harness.errors import RunMismatchError

    with pytest.raises(RunMismatchError, match="--fresh"):
        evaluate(other, undisturbed, stop=Stop())
    assert rows_of(undisturbed) == before


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["first verdict", "half"])
def test_a_killed_run_goes_on_where_it_was(
    undisturbed: RunFolder, engine: DockerClient, tmp_path: Path, moment: str
) -> None:
    """kill -9 in the middle: nothing finished is repeated, the outcome is that of an undisturbed run, nothing leaks."""
    folder = RunFolder(tmp_path / "sample")
    run = subprocess.Popen(command(tmp_path, *few()), stderr=subprocess.DEVNULL, start_new_session=True)
    wanted = 1 if moment == "first verdict" else 4
    wait_for(lambda: graded(folder) >= wanted, run)
    run.kill()
    run.wait()
    spent_before = sum((row.cost_usd or 0) + row.lost_cost_usd for row in rows_of(folder).values())
    finished = {place: row for place, row in rows_of(folder).items() if row.state is State.GRADED}
    paid = {place: row for place, row in rows_of(folder).items() if row.state is State.AGENT_DONE}
    assert len(finished) + len(paid) < 9, "nothing was left to go on with"

    again = subprocess.run(command(tmp_path, *few()), capture_output=True, text=True, check=False, timeout=600)
    assert again.returncode == EXIT_OK, again.stderr
    after = rows_of(folder)
    useful = sum(row.cost_usd or 0 for row in after.values())
    lost = sum(row.lost_cost_usd for row in after.values())
    assert useful >= spent_before
    killed = [row for place, row in after.items() if place not in finished and place not in paid]
    assert 0 <= lost <= sum(row.cost_usd or 0 for row in killed), "a killed attempt cannot cost more than a whole one"
    for place, row in finished.items():
        assert after[place] == row, "a finished cell was touched"
    for place, row in paid.items():
        assert after[place].agent_seconds == row.agent_seconds, "a paid-for attempt was repeated"
    expected = {place: outcome(row) for place, row in rows_of(undisturbed).items() if place[0] in FEW}
    assert {place: outcome(row) for place, row in after.items()} == expected
    assert containers(engine, folder) == []


@pytest.mark.slow
def test_ctrl_c_finishes_what_is_in_flight_and_the_same_command_continues(
    undisturbed: RunFolder, engine: DockerClient, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "sample")
    run = subprocess.Popen(
        command(tmp_path, *few("--agent-workers", "1")), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for(lambda: graded(folder) >= 1, run)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to everything in the foreground
    _, said = run.communicate(timeout=300)
    assert run.returncode == EXIT_INTERRUPTED, said
    assert "the same command continues" in said
    states = [row.state for row in rows_of(folder).values()]
    assert State.RUNNING not in states
    assert State.PLANNED in states, "nothing was left to stop"
    assert containers(engine, folder) == []

    assert (
        subprocess.run(command(tmp_path, *few()), capture_output=True, check=False, timeout=600).returncode == EXIT_OK
    )
    expected = {place: outcome(row) for place, row in rows_of(undisturbed).items() if place[0] in FEW}
    assert {place: outcome(row) for place, row in rows_of(folder).items()} == expected


def test_ctrl_c_twice_stops_now_and_leaves_no_container(engine: DockerClient, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "sample")
    run = subprocess.Popen(command(tmp_path, *few()), stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for(lambda: len(containers(engine, folder)) > 0, run)
    os.kill(run.pid, signal.SIGINT)
    time.sleep(0.5)
    os.kill(run.pid, signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == EXIT_INTERRUPTED, said
    assert containers(engine, folder) == []


def test_the_hard_cost_limit_makes_no_further_call(sample: Dataset, tmp_path: Path) -> None:
    """The hard stop of the whole run, by the provider's own count; the same command with more money goes on."""
    from agents.scripted.server import ScriptedServer

    with ScriptedServer(PLAYBOOK) as server:
        config = with_overrides(load_config(find_config("sample")), {"dataset.instances": FEW, "run.agent_workers": 3})
        pool = [model.model_copy(update={"api_base": server.url}) for model in config.pool]
        config = config.model_copy(update={"pool": pool})
        prices = {m.name: (m.input_cost_per_token or 0, m.output_cost_per_token or 0) for m in pool}

        def billed() -> list[float]:
            return [
                call.prompt_tokens * prices[call.model][0] + call.completion_tokens * prices[call.model][1]
                for call in server.log()
            ]

        limited = config.model_copy(update={"run": config.run.model_copy(update={"max_cost_hard": 0.1})})
        folder = RunFolder(tmp_path / "sample")
        end = evaluate(limited, folder, stop=Stop())
        assert "hard cost limit of $0.1" in end.stopped
        spent = sum(billed())
        # near the limit calls no longer start beside each other: one call at most passes it
        assert 0.1 <= spent <= 0.1 + max(billed())
        cut_off = [row for row in end.rows if row.failure == "budget"]
        assert cut_off, "cells in flight are stopped, not finished"
        assert all(row.state is State.FAILED and row.verdict is None for row in cut_off)
        with Store(folder.store_path) as store:
            assert store.spent() == pytest.approx(spent), "what cut-off cells had cost is counted"
        assert end.results is None or all(not f.scored for f in end.results.failures if f.kind == "budget")
        end = evaluate(config, folder, stop=Stop())
        assert end.missing == []
        with Store(folder.store_path) as store:
            assert store.spent() == pytest.approx(sum(billed()))


@pytest.mark.slow
def test_the_soft_cost_limit_throws_nothing_away(sample: Dataset, tmp_path: Path) -> None:
    """Cells in flight finish and get their verdicts; the same command with more money goes on."""
    config = with_overrides(load_config(find_config("sample")), {"dataset.instances": FEW, "run.max_cost": 0.3})
    folder = RunFolder(tmp_path / "sample")
    lines: list[str] = []
    end = evaluate(config, folder, stop=Stop(), say=lines.append)
    assert end.stopped == "the cost limit of $0.3 is reached"
    assert any("at worst $4.30" in line for line in lines)
    states = {row.state for row in end.rows}
    assert states == {State.GRADED, State.PLANNED}, "what was paid for has its verdict, the rest was not begun"
    spent = sum(row.cost_usd or 0.0 for row in end.rows)
    assert all(row.lost_cost_usd == 0 for row in end.rows)
    assert 0.3 <= spent <= 0.3 + max(row.cost_usd or 0.0 for row in end.rows)
    end = evaluate(with_overrides(config, {"run.max_cost": 50}), folder, stop=Stop())
    assert end.missing == []


def test_calls_on_record_agree_with_the_servers_own_count(
    sample: Dataset, tmp_path: Path, calls_by_model: Callable[[Path], dict[str, Any]]
) -> None:
    from agents.scripted.server import ScriptedServer

    with ScriptedServer(PLAYBOOK) as server:
        config = with_overrides(load_config(find_config("sample")), {"dataset.instances": FEW})
        pool = [model.model_copy(update={"api_base": server.url}) for model in config.pool]
        folder = RunFolder(tmp_path / "sample")
        end = evaluate(config.model_copy(update={"pool": pool}), folder, stop=Stop())
        served = server.stats()
        log = server.log()
    on_record = calls_by_model(folder.store_path)
    for model, counted in served.items():
        own = on_record[model]
        assert (own.answered, own.failed) == (counted.calls, 0)
        assert (own.prompt_tokens, own.completion_tokens) == (counted.prompt_tokens, counted.completion_tokens)
        assert own.cost_usd == pytest.approx(sum(row.cost_usd or 0 for row in end.rows if row.model == model))
        assert own.seconds > 0
    for row in end.rows:
        assert row.api_calls == sum((call.instance_id, call.model) == (row.instance_id, row.model) for call in log)


def test_a_cell_without_an_image_costs_only_itself(sample: Dataset, registry: Any, tmp_path: Path) -> None:
    """One instance's image is missing: the others get their verdicts, and the exit code says that one did not."""
    from agents.scripted.server import ScriptedServer

    chosen = [dict(i.row) for i in sample.instances if i.instance_id in FEW[:2]]
    chosen[0]["image"] = registry.full_name("absent")
    (tmp_path / "data.json").write_text(json.dumps(chosen))
    with ScriptedServer(PLAYBOOK) as server:
        config = load_config(find_config("sample")).model_dump(mode="json", exclude_none=True)
        config["dataset"] = {"name": str(tmp_path / "data.json")}
        config["router"] = {"policy": "cluster", "folds": 2, "repeats": 1, "params": {"n_clusters": 1}}
        for model in config["pool"]:
            model["api_base"] = server.url
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
        done = subprocess.run(
            command(tmp_path, config=str(tmp_path / "mine.yaml")),
            capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
    assert done.returncode == EXIT_INCOMPLETE, done.stderr
    assert chosen[0]["image"] in done.stderr
    rows = rows_of(RunFolder(tmp_path / "mine"))
    lost = [row for row in rows.values() if row.instance_id == chosen[0]["instance_id"]]
    assert all((row.state, row.failure, row.verdict) == (State.FAILED, "image: missing", None) for row in lost)
    assert all(row.state is State.GRADED for row in rows.values() if row not in lost)


def test_a_refused_key_is_met_once_and_never_scored(sample: Dataset, tmp_path: Path, engine: DockerClient) -> None:
    """A provider that refuses the key: the model's cells have no verdict, and the others are not held up."""
    config = load_config(find_config("sample")).model_dump(mode="json", exclude_none=True)
    requests: list[str] = []

    class Refusal(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            requests.append(self.headers["Authorization"])
            message = f"Incorrect API key provided: {requests[-1]}"  # as some providers say it
            body = json.dumps({"error": {"message": message, "code": "invalid_api_key"}}).encode()
            self.send_response(401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config["pool"][1] |= {
            "api_base": f"http://127.0.0.1:{server.server_port}/v1",
            "api_key_env": "POLYSWE_TEST_KEY",
        }
        config["run"]["agent_workers"] = 1
        (tmp_path / "refused.yaml").write_text(yaml.safe_dump(config))
        environment = {**os.environ, "POLYSWE_TEST_KEY": "canary-4711-key"}
        done = subprocess.run(
            command(tmp_path, *few(), config=str(tmp_path / "refused.yaml")),
            capture_output=True, text=True, check=False, timeout=600, env=environment,
        )  # fmt: skip
        server.shutdown()
    assert done.returncode == EXIT_INCOMPLETE, done.stderr
    assert requests == ["Bearer canary-4711-key"], "one refusal is enough"
    folder = RunFolder(tmp_path / "refused")
    for (_, model), row in rows_of(folder).items():
        expected = (State.FAILED, "provider: auth") if model == "scripted-medium" else (State.GRADED, None)
        assert (row.state, row.failure) == expected
    assert "canary-4711" not in done.stdout + done.stderr
    written = [path for path in folder.path.rglob("*") if path.is_file() and b"canary-4711" in path.read_bytes()]
    assert written == [], "the key was written to disk"
    assert "Incorrect API key provided" in (folder.path / "run.log").read_text()


def test_two_processes_do_not_work_in_one_folder(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "sample")
    with folder.locked():
        done = subprocess.run(command(tmp_path, *few()), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 3
    assert f"pid {os.getpid()}" in done.stderr
    assert "Traceback" not in done.stderr


def test_bad_input_is_one_line_and_keeps_what_is_recorded(undisturbed: RunFolder, tmp_path: Path) -> None:
    before = rows_of(undisturbed)
    done = subprocess.run(
        command(undisturbed.path.parent, "--select", "id=polyswe__nope-1"),
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == EXIT_INPUT
    assert done.stderr.count("\n") == 1
    assert "polyswe__nope-1" in done.stderr
    assert rows_of(undisturbed) == before


def graded(folder: RunFolder) -> int:
    """Verdicts so far, read without disturbing the run."""
    if not folder.store_path.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{folder.store_path}?mode=ro", uri=True) as db:
            return int(db.execute("SELECT COUNT(*) FROM cells WHERE state = 'graded'").fetchone()[0])
    except sqlite3.OperationalError:  # the table is not there yet
        return 0


def wait_for(condition: Callable[[], bool], run: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """Wait until a condition holds while the run is still going."""
    for _ in range(3000):
        if condition():
            return
        assert run.poll() is None, "the run ended before the moment came"
        time.sleep(0.1)
    pytest.fail("the moment never came")
