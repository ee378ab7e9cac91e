"""The laboratory's studies: random pools, new models, transfer, the summary; and what a corpus may not hold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.data.corpus import CorpusText, find_leaks, load_corpus, refuse_leaks
from harness.errors import InputError
from harness.lab.labels import study_labels
from harness.lab.pools import study_pools
from harness.lab.recorded import RecordedStudy
from harness.lab.summary import render_summary
from harness.lab.transfer import study_transfer
from harness.lab.trials import Execution, run_trials
from router.outcomes import OutcomeMatrix

N = 60


def study_of(outcomes: OutcomeMatrix, X: np.ndarray, **more: object) -> RecordedStudy:
    return RecordedStudy(name="made up", outcomes=outcomes, embeddings=X, **more)  # type: ignore[arg-type]


def recorded(models: int = 5, prefix: str = "repo__a") -> tuple[OutcomeMatrix, np.ndarray]:
    rng = np.random.default_rng(0)
    hard = rng.normal(size=N)
    p = 1 / (1 + np.exp(hard[:, None] - np.linspace(0, 1, models)))
    names = [f"m{h}" for h in range(models)]
    ids = [f"{prefix}-{i}" for i in range(N)]
    costs = np.tile(np.linspace(0.1, 1, models), (N, 1))
    X = np.column_stack([hard, rng.normal(size=(N, 3))])
    return OutcomeMatrix.build(ids, names, (rng.random(p.shape) < p).astype(float), costs), X


def test_pools_are_compared_with_their_best_model(tmp_path: Path) -> None:
    outcomes, X = recorded()
    study = study_pools(
        study_of(outcomes, X),
        pools=3,
        folds=3,
        repeats=1,
        policies=["best-fixed", "price-aware best-fixed"],
        execution=Execution(out=tmp_path),
    )
    document = json.loads((tmp_path / "pools.json").read_text())
    assert [row["policy"] for row in document["rows"]] == ["best-fixed", "price-aware best-fixed"]
    assert all(row.mean_delta <= 0 for row in study.rows), "no fixed choice beats the best fixed choice in hindsight"
    assert not list(tmp_path.glob("*.partial*"))
    assert "3 random pools" in render_summary_of(tmp_path)


def render_summary_of(folder: Path) -> str:
    (folder / "pools").mkdir()
    (folder / "pools/pools.json").write_text((folder / "pools.json").read_text())
    return render_summary(folder)


def test_pools_of_incomplete_runs_or_unknown_policies_are_refused() -> None:
    outcomes, X = recorded()
    with pytest.raises(InputError, match="no policy 'cluster'"):
        study_pools(study_of(outcomes, X), policies=["cluster"])
    unknown = np.array(outcomes.resolved)
    unknown[0, 0] = np.nan
    with pytest.raises(InputError, match="every verdict and cost known"):
        study_pools(study_of(outcomes.with_resolved(unknown), X))


def test_a_stopped_series_goes_on_where_it_was(tmp_path: Path) -> None:
    judged: list[int] = []

    def judge(task: int) -> dict[str, object]:
        if task == 2 and judged.count(2) == 0:
            judged.append(task)
            raise InputError("stopped")
        judged.append(task)
        return {"square": task * task}

    kept = tmp_path / "kept.jsonl"
    with pytest.raises(InputError, match="stopped"):
        run_trials(judge, [0, 1, 2, 3], settings="s", kept=kept)
    kept.write_text(kept.read_text() + '{"trial": 9, "rec')  # killed while writing
    records = run_trials(judge, [0, 1, 2, 3], settings="s", kept=kept)
    assert [record["square"] for record in records] == [0, 1, 4, 9]
    assert judged == [0, 1, 2, 2, 3]
    run_trials(judge, [0, 1], settings="other", kept=kept)
    assert judged[-2:] == [0, 1], "other settings start anew"


def test_more_labels_make_a_smaller_error(tmp_path: Path) -> None:
    outcomes, X = recorded(8)
    study = study_labels(study_of(outcomes, X), counts=(5, 40), execution=Execution(out=tmp_path))
    few, many = study.rows
    assert many.error < few.error
    assert many.random_error < few.random_error
    assert "| 40 |" in (tmp_path / "labels.md").read_text()
    with pytest.raises(InputError, match="between 1 and 59"):
        study_labels(study_of(outcomes, X), counts=(60,))


def test_a_new_model_is_not_estimated_from_itself_or_from_later_runs(tmp_path: Path) -> None:
    outcomes, X = recorded(5)
    twin = OutcomeMatrix.build(outcomes.instances, ["twin of m0"], outcomes.resolved[:, :1])
    free = np.ones((5, 6), dtype=bool)
    barred = free.copy()
    barred[0, 5] = False
    leaking, honest = (
        study_labels(study_of(outcomes, X, reference=twin, known_before=known), counts=(30,))
        for known in (free, barred)
    )
    assert leaking.trials[1:] == honest.trials[1:]
    assert leaking.trials[0] != honest.trials[0]
    with pytest.raises(InputError, match="2 runs that were known before"):
        study_labels(study_of(outcomes, X, known_before=np.eye(5, dtype=bool)), counts=(30,))


def test_transfer_refuses_what_is_evaluated_and_models_nobody_knows() -> None:
    outcomes, X = recorded(3)
    other, other_X = recorded(3, prefix="repo__b")
    study = study_transfer(study_of(outcomes, X), study_of(other, other_X), policies=["best-fixed"], folds=3, repeats=1)
    assert study.known_cells == {"m0": N, "m1": N, "m2": N}
    low, high = study.rows[0].difference_ci95
    assert low <= study.rows[0].difference <= high
    with pytest.raises(InputError, match="60 instances are the evaluation's own"):
        study_transfer(study_of(outcomes, X), study_of(outcomes, X))
    stranger = OutcomeMatrix.build(other.instances, ["x", "y", "z"], other.resolved)
    with pytest.raises(InputError, match="no model of the pool"):
        study_transfer(study_of(outcomes, X), study_of(stranger, other_X))


STATEMENTS = {"django__django-1": "Fix the parser", "psf__requests-2": "Close the socket"}


def test_a_corpus_that_knows_the_evaluation_is_refused_by_id() -> None:
    corpus = [
        CorpusText("equal", "fix  THE parser\n"),
        CorpusText("near", "Fix a parser"),
        CorpusText("own", "anything", "Django/Django"),
        CorpusText("fine", "sort a list", "other/project"),
        CorpusText("django__django-99999", "told by its id alone"),
        CorpusText("psf__requests.1b2c3d4e.change__x1", "so is this"),
        CorpusText("psf/requests#7", "and this"),
        CorpusText("psf__requests-html-5", "another repository"),
    ]
    embedded = np.array([[1.0, 0.0], [0.99, 0.14], [0.0, -1.0], *[[-1.0, 0.0]] * 5])
    leaks = find_leaks(corpus, STATEMENTS, embedded, np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert [leak.id for leak in leaks] == ["equal", "near", "own", *(text.id for text in corpus[4:7])]
    with pytest.raises(InputError, match=r"6 texts .*equal is the evaluation instance django__django-1.*--drop-leaks"):
        refuse_leaks(leaks)
    refuse_leaks([])


def test_a_corpus_is_read_from_a_folder_and_must_have_texts(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "t1", "text": "sort a list", "repo": "o/p"}\n')
    (tmp_path / "b.jsonl").write_text('{"id": 2, "prompt": "add two numbers"}\n')
    assert [text.id for text in load_corpus(str(tmp_path))] == ["t1", "2"]
    (tmp_path / "c.jsonl").write_text('{"id": "t1", "number": 3}\n')
    with pytest.raises(InputError, match="no row has a text"):
        load_corpus(str(tmp_path / "c.jsonl"))
