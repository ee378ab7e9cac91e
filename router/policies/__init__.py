"""Routing policies by short name. One idea a file; a new policy is a new file and a line in POLICIES."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import Any

from router.policies.base import Policy, PolicyNotFittedError, PolicyParameterError

__all__ = [
    "POLICIES",
    "RECORDED_ONLY",
    "Policy",
    "PolicyNotFittedError",
    "PolicyParameterError",
    "UnknownPolicyError",
    "make_policy",
]

POLICIES = {
    "auto": "router.policies.auto.AutoPolicy",
    "best-fixed": "router.policies.fixed.BestFixedPolicy",
    "cascade": "router.policies.cascade.CascadePolicy",
    "cluster": "router.policies.cluster.ClusterPolicy",
    "knn": "router.policies.knn.NearestPolicy",
    "linear": "router.policies.linear.LinearPolicy",
    "oracle": "router.policies.oracle.OraclePolicy",
    "random": "router.policies.random.RandomPolicy",
    "shared-difficulty": "router.policies.shared_difficulty.SharedDifficultyPolicy",
    "uniroute-kmeans": "router.policies.uniroute_kmeans.UniRouteKMeansPolicy",
    "uniroute-map": "router.policies.uniroute_map.UniRouteMapPolicy",
    "zero-router": "router.policies.zero_router.ZeroRouterPolicy",
}


RECORDED_ONLY = ("oracle",)
"""policies that can be replayed on recorded outcomes, but neither act live nor be saved"""


class UnknownPolicyError(ValueError):
    """There is no policy of that name; the message lists the names there are."""


def make_policy(name: str, **params: Any) -> Policy:
    """An unfitted policy by short name, or by a name with parameters: "cascade:prior=shared-difficulty,slack=0.05".

    `params` come before those in the name. Raises UnknownPolicyError, or PolicyParameterError for a parameter it lacks.
    """
    name, _, given = name.partition(":")
    params = {**_parameters(name, given), **params}
    if name not in POLICIES:
        near = get_close_matches(name, POLICIES, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise UnknownPolicyError(f"unknown policy {name!r}{hint}; valid policies: {', '.join(sorted(POLICIES))}")
    module, _, attribute = POLICIES[name].rpartition(".")
    policy: Policy = getattr(import_module(module), attribute)()
    return policy.set_params(**params)


def _parameters(name: str, given: str) -> dict[str, Any]:
    """Of "a=1,b=x": whole numbers, then other numbers, then text."""
    pairs = [part.strip().partition("=") for part in given.split(",") if part.strip()]
    if wrong := next((key for key, equals, _ in pairs if not key or not equals), None):
        raise PolicyParameterError(f"policy {name!r}: {wrong!r} is not of the form NAME=VALUE")
    return {key.strip(): _value(text.strip()) for key, _, text in pairs}


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
