"""Figures come from the results document alone, on a machine without a display."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.evaluation.results import build_results
from harness.evaluation.schema import Results
from harness.evaluation.settings import EvaluationInputs, EvaluationSettings
from router.outcomes import OutcomeMatrix

pytest.importorskip("matplotlib")


def results(cost: bool = True, policies: tuple[str, ...] = ("cluster",)) -> Results:
    rng = np.random.default_rng(0)
    price = [1.0, 0.3, 0.1] * np.exp(np.random.default_rng(1).normal(size=(60, 3))) if cost else None
    outcomes = OutcomeMatrix.build(
        [f"i{k}" for k in range(60)], ["ant", "bee", "cat $ <&>"], (rng.random((60, 3)) < 0.5).astype(float), price
    )
    params = {"cluster": {"n_clusters": 3}} if "cluster" in policies else {}
    inputs = EvaluationInputs(outcomes=outcomes, embeddings=rng.normal(size=(60, 4)), dataset="toy")
    settings = EvaluationSettings(policies=policies, params=params, folds=3, repeats=1, permutations=9)
    return build_results(inputs, settings)


def test_every_figure_is_written_and_the_same_again(tmp_path: Path):
    from harness.report.figures import write_figures

    document = Results.model_validate_json(results().to_json())
    written = write_figures(document, tmp_path / "a")
    assert sorted(path.name for path in written) == [
        "clusters.png", "clusters.svg", "cost-quality.png", "cost-quality.svg", "pairs.png", "pairs.svg",
        "rates.png", "rates.svg", "reliability.png", "reliability.svg", "shares.png", "shares.svg",
        "what-it-takes.png", "what-it-takes.svg",
    ]  # fmt: skip
    assert all(path.stat().st_size > 5000 for path in written)
    for path in write_figures(document, tmp_path / "b"):
        assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes()


def test_names_are_no_formulas_and_clusters_carry_their_words(tmp_path: Path):
    from harness.report.figures import write_figures

    found = results()
    name = "a $\\frac{$ b \x07"
    text = found.to_json().replace("cat $ <&>", json.dumps(name)[1:-1]).replace('"toy"', '"$\\\\frac{$"')
    document = Results.model_validate_json(text)
    clusters = [cluster.model_copy(update={"words": ["$x^{$", "queryset"]}) for cluster in document.clusters]
    written = write_figures(document.model_copy(update={"clusters": clusters}), tmp_path)
    assert len(written) == 14
    assert "queryset" in (tmp_path / "clusters.svg").read_text()  # as the comment beside its outline


def test_unknown_costs_and_policies_without_clusters_leave_a_figure_out(tmp_path: Path):
    from harness.report.figures import write_figures

    plain = {"pairs", "rates", "shares"}
    assert {path.stem for path in write_figures(results(cost=False), tmp_path)} == {"clusters", *plain}
    assert {path.stem for path in write_figures(results(policies=("best-fixed",)), tmp_path)} == {
        "cost-quality", "reliability", "what-it-takes", *plain
    }  # fmt: skip
