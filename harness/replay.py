"""Every routing policy on recorded outcomes: what would routing have brought? No Docker, no key, seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.data.embeddings import embed_texts
from harness.data.instances import load_rows, problem_statements, repository_of
from harness.evaluation.annotate import described
from harness.evaluation.results import Progress, build_results, silent
from harness.evaluation.schema import Results
from harness.importers import auxiliary_matrix, latest_date, load_outcomes, outcome_matrix, write_outcomes_csv
from harness.importers.repeats import RepeatedModel, repeated_models
from harness.report.tables import write_results
from router.embedding import DEFAULT_EMBEDDER, TextEmbedder


def replay(
    outcome_sources: Sequence[str | Path],
    tasks: str | Path,
    *,
    pool: Sequence[str] | None = None,
    policies: Sequence[str] = ("cluster",),
    policy_params: Mapping[str, Mapping[str, Any]] | None = None,
    folds: int = 10,
    repeats: int = 10,
    seed: int = 0,
    permutations: int | None = None,
    out: Path | None = None,
    split: str = "test",
    embedder: str | TextEmbedder = DEFAULT_EMBEDDER,
    allow_faulty: bool = False,
    cache: Path | None = None,
    progress: Progress = silent,
    show_bar: bool = False,
    auxiliary: Sequence[str | Path] = (),
    repeats_from: Sequence[str | Path] = (),
    null_sizes: Sequence[int] = (),
    words: bool = True,
) -> Results:
    """Evaluate routing policies on recorded outcomes; the same arguments give the same numbers.

    Args:
        outcome_sources: see `harness.importers.load_outcomes`.
        tasks: see `read_problem_statements`.
        pool: parts of model names; None takes every sound run with the widest coverage.
        policies: short names of the router's policies.
        policy_params: parameters by policy name.
        folds, repeats, seed: of the cross-fitted evaluation and of every resampling.
        permutations: redrawn outcomes behind a policy's p value; None takes enough for a claim among all `policies`.
        out: folder for results.{json,csv,md} and outcomes.csv; nothing is written when None.
        split: of a dataset on the hub.
        embedder: name of a sentence-transformers model, or an embedder.
        allow_faulty: use runs that contradict their published rate.
        cache: root of the cache for downloads and embeddings.
        progress: told each stage, see `harness.evaluation.results.build_results`.
        show_bar: draw a progress bar while texts are embedded.
        auxiliary: sources of runs that may inform difficulty and never enter the pool; later ones than the pool's
            last run are left out.
        repeats_from: sources of repeated runs of a model, see `harness.importers.repeats`.
        null_sizes: sizes of clusters to draw at random beside the policies' own.
        words: keep each cluster's representative words and instances; without, the results hold numbers only.

    Raises:
        InputError: anything given that cannot be used.
        EnvironmentUnavailableError: no network where it is needed, or no embedder.
    """
    loaded = load_outcomes(outcome_sources, cache=cache)
    rows = load_rows(str(tasks), split)
    statements = problem_statements(rows, tasks)
    matrix, notes = outcome_matrix(loaded.runs, pool, list(statements), allow_faulty=allow_faulty)
    others = None
    told: list[str] = []
    if auxiliary:
        recorded = load_outcomes(auxiliary, cache=cache)
        last = latest_date(loaded.runs, matrix)
        others, told = auxiliary_matrix(recorded.runs, matrix, benchmark=list(statements), not_after=last)
    repeated: list[RepeatedModel] = []
    if repeats_from:
        repeated, left_out = repeated_models(load_outcomes(repeats_from, cache=cache).runs, matrix.instances)
        told += left_out
    texts = [statements[instance] for instance in matrix.instances]
    progress(f"embedding {len(texts)} problem statements")
    embeddings = embed_texts(texts, embedder, cache=cache, show_bar=show_bar)
    results = build_results(
        matrix,
        embeddings,
        dataset=Path(tasks).name if Path(tasks).is_file() else str(tasks),
        evaluation="recorded",
        # the leader chosen in training folds, beside the one chosen in hindsight
        policies=list(dict.fromkeys([*policies, "best-fixed"])),
        folds=folds,
        repeats=repeats,
        seed=seed,
        permutations=permutations,
        policy_params=policy_params,
        notes=[*loaded.notes, *notes, *told],
        progress=progress,
        auxiliary=others,
        repositories=[repository_of(instance) for instance in matrix.instances],
        repeated=repeated,
        null_sizes=null_sizes,
    )
    difficulty = {row["instance_id"]: str(row.get("difficulty") or "") for row in rows}
    results = described(
        results,
        matrix,
        {name: statements[name] for name in matrix.instances} if words else {},
        {
            "repository": [repository_of(name).replace("__", "/", 1) for name in matrix.instances],
            "difficulty": [difficulty[name] for name in matrix.instances],
        },
    )
    if out is not None:
        write_outcomes_csv(matrix, out / "outcomes.csv")
        write_results(results, out)
    return results
