"""Smoke sets from recorded outcomes, and the gate on the sample: real containers, real calls, stopped and continued."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from harness.data.instances import Dataset
from harness.errors import InputError
from harness.regression.reference import neutral_reference, read_reference
from harness.regression.subset import choose_smoke_set, render

ROOT = Path(__file__).resolve().parents[3]


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *words], cwd=cwd, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve simulated models on 120 instances of three repositories, and three runs of one of them."""
    rng = np.random.default_rng(0)
    difficulty = rng.normal(scale=2.0, size=120)
    path = tmp_path_factory.mktemp("record") / "outcomes.csv"
    lines = ["instance_id,model,resolved,cost_usd"]
    for k, ability in enumerate(np.linspace(-1, 3, 12)):
        p = 1 / (1 + np.exp(difficulty - ability))
        for i, chance in enumerate(p):
            lines.append(f"repo__{'abc'[i % 3]}-{i},model-{k},{int(rng.random() < chance)},{0.1 + 0.01 * (i % 7)}")
    for k in range(3):
        for i in range(120):
            flaky = i < 6
            lines.append(
                f"repo__{'abc'[i % 3]}-{i},Steady run{k},{int(k > 0) if flaky else int(difficulty[i] < 1)},0.2"
            )
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_smoke_set_states_what_it_shows_and_leaves_flaky_instances_out(record: Path) -> None:
    reference = read_reference([str(record)])
    found = choose_smoke_set(reference, 40)
    assert len(set(found.instances)) == 40
    assert reference.flaky == {f"repo__{'abc'[i % 3]}-{i}" for i in range(6)}
    assert not reference.flaky & set(found.instances)
    shift = found.drops[0]
    assert shift.everything is not None
    assert shift.chosen is None or shift.everything < shift.chosen
    assert "3 runs of Steady" in found.flips
    assert "40 of 120 instances" in render(found)


def test_the_file_of_ids_is_taken_by_select(record: Path, tmp_path: Path) -> None:
    out = tmp_path / "smoke.txt"
    done = run("subset", "--n", "10", "--from", str(record), "--out", str(out), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    stored = json.loads(out.with_suffix(".json").read_text())
    listed = [line for line in out.read_text().splitlines() if not line.startswith("#")]
    assert listed == stored["instances"]
    compared = run(
        "compare", str(record) + "::model-1", str(record) + "::model-9", "--select", f"file={out}", cwd=tmp_path
    )
    assert "10" in compared.stdout, compared.stderr


def test_rates_over_all_instances_are_estimated_from_a_part(record: Path, tmp_path: Path) -> None:
    lines = record.read_text().splitlines()
    part = tmp_path / "part.csv"
    part.write_text("\n".join([lines[0], *[line for line in lines if ",model-6," in line][:50]]) + "\n")
    truth = np.mean([int(line.split(",")[2]) for line in lines if ",model-6," in line])
    done = run("subset", "--from", str(record), "--estimate", str(part), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rate, low, high = (float(text) / 100 for text in re.findall(r"([\d.]+)%", done.stdout))
    assert low <= truth <= high
    assert low < rate < high
    assert "of 120 instances" in done.stdout
    assert "estimated from 50" in done.stdout
    assert not list(tmp_path.glob("smoke*"))


def test_what_cannot_be_chosen_is_said_in_one_line(record: Path, tmp_path: Path) -> None:
    done = run("subset", "--n", "121", "--from", str(record), cwd=tmp_path)
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1)
    assert "--n 121: between 1 and 120" in done.stderr
    single = tmp_path / "single.csv"
    single.write_text("instance_id,model,resolved\na__b-1,m,1\na__b-2,m,0\n")
    with pytest.raises(InputError, match="at least 2"):
        read_reference([str(single)])


def test_the_order_never_depends_on_the_base(record: Path) -> None:
    """Runs with the very verdicts of the base are left out, whatever their name."""
    lines = record.read_text().splitlines()[1:]
    own = {line.split(",")[0]: float(line.split(",")[2]) for line in lines if ",model-7," in line}
    assert read_reference([str(record)]).runs == read_reference([str(record)], without=[own]).runs + 1
    neutral = neutral_reference(sorted(own), 0.6)
    assert sorted(neutral.instances) == sorted(own)
    assert neutral.instances != tuple(sorted(own))


@pytest.mark.slow
@pytest.mark.docker
def test_a_worse_model_stops_the_run_early_and_the_same_command_continues_it(sample: Dataset, tmp_path: Path) -> None:
    """The base resolves everything; the new side is the stand-in that resolves the least."""
    base = tmp_path / "base.csv"
    base.write_text("instance_id,model,resolved\n" + "".join(f"{i.instance_id},perfect,1\n" for i in sample.instances))
    config = yaml.safe_load((ROOT / "harness/configs/sample.yaml").read_text())
    config["pool"] = [{**config["pool"][0], "record": "perfect"}]
    config["run"]["agent_workers"] = 2
    new = tmp_path / "new.yaml"
    new.write_text(yaml.safe_dump(config))
    command = ["regress", "base.csv", "new.yaml", "--out", "runs"]

    few = run(*command, "--max-cost", "0.004", "--run-id", "r", cwd=tmp_path)
    assert few.returncode == 4, few.stderr
    assert "undecided" in few.stdout
    done = run(*command, "--run-id", "r", "--summary", "summary.md", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "scripted-small: worse than the base" in done.stdout
    result = json.loads((tmp_path / "runs/r/regression.json").read_text())
    (answer,) = result["answers"]
    assert answer["decision"] == "worse"
    assert answer["instances"] < len(sample.instances)
    assert len(answer["lost"]) == answer["resolved_base"] - answer["resolved_new"]
    assert answer["evidence_of_drop"] >= 1 / result["alpha"]
    assert (tmp_path / "summary.md").read_text().strip() == (tmp_path / "runs/r/regression.md").read_text().strip()
    assert len((tmp_path / "summary.md").read_text().splitlines()) <= 20
    spent = result["spent_usd"]
    again = run(*command, "--run-id", "r", cwd=tmp_path)
    assert again.returncode == 1, again.stderr
    assert json.loads((tmp_path / "runs/r/regression.json").read_text())["spent_usd"] == spent
