"""What a model's repeated attempts say: how far one run scatters by chance, pass@k and pass^k."""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import comb

import numpy as np

from harness.evaluation.schema import RepeatedAttempts
from harness.evaluation.stats import bootstrap_mean
from harness.importers.repeats import RepeatedModel


def pass_at(n: int, resolved: int, k: int) -> float:
    """Chance that at least one of k attempts resolves an instance, estimated from n of which `resolved` did.

    1 − C(n − c, k) / C(n, k), unbiased for k ≤ n. Source: M. Chen et al., "Evaluating Large Language Models Trained on
    Code" (2021), arXiv:2107.03374, equation 1.
    """
    return 1 - comb(n - resolved, k) / comb(n, k)


def pass_hat(n: int, resolved: int, k: int) -> float:
    """Chance that all of k attempts resolve an instance (pass^k), estimated from n of which `resolved` did.

    C(c, k) / C(n, k), unbiased for k ≤ n. Source: S. Yao et al., "τ-bench" (2024), arXiv:2406.12045, section 4.
    """
    return comb(resolved, k) / comb(n, k)


def repeated_attempts(models: Sequence[RepeatedModel], *, seed: int = 0) -> list[RepeatedAttempts]:
    """The statistics of every model that was run several times; `seed` is the intervals'."""
    return [_statistics(model, seed) for model in models]


def _statistics(model: RepeatedModel, seed: int) -> RepeatedAttempts:
    verdicts = model.runs.resolved
    n, k = verdicts.shape
    counts = verdicts.sum(axis=1).astype(int).tolist()
    any_of, all_of = ([estimate(k, c, k) for c in counts] for estimate in (pass_at, pass_hat))
    # c resolved of k differ in c (k − c) of k (k − 1) / 2 pairs, which is twice the variance of one attempt's verdict
    flips = [2 * c * (k - c) / (k * (k - 1)) for c in counts]
    return RepeatedAttempts(
        model=model.name,
        attempts=k,
        instances=n,
        left_out=model.left_out,
        resolved=verdicts.sum(axis=0).astype(int).tolist(),
        mean=sum(counts) / k,
        sd=math.sqrt(sum(flips) / 2),
        flip_rate=float(np.mean(flips)),
        pass_at=[float(np.mean([pass_at(k, c, j) for c in counts])) for j in range(1, k + 1)],
        pass_at_ci95=bootstrap_mean(any_of, seed=seed),
        pass_hat=[float(np.mean([pass_hat(k, c, j) for c in counts])) for j in range(1, k + 1)],
        pass_hat_ci95=bootstrap_mean(all_of, seed=seed),
    )
