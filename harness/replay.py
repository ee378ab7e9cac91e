"""Every routing policy on recorded outcomes: what would routing have brought? No Docker, no key, seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.data.corpus import corpus_embeddings
from harness.data.embeddings import embed_texts
from harness.data.instances import problem_statements, repositories_of
from harness.data.rows import dataset_title, load_rows
from harness.evaluation.annotate import described
from harness.evaluation.policy_rows import Progress, silent
from harness.evaluation.results import build_results
from harness.evaluation.schema import Results
from harness.evaluation.settings import EvaluationInputs, EvaluationSettings
from harness.importers import auxiliary_matrix, latest_date, load_outcomes, outcome_matrix, write_outcomes_csv
from harness.importers.matrices import pool_repeats, selected
from harness.importers.repeats import RepeatedModel, repeated_models
from harness.report.tables import write_results
from router.embedding import DEFAULT_EMBEDDER, Embedder, TextEmbedder
from router.outcomes import OutcomeMatrix


@dataclass(frozen=True)
class RecordedSources:
    """Where recorded outcomes and the texts of their instances are."""

    outcomes: Sequence[str | Path]
    """See `harness.importers.load_outcomes`."""
    tasks: str | Path
    """See `harness.data.instances.read_problem_statements`."""
    split: str = "test"
    """Of a dataset on the hub."""
    select: Sequence[str] = ()
    """Terms that choose instances, see `harness.config.selection`; all without any."""
    pool: Sequence[str] | None = None
    """Parts of model names; None takes every sound run with the widest coverage."""
    auxiliary: Sequence[str | Path] = ()
    """Sources of runs that may inform difficulty and never enter the pool; later ones than the pool's last run are left
    out."""
    repeats_from: Sequence[str | Path] = ()
    """Sources of repeated runs of a model, see `harness.importers.repeats`."""
    corpus: str | None = None
    """General texts to learn clusters from, see `harness.data.corpus`."""
    drop_leaks: bool = False
    """Drop texts of the corpus that know the instances, instead of refusing."""
    allow_faulty: bool = False
    """Use runs that contradict their published rate."""


@dataclass(frozen=True)
class _Recorded:
    """What was read of the sources."""

    outcomes: OutcomeMatrix
    texts: dict[str, str]
    repositories: list[str]
    difficulties: list[str]
    auxiliary: OutcomeMatrix | None = None
    repeated: Sequence[RepeatedModel] = ()
    attempts: Sequence[RepeatedModel] = ()
    """Repeated attempts of the pool itself."""
    notes: list[str] = field(default_factory=list)


def replay_sources(
    sources: RecordedSources,
    settings: EvaluationSettings | None = None,
    *,
    embedder: str | TextEmbedder = DEFAULT_EMBEDDER,
    cache: Path | None = None,
    words: bool = True,
    progress: Progress = silent,
    show_bar: bool = False,
) -> tuple[Results, OutcomeMatrix]:
    """Evaluate routing policies on recorded outcomes; the same arguments give the same numbers.

    Args:
        sources: What is read.
        settings: How it is evaluated; `best-fixed` is added to the policies: the leader chosen in training folds stands
            beside the one chosen in hindsight.
        embedder: Name of a sentence-transformers model, or an embedder.
        cache: Root of the cache for downloads and embeddings.
        words: Keep each cluster's representative words and instances; without, the results hold numbers only.
        progress: Called before each stage.
        show_bar: Draw a progress bar while texts are embedded.

    Returns:
        The results, and the pool's outcomes that they were computed from.

    Raises:
        InputError: anything given that cannot be used.
        EnvironmentUnavailableError: no network where it is needed, or no embedder.
    """
    settings = settings or EvaluationSettings()
    settings = replace(settings, policies=tuple(dict.fromkeys([*settings.policies, "best-fixed"])))
    recorded = _read(sources, cache)
    texts = list(recorded.texts.values())
    progress(f"embedding {len(texts)} problem statements")
    embeddings = embed_texts(texts, embedder, cache=cache, show_bar=show_bar)
    general = None
    corpus_notes: list[str] = []
    if sources.corpus is not None:
        progress(f"embedding the texts of {sources.corpus}")
        general, corpus_notes = corpus_embeddings(
            sources.corpus,
            recorded.texts,
            embeddings,
            Embedder(embedder) if isinstance(embedder, str) else embedder,
            drop_leaks=sources.drop_leaks,
            cache=cache,
            show_bar=show_bar,
        )
    inputs = EvaluationInputs(
        outcomes=recorded.outcomes,
        embeddings=embeddings,
        dataset=dataset_title(sources.tasks),
        auxiliary=recorded.auxiliary,
        corpus=general,
        repositories=recorded.repositories,
        repeated=recorded.repeated,
        attempts=recorded.attempts,
        notes=[*recorded.notes, *corpus_notes],
    )
    results = described(
        build_results(inputs, settings, progress=progress),
        recorded.outcomes,
        recorded.texts if words else {},
        {
            "repository": recorded.repositories,
            "difficulty": recorded.difficulties,
        },
    )
    return results, recorded.outcomes


def write_replay(results: Results, outcomes: OutcomeMatrix, out: Path) -> None:
    """Write results.{json,csv,md} and outcomes.csv to a folder."""
    write_outcomes_csv(outcomes, out / "outcomes.csv")
    write_results(results, out)


def _read(sources: RecordedSources, cache: Path | None) -> _Recorded:
    loaded = load_outcomes(sources.outcomes, cache=cache)
    rows = load_rows(str(sources.tasks), sources.split)
    statements = problem_statements(rows, sources.tasks)
    matrix, pool_notes = outcome_matrix(loaded.runs, sources.pool, list(statements), allow_faulty=sources.allow_faulty)
    notes = [*loaded.notes, *pool_notes]
    matrix = selected(matrix, sources.select, rows, f"tasks {sources.tasks}")
    auxiliary = None
    if sources.auxiliary:
        auxiliary, auxiliary_notes = auxiliary_matrix(
            load_outcomes(sources.auxiliary, cache=cache).runs,
            matrix,
            benchmark=list(statements),
            not_after=latest_date(loaded.runs, matrix),
        )
        notes += auxiliary_notes
    repeated: list[RepeatedModel] = []
    if sources.repeats_from:
        repeated, left_out = repeated_models(load_outcomes(sources.repeats_from, cache=cache).runs, matrix.instances)
        notes += left_out
    difficulty = {row["instance_id"]: str(row.get("difficulty") or "") for row in rows}
    repositories = repositories_of(rows)
    return _Recorded(
        outcomes=matrix,
        texts={name: statements[name] for name in matrix.instances},
        repositories=[repositories[name] for name in matrix.instances],
        difficulties=[difficulty[name] for name in matrix.instances],
        auxiliary=auxiliary,
        repeated=repeated,
        attempts=pool_repeats(loaded.runs, matrix),
        notes=notes,
    )
