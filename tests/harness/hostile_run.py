"""A run folder whose every text tries to become code in the page that shows it."""

from __future__ import annotations

import json
from pathlib import Path

from agents.attempt import Attempt
from agents.leaks import Flag
from harness.evaluation.schema import (
    Choice,
    ClusterProfile,
    Complementarity,
    Failure,
    FlaggedAttempt,
    Group,
    Pair,
    RandomClusters,
    Reachable,
    Recommendation,
    ReliabilityBin,
    RepeatableOracle,
    Results,
    Row,
    Statement,
    VerifierQuality,
    VsBestSingle,
)
from harness.grading.verdict import Grade, Verdict
from harness.importers.table import write_outcomes_csv
from harness.report.tables import write_results
from harness.store.matrix import matrix_of_run
from harness.store.rows import Cell
from harness.store.run_folder import RunFolder
from harness.store.store import Store

ATTACK = """</script></style></pre></textarea><script>document.title='PWNED'</script><img src=x onerror="document.title='PWNED'"><svg onload="document.title='PWNED'">'"<!--"""  # noqa: E501
MODELS = ("meek", f"evil {ATTACK}")
INSTANCES = tuple(f"owner__repo-{k}" for k in range(12))


def write_hostile_run(root: Path) -> RunFolder:
    """A finished run of two models, with results, cells, patches, test output and trajectories."""
    folder = RunFolder(root / "run")
    folder.path.mkdir()
    cells = {Cell(instance, model): "key" for instance in INSTANCES for model in MODELS}
    with Store(folder.store_path) as store:
        store.plan(cells)
        for k, cell in enumerate(cells):
            _write_cell(folder.cell_dir(cell))
            store.agent_started(cell)
            store.agent_done(cell, _attempt(cell, k))
            store.graded(cell, Grade(Verdict.RESOLVED if k % 3 else Verdict.UNRESOLVED, detail=ATTACK))
            store.flagged(cell, [Flag(kind=f"kind {ATTACK}", step=k, command=ATTACK)])
        rows = store.rows()
    matrix = matrix_of_run(rows, INSTANCES, MODELS)
    write_outcomes_csv(matrix, folder.path / "outcomes.csv")
    write_results(hostile_results(), folder.path)
    rows_of_dataset = [{"instance_id": name, "repo": ATTACK, "problem_statement": ATTACK} for name in INSTANCES]
    (folder.path / "dataset.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_of_dataset))
    return folder


def _attempt(cell: Cell, k: int) -> Attempt:
    return Attempt(
        instance_id=cell.instance_id, model=cell.model, patch="x", exit_status=f"Submitted {ATTACK}", cost_usd=0.01 * k,
        api_calls=k, prompt_tokens=0, completion_tokens=0, cached_tokens=0, failed_calls=0, seconds=k,
        trajectory=Path("trajectory.json"), unsubmitted_patch="", scripted=False,
    )  # fmt: skip


def hostile_results() -> Results:
    def row(name: str, kind: str, evaluation: str, resolved: float, **more: object) -> Row:
        fields = {"name": name, "kind": kind, "evaluation": evaluation, "n": 30, "resolved": resolved}
        rate = {"rate": resolved / 30, "rate_ci95": (resolved / 40, resolved / 25), "cost_per_instance": resolved / 10}
        return Row.model_validate(fields | rate | more)

    best = VsBestSingle(delta=0, ci95=(0, 0), p_value=1)
    half, few = dict.fromkeys(MODELS, 0.5), dict.fromkeys(MODELS, 0.1)
    share = {MODELS[0]: 0.25, MODELS[1]: 0.75}
    return Results(
        dataset=f"data {ATTACK}",
        instances=30,
        pool=list(MODELS),
        seed=0,
        folds=2,
        repeats=1,
        rows=[
            row(MODELS[0], "single", "live", 20, vs_best_single=best),
            row(MODELS[1], "single", "live", 12, vs_best_single=VsBestSingle(delta=-8, ci95=(-9, -1), p_value=0.01)),
            row(f"policy {ATTACK}", "policy", "cross-fitted", 19, routing_share=share, vs_best_single=best),
            row(f"policy {ATTACK}", "policy", "in-sample", 21, null=RandomClusters(mean=20, sd=1), bounds=(19, 25)),
            row("oracle", "oracle", "live", 24, routing_share=share),
        ],
        complementarity=Complementarity(
            oracle=24,
            repeatable_oracle=RepeatableOracle(resolved=22, method=ATTACK, repeatable_share=0.5),
            pairs=[Pair(a=MODELS[0], b=MODELS[1], both=10, a_only=10, b_only=2, neither=8)]
        ),
        clusters=[
            ClusterProfile(cluster=k, size=len(ids), rates=rates, words=[ATTACK], instances=list(ids))
            for k, (ids, rates) in enumerate([(INSTANCES[:4], half), (INSTANCES[4:], few)])
        ],
        groups=[Group(by=by, name=ATTACK, size=30, rates=dict.fromkeys(MODELS, 0.4)) for by in ("repository", ATTACK)],
        failures=[
            Failure(
                kind=ATTACK, whose="machine", scored=False, retried=ATTACK, cells={MODELS[1]: 3}, earlier={MODELS[0]: 2}
            )
        ],
        flagged=[
            FlaggedAttempt(
                instance_id=f"owner__repo-1 {ATTACK}", model=MODELS[1], kind=f"kind {ATTACK}", times=2, step=3,
                command=ATTACK, failed=True,
            )
        ],
        verifier=VerifierQuality(
            signals=[ATTACK], attempts=9, auc=0.7, auc_ci95=(0.6, 0.8), auc_across_models=0.7, brier=0.2,
            brier_of_rates=0.2, reliability=[ReliabilityBin(predicted=0.5, observed=0.5, n=9)],
        ),
        what_it_takes=[Reachable(auc=auc, budget=1, resolved=20, cost_per_instance=0.1) for auc in (0.5, 1.0)],
        recommendation=_recommendation(),
        verdict=f"verdict {ATTACK}",
        notes=[ATTACK],
    )  # fmt: skip


def _recommendation() -> Recommendation:
    choices = {
        kind: Choice.model_validate(
            {
                "name": name, "kind": kind, "evaluation": evaluation, "n": 30, "resolved": resolved,
                "rate": resolved / 30, "rate_ci95": (0.3, 0.8), "cost_per_instance": resolved / 10, "cost_share": 0.6,
                "delta": resolved - 20, "delta_ci95": (-9, 9),
            }
        )
        for name, kind, evaluation, resolved in (
            (MODELS[1], "single", "live", 12), (f"policy {ATTACK}", "policy", "cross-fitted", 19),
        )
    }  # fmt: skip
    best = choices["single"].model_copy(update={"name": MODELS[0], "resolved": 20.0})
    labels = ("Caution", "Why", "Most resolved", "Routing", "How sure", "Head-room", f"Other {ATTACK}")
    return Recommendation(
        use=choices["single"],
        rule="auto",
        tolerance=0.03,
        most_resolved=best,
        routing=choices["policy"],
        routing_pays=False,
        routing_detectable=3.0,
        detectable=None,
        provisional=True,
        headline=f"Use {MODELS[1]}",
        statements=[Statement(label=label, text=f"{label} text {ATTACK}") for label in labels],
    )


def _write_cell(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "patch.diff").write_text(f"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+{ATTACK}\n")
    (folder / "test_output.txt").write_text(f"\x1b[31mFAILED\x1b[0m \x07 \u202e {ATTACK}\n")
    status = {ATTACK: {"success": [ATTACK], "failure": [ATTACK]}}
    (folder / "report.json").write_text(json.dumps({instance: {"tests_status": status} for instance in INSTANCES}))
    messages = [
        {"role": ATTACK, "content": ATTACK},
        {"role": "assistant", "content": ATTACK, "extra": {"actions": [{"command": f"echo {ATTACK}"}]}},
        {"role": "tool", "content": ATTACK, "extra": {"raw_output": ATTACK, "returncode": ATTACK}},
        {"role": "exit", "content": ATTACK},
    ]
    (folder / "trajectory.json").write_text(json.dumps({"messages": messages}))
