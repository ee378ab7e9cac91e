"""How well signals of finished attempts predict their verdict, and what a better prediction would bring."""

from __future__ import annotations

import numpy as np

from harness.evaluation.schema import Reachable, ReliabilityBin, VerifierQuality
from router.clustering import one_thread
from router.lab.crossfit import folds as split
from router.lab.verifier import crossfit_verifier, judge
from router.lab.verifier_needed import what_it_takes
from router.outcomes import OutcomeMatrix
from router.signals import any_varies, signal_names

REPEATS = 2
"""Of the verifier's folds: its AUC is an average over all attempts already."""


def verifier_quality(outcomes: OutcomeMatrix, folds: int, repeats: int, seed: int) -> VerifierQuality | None:
    """A verifier on the recorded signals, held out; None where no signal is recorded or verdicts are all alike."""
    names = signal_names(outcomes)
    if not any_varies(outcomes, names) or len(np.unique(outcomes.resolved)) < 2:
        return None
    splits = split(len(outcomes), folds, min(repeats, REPEATS), seed)
    with one_thread():
        judged = judge(crossfit_verifier(outcomes, splits), outcomes.resolved, seed=seed)
    if np.isnan(judged.auc) or np.isnan(judged.auc_ci95).any():
        return None
    return VerifierQuality(
        signals=list(names),
        attempts=sum(part.n for part in judged.bins),
        auc=round(judged.auc, 6),
        auc_ci95=(round(judged.auc_ci95[0], 6), round(judged.auc_ci95[1], 6)),
        auc_across_models=round(judged.auc_across, 6),
        brier=round(judged.brier, 6),
        brier_of_rates=round(judged.brier_of_rates, 6),
        reliability=[
            ReliabilityBin(predicted=round(b.predicted, 6), observed=round(b.observed, 6), n=b.n) for b in judged.bins
        ],
    )


def reachable(outcomes: OutcomeMatrix, seed: int) -> list[Reachable]:
    """What cascades would reach with simulated verifiers; empty for one model, unknown costs, or free models."""
    if len(outcomes.models) < 2 or np.isnan(outcomes.cost).any() or outcomes.mean_cost().max() <= 0:
        return []
    return [
        Reachable(auc=p.auc, budget=p.budget, resolved=round(p.resolved, 6), cost_per_instance=round(p.cost, 9))
        for p in what_it_takes(outcomes, seed=seed)
    ]


def notes(quality: VerifierQuality | None, points: list[Reachable]) -> list[str]:
    """Both in a sentence each."""
    sentences = []
    if quality is not None:
        low, high = quality.auc_ci95
        sentences.append(
            f"signals of finished attempts ({', '.join(quality.signals)}) tell a model's right ones from its wrong "
            f"ones with AUC {quality.auc:.2f} [{low:.2f}, {high:.2f}], held out"
        )
    at_par = [point for point in points if point.budget == 1.0]
    if at_par:
        steps = ", ".join(f"{p.resolved:.0f} at {p.auc:.2f}" for p in at_par if round(100 * p.auc) % 10 == 0)
        sentences.append(
            "what it would take (verifier simulated, cascade chosen in hindsight, at most the best single model's "
            f"cost): resolved by the verifier's AUC {steps}"
        )
    return sentences
