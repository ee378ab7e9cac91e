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

from harness.compare.load import load_side
from harness.config import load_config, with_overrides
from harness.data.instances import Dataset, load_dataset
from harness.errors import InputError
from harness.regression.answer import Answer, RegressionResult
from harness.regression.answer import render as summary_of
from harness.regression.differences import other_settings, other_versions
from harness.regression.narrow import only_compared
from harness.regression.plan import plan_regression, reference_for
from harness.regression.reference import neutral_reference, read_reference
from harness.regression.subset import choose_smoke_set, render
from harness.run.plan import plan as plan_cells
from harness.store.run_folder import RunFolder
from router.lab.sequential import Decision, GateSettings

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


def answer(name: str, decision: Decision, flips: int) -> Answer:
    lost = tuple(f"repo__x-{i}" for i in range(flips))
    return Answer(
        model=name, base=name, decision=decision, instances=50, lost=lost, gained=(), resolved_base=40,
        resolved_new=40 - flips, evidence_of_drop=3.0, evidence_against=0.1, needs_usd=1.5,
    )  # fmt: skip


def test_a_summary_is_short_shows_the_worst_first_and_shows_names_as_they_are() -> None:
    answers = [answer(f"m{k}", Decision.NOT_WORSE, 2) for k in range(12)]
    hostile = answer("<img src=x>|`b`", Decision.WORSE, 90)
    notes = ("one", "two", "three | <b>", "four")
    result = RegressionResult((*answers, hostile), 0.03, 0.05, 500, 12.0, "no further instance was needed", notes)
    shown = summary_of(result)
    assert len(shown.splitlines()) <= 20
    assert "worse than the base" in shown.splitlines()[0]
    assert "<img" not in shown
    assert "&lt;img src=x&gt;|`b`: 90 lost" in shown
    assert "8 more models" in shown


def test_what_differs_beside_the_models_is_left_out_or_named(sample: Dataset, tmp_path: Path) -> None:
    first, second = sample.instances[:2]
    recorded = {first.instance_id: "another", second.instance_id: second.fingerprint}
    assert other_versions(recorded, sample.instances) == [first.instance_id]
    config = load_config(ROOT / "harness/configs/sample.yaml")
    assert other_settings(tmp_path, config) == []
    RunFolder(tmp_path).write_manifest(config, sample)
    assert other_settings(tmp_path, config) == []
    (note,) = other_settings(tmp_path, with_overrides(config, {"agent.step_limit": 7}))
    assert "agent.step_limit" in note
    assert "→ 7" in note


def test_only_what_is_compared_is_planned_and_paid(sample: Dataset, tmp_path: Path) -> None:
    """The base knows one model of the pool, and all instances but two."""
    config = load_config(ROOT / "harness/configs/sample.yaml")
    name, ids = config.pool[0].name, [i.instance_id for i in sample.instances]
    base = tmp_path / "base.csv"
    base.write_text("instance_id,model,resolved\n" + "".join(f"{i},{name},{k % 2}\n" for k, i in enumerate(ids[2:])))
    side = load_side(str(base))
    config = with_overrides(config, {"run.repeats": 3})
    plan = plan_regression(config, side, reference_for(side, [name], (), agent=""), sample.instances, GateSettings())
    assert sorted(plan.instances) == sorted(ids[2:])
    assert any(config.pool[1].name in note for note in plan.notes)
    narrow, note = only_compared(config, plan, sample.instances)
    assert [entry.name for entry in narrow.pool] == [name]
    assert "one attempt" in note
    cells = plan_cells(narrow, load_dataset(narrow.dataset))
    assert {(cell.instance_id, cell.attempt) for cell in cells} == {(i, 1) for i in ids[2:]}


def test_a_plan_states_what_it_costs(sample: Dataset, tmp_path: Path) -> None:
    ids = [i.instance_id for i in sample.instances]
    (tmp_path / "base.csv").write_text(
        "instance_id,model,resolved\n" + "".join(f"{i},scripted-small,{k % 2}\n" for k, i in enumerate(ids))
    )
    others = "".join(f"{i},m{k},{int(n % 5 < k)},0.5\n" for k in range(1, 5) for n, i in enumerate(ids))
    (tmp_path / "others.csv").write_text("instance_id,model,resolved,cost_usd\n" + others)
    done = run(
        "regress", "base.csv", str(ROOT / "harness/configs/sample.yaml"), "--model", "scripted-small", "--plan",
        "--from", "others.csv", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == sorted(ids)
    assert f"about ${0.5 * len(ids):,.2f}" in done.stderr


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

    # verdicts of the earlier settings decide nothing about other ones
    config["agent"] = {**config.get("agent", {}), "step_limit": 49}
    new.write_text(yaml.safe_dump(config))
    changed = run(*command, "--run-id", "r", cwd=tmp_path)
    assert changed.returncode == 2, changed.stdout
    assert "other settings" in changed.stderr
    anew = run(*command, "--max-cost", "0.004", "--run-id", "r", "--fresh", cwd=tmp_path)
    assert anew.returncode == 4, anew.stderr
    assert "cost limit" in anew.stdout
