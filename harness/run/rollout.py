"""Running a policy live: which cells it asks for, given the attempts that have finished so far.

What a policy decides depends on the finished attempts alone, so its decisions are read off the store whenever they are
needed: after a crash, for the next attempt, and for the results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agents.agreement import agreement
from harness.data.embeddings import embed_texts
from harness.data.instances import Dataset
from harness.run.evidence_record import SIGNALS, covers, evidence_signals
from harness.store.matrix import OWN_COLUMNS
from harness.store.rows import Cell, CellRow, EvidenceRow, State
from harness.store.run_folder import UNSUBMITTED_FILE, RunFolder, read_patch
from harness.store.store import Store
from router.arrays import FloatArray
from router.attempt import FinishedAttempt
from router.decision import Decision, Run, is_sequential, next_step
from router.router import Router, predict_without

FINISHED = frozenset((State.AGENT_DONE, State.GRADED))
"""States of a cell whose attempt a policy may look at."""


@dataclass(frozen=True)
class Rollout:
    """How far a policy has come on one instance."""

    models: tuple[str, ...]
    """Models that the policy asked for, in order; where nothing is accepted yet, those it waits for come last."""
    accepted: str | None
    """The model whose patch is handed in; None while an attempt is missing."""
    paid_usd: float = 0.0
    """What the decision itself cost beyond the attempts."""
    paid_seconds: float = 0.0
    """How long that took beyond the attempts."""
    carried: Mapping[str, str] = field(default_factory=dict)
    """By model: the one whose diff its attempt starts with."""


def models_missing_from(router: Router, pool: Sequence[str]) -> list[str]:
    """The checkpoint's models that `pool` lacks and that its policy can do without: no cascade can, nor no model."""
    if is_sequential(router.policy) or not set(router.policy.models_) & set(pool):
        return []
    return [name for name in router.policy.models_ if name not in pool]


def roll_out(
    router: Router,
    dataset: Dataset,
    rows: Sequence[CellRow] = (),
    folder: RunFolder | None = None,
    pool: Sequence[str] | None = None,
    *,
    needs_evidence: bool = False,
) -> dict[str, Rollout]:
    """Decide every instance as far as the finished attempts among `rows` (their patches in `folder`) allow.

    With `needs_evidence`, an attempt counts as finished when the evidence on it is on record, too.

    With a `pool`, a policy that looks at no attempts chooses among the pool's models: the next best where the
    checkpoint's first choice is not in it.
    """
    exclude = [] if pool is None else models_missing_from(router, pool)

    def decide(x: FloatArray, attempts: Sequence[FinishedAttempt]) -> Decision:
        if not exclude or attempts:
            return next_step(router.policy, x, attempts)
        weight = float(router.policy.get_params().get("cost_weight", 0.0))
        return Run(router.policy.models_[int(predict_without(router.policy, x[None, :], exclude, weight)[0])])

    finished = {row.cell: row for row in rows if row.state in FINISHED}
    texts = [instance.problem_statement for instance in dataset.instances]
    embeddings = embed_texts(texts, router.embedder)
    evidence = {} if folder is None else read_evidence(folder)
    rollouts: dict[str, Rollout] = {}
    for instance, x in zip(dataset.instances, embeddings, strict=True):
        attempted: list[CellRow] = []
        carried: dict[str, str] = {}
        known = evidence.get(instance.instance_id)
        while isinstance(decision := decide(x, _attempts(attempted, folder, known)), Run):
            if decision.carry and attempted:
                carried[decision.model] = attempted[-1].model
            row = finished.get(Cell(instance.instance_id, decision.model))
            if row is None or (needs_evidence and not _is_tested([*attempted, row], folder, known)):
                break
            attempted.append(row)
        models = tuple(row.model for row in attempted)
        if isinstance(decision, Run):
            # those it will ask for in any case start now; an attempt that has finished is paid for and stays a part
            waited_for = dict.fromkeys((*models, decision.model, *decision.also))
            rollouts[instance.instance_id] = Rollout(tuple(waited_for), None, carried=carried)
        else:
            paid = (decision.paid_usd, decision.paid_seconds)
            rollouts[instance.instance_id] = Rollout(models, decision.model, *paid, carried=carried)
    return rollouts


def carried_diffs(rollouts: Mapping[str, Rollout], folder: RunFolder | None) -> dict[Cell, str]:
    """The earlier attempt's diff that each cell starts with, submitted or not; without cells that start afresh."""
    diffs = {
        Cell(instance, model): _diff_of(folder, Cell(instance, source))
        for instance, rollout in rollouts.items()
        for model, source in rollout.carried.items()
        if folder is not None
    }
    return {cell: diff for cell, diff in diffs.items() if diff.strip()}


def _diff_of(folder: RunFolder, cell: Cell) -> str:
    unsubmitted = folder.cell_dir(cell) / UNSUBMITTED_FILE
    patch = read_patch(folder, cell)
    if patch.strip() or not unsubmitted.is_file():
        return patch
    return unsubmitted.read_bytes().decode("utf-8", errors="replace")


def read_evidence(folder: RunFolder) -> dict[str, EvidenceRow]:
    """By instance: the evidence on record in a run's folder."""
    with Store(folder.store_path, read_only=True) as store:
        return store.evidence()


def _is_tested(rows: Sequence[CellRow], folder: RunFolder | None, evidence: EvidenceRow | None) -> bool:
    return folder is not None and evidence is not None and covers(evidence, _patches(rows, folder))


def _patches(rows: Sequence[CellRow], folder: RunFolder) -> dict[str, str]:
    return {row.model: read_patch(folder, row.cell) for row in rows}


def _attempts(rows: Sequence[CellRow], folder: RunFolder | None, evidence: EvidenceRow | None) -> list[FinishedAttempt]:
    """Attempts as a policy sees them that has made no others yet."""
    patches = [None if folder is None else read_patch(folder, row.cell) for row in rows]
    tested = None if folder is None or evidence is None else evidence_signals(evidence, _patches(rows, folder))
    replaced = OWN_COLUMNS if tested is None else OWN_COLUMNS.union(SIGNALS)
    comparable = len(rows) > 1 and None not in patches
    similarities = agreement([patch or "" for patch in patches]) if comparable else [{} for _ in rows]
    return [
        FinishedAttempt(
            row.model,
            cost_usd=row.cost_usd,
            exit_status=row.exit_status,
            patch=patch,
            calls=row.api_calls,
            seconds=row.agent_seconds,
            signals={name: value for name, value in row.signals.items() if name not in replaced}
            | (tested or {}).get(row.model, {})
            | similarity,
        )
        for row, patch, similarity in zip(rows, patches, similarities, strict=True)
    ]
