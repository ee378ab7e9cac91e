"""The whole path: polyswe against mini-swe-agent's batch loop followed by `swebench eval`, in turn.

    python tests/bench/whole_path.py                     # one stand-in model on the sample's 15 instances
    python tests/bench/whole_path.py --workers 4 --grading-workers 2 --delay 0.3

Both sides talk to the same scripted server, which takes 0.3 s a call, with the same numbers of workers. SCRIPTED
stand-ins: this measures the runners, not models. Verdicts must be equal, or nothing is reported. Both sides are
processes as a user starts them, imports included.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from measure import keep, options, skip, table

from agents.scripted.server import ScriptedServer
from harness.config import DatasetConfig
from harness.data.instances import Dataset, load_dataset
from harness.docker.engine import connect, server_version
from harness.sample import PLAYBOOK
from harness.sample.images import build_images

PRICES = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-5}


def polyswe(url: str, model: str, workers: int, grading_workers: int, folder: Path) -> tuple[float, set[str]]:
    config = {
        "dataset": {"name": "sample"},
        "pool": [{"name": "m", "model": f"openai/{model}", "api_base": url, "scripted": True, **PRICES}],
        "agent": {"step_limit": 20},
        "run": {"agent_workers": workers, "grading_workers": grading_workers, "grading_timeout": 120},
        "out": {"root": str(folder / "out"), "run_id": "bench"},
    }
    (folder / "bench.yaml").write_text(yaml.safe_dump(config))
    seconds = timed([sys.executable, "-m", "harness", "evaluate", "bench.yaml"], folder)
    reports = [json.loads(path.read_text()) for path in (folder / "out/bench/instances").glob("*/m/report.json")]
    return seconds, resolved(reports)


def upstream(
    dataset: Dataset, url: str, model: str, workers: int, grading_workers: int, folder: Path
) -> tuple[float, float, set[str]]:
    """Seconds of the batch loop and of the grading after it, and what was resolved."""
    (folder / "data").mkdir()
    rows = [{**i.row, "image_name": i.image} for i in dataset.instances]
    text = "".join(json.dumps(row, default=str) + "\n" for row in rows)
    (folder / "data" / "test.jsonl").write_text(text)
    (folder / "data.json").write_text(json.dumps([dict(i.row) for i in dataset.instances], default=str))
    (folder / "prices.json").write_text(
        json.dumps({f"openai/{model}": {"litellm_provider": "openai", "mode": "chat", **PRICES}})
    )
    batch = [
        sys.executable,
        "-m",
        "minisweagent.run.benchmarks.swebench",
        "--subset",
        "data",
        "--split",
        "test",
        "-o",
        "batch",
        "-w",
        str(workers),
        "-m",
        f"openai/{model}",
        "--environment-class",
        "docker",
        "-c",
        "swebench.yaml",
        "-c",
        f"model.model_kwargs.api_base={url}",
        "-c",
        "agent.step_limit=20",
        "-c",
        "model.litellm_model_registry=prices.json",
    ]
    agents = timed(batch, folder)
    grade = [
        str(Path(sys.executable).parent / "swebench"),
        "eval",
        "data.json",
        "-p",
        "batch/preds.json",
        "--run-id",
        "bench",
        "-j",
        str(grading_workers),
        "-t",
        "120",
    ]
    grading = timed(grade, folder, check=False)
    reports = [json.loads(path.read_text()) for path in folder.glob("logs/run_evaluation/bench/*/*/report.json")]
    return agents, grading, resolved(reports)


def resolved(reports: list[dict[str, dict[str, bool]]]) -> set[str]:
    return {name for report in reports for name, verdict in report.items() if verdict["resolved"]}


def timed(command: list[str], folder: Path, *, check: bool = True) -> float:
    env = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "MSWEA_SILENT_STARTUP": "1",
        "MSWEA_CONFIGURED": "true",
        "MSWEA_GLOBAL_CONFIG_DIR": str(folder / "mswea"),
        "OPENAI_API_KEY": "not-a-key",
        "NO_PROXY": "127.0.0.1",
    }
    started = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    if check and done.returncode:
        sys.exit(f"{command[:4]} ended with {done.returncode}: {done.stdout[-1500:]}{done.stderr[-1500:]}")
    return seconds


def main() -> None:
    chosen = options("whole_path", __doc__, model="scripted-large", workers=4, grading_workers=2, delay=0.3, rounds=1)
    if not (Path(sys.executable).parent / "swebench").exists():
        skip("the official command line is not installed beside this Python")
    client = connect()
    dataset = load_dataset(DatasetConfig(name="sample"))
    build_images(client, dataset.instances)
    rounds = []
    for number in range(chosen.rounds):
        with (
            tempfile.TemporaryDirectory() as ours,
            tempfile.TemporaryDirectory() as theirs,
            ScriptedServer(PLAYBOOK, delay=chosen.delay) as server,
        ):
            work = chosen.workers, chosen.grading_workers
            mine, mine_resolved = polyswe(server.url, chosen.model, *work, Path(ours))
            agents, grading, their_resolved = upstream(dataset, server.url, chosen.model, *work, Path(theirs))
            calls = {name: stats.calls for name, stats in server.stats().items() if stats.calls}
        if mine_resolved != their_resolved:
            sys.exit(f"verdicts differ on {sorted(mine_resolved ^ their_resolved)}: nothing is measured")
        rounds.append(
            {
                "round": number + 1,
                "polyswe_seconds": round(mine, 2),
                "mini_swe_agent_seconds": round(agents, 2),
                "swebench_eval_seconds": round(grading, 2),
                "ratio": round((agents + grading) / mine, 2),
                "resolved": len(mine_resolved),
                "calls_of_both": sum(calls.values()),
            }
        )
    table(rounds)
    keep(
        chosen.out,
        f"15 instances of the sample, {chosen.model} (scripted), {chosen.delay:g} s a call, {chosen.workers} agents, "
        f"{chosen.grading_workers} grading workers, Docker Engine {server_version(client)}",
        {"goal": "ratio at least 3.5", "rounds": rounds},
        ["swebench", "mini-swe-agent", "litellm", "docker"],
    )


if __name__ == "__main__":
    main()
