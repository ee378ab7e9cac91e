"""Fitted rules beside the plain one: a conditional logit learns which of an instance's three attempts are right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.special import softmax

from harness.lab.selection.pools import Field, compare
from router.arrays import FloatArray, IntArray, mean_known

Features = Callable[[IntArray], FloatArray]
"""Features (n, 3, f) of a pool's attempts, NaN where unknown, given the pool's columns (3,)."""
PENALTY = 10.0
"""Ridge, on standardised features: that of the published study."""
STEPS = 25
"""Of Newton's method at most; it takes about six."""


def play_learned(field: Field, pools: Sequence[IntArray], features: Features) -> dict[str, Any]:
    """Of three attempts the likeliest to be right; everything is fitted on the training folds, for each pool anew.

    An indicator of each agent is a further feature. An empty patch is never handed in, unless all are.
    """
    held_out, best, in_training = np.zeros((3, len(pools), len(field.texts)))
    for p, pool in enumerate(pools):
        outcomes = field.outcomes(pool, {})
        resolved, empty = outcomes.resolved, outcomes.signals["patch_present"] == 0
        table = features(pool)
        for parts in field.splits:
            for train, test in parts:
                utilities = _utilities(table, resolved, train)
                chosen = np.where(empty, -np.inf, utilities)[test].argmax(axis=1)
                held_out[p, test] += resolved[test, chosen] / len(field.splits)
        best[p] = resolved[:, outcomes.best_single()]
        in_training[p] = field.best_in_training(pool)
    return {
        "pools": len(pools),
        "held_out": compare(held_out, best) | {"vs_best_in_training": compare(held_out, in_training)},
    }


def _utilities(table: FloatArray, resolved: FloatArray, train: IntArray) -> FloatArray:
    """(n, 3) the fitted index of each attempt, from features (n, 3, f) and the verdicts of the training rows."""
    mean = mean_known(table[train], axis=(0, 1))
    spread = np.sqrt(mean_known((table[train] - mean) ** 2, axis=(0, 1)))
    relative = np.nan_to_num((table - mean) / np.where(np.nan_to_num(spread) > 0, spread, 1.0))
    agents = np.broadcast_to(np.eye(table.shape[1]), (*table.shape[:2], table.shape[1]))
    z = np.concatenate([relative, agents], axis=2)
    return np.asarray(z @ conditional_logit(z[train], resolved[train]))


def conditional_logit(z: FloatArray, resolved: FloatArray) -> FloatArray:
    """(f,) weights that maximise P(which attempts are right | how many are), from features (n, 3, f) and verdicts.

    With one right of three, that is a softmax over the three; with two, one over the wrong one, of the negatives.
    Instances on which all verdicts are equal say nothing.
    """
    count = resolved.sum(axis=1)
    sets = np.concatenate([z[count == 1], -z[count == 2]])
    odd = np.concatenate([resolved[count == 1].argmax(axis=1), resolved[count == 2].argmin(axis=1)])
    weights, f = np.zeros(z.shape[2]), z.shape[2]
    for _ in range(STEPS):
        p = softmax(sets @ weights, axis=1)[..., None]
        mean = (p * sets).sum(axis=1, keepdims=True)
        gradient = (sets[np.arange(len(sets)), odd] - mean[:, 0]).sum(axis=0) - PENALTY * weights
        centred = (sets - mean).reshape(-1, f)
        curvature = (p * (sets - mean)).reshape(-1, f).T @ centred + PENALTY * np.eye(f)
        step = np.linalg.solve(curvature, gradient)
        weights = weights + step
        if np.abs(step).max() < 1e-9:
            break
    return weights
