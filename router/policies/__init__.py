"""Routing policies by short name, one idea a file.

To add a policy, write a file here with a dataclass that subclasses `router.policies.base.OneShotPolicy` and add its
line to POLICIES. The class states all there is to know of it: `name`; its parameters, as fields; `fitted`, its arrays
and their shapes; `may_be_unknown`, the arrays that may hold NaN; `is_baseline` and `needs_recorded`; and the methods
`fit_features`, `fit_outcomes`, `scores` and `explain`. A policy that looks at finished attempts (a cascade) says so by
`is_sequential` and has `next_step` too, see `router.decision`. The tests of all policies then include it.

Classes are named by their import path, so that a policy is imported when it is asked for. Policies that use others
(auto, cascade) make them by `make_policy`.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import Any

from router.policy import Policy, PolicyNotFittedError, PolicyParameterError

__all__ = [
    "POLICIES",
    "Policy",
    "PolicyNotFittedError",
    "PolicyParameterError",
    "UnknownPolicyError",
    "is_baseline",
    "live_policies",
    "make_policy",
]

POLICIES = {
    "auto": "router.policies.auto.AutoPolicy",
    "best-fixed": "router.policies.fixed.BestFixedPolicy",
    "cascade": "router.policies.cascade.CascadePolicy",
    "cluster": "router.policies.cluster.ClusterPolicy",
    "cost-first": "router.policies.cost_first.CostFirstPolicy",
    "hypernova": "router.policies.hypernova.HypernovaPolicy",
    "knn": "router.policies.knn.NearestPolicy",
    "linear": "router.policies.linear.LinearPolicy",
    "oracle": "router.policies.oracle.OraclePolicy",
    "random": "router.policies.random.RandomPolicy",
    "select": "router.policies.select.SelectPolicy",
    "shared-difficulty": "router.policies.shared_difficulty.SharedDifficultyPolicy",
    "uniroute-kmeans": "router.policies.uniroute_kmeans.UniRouteKMeansPolicy",
    "uniroute-map": "router.policies.uniroute_map.UniRouteMapPolicy",
    "zero-router": "router.policies.zero_router.ZeroRouterPolicy",
}


class UnknownPolicyError(ValueError):
    """There is no policy of that name; the message lists the names there are."""


def make_policy(name: str, **params: Any) -> Policy:
    """An unfitted policy by short name, or by a name with parameters: "cascade:prior=shared-difficulty,slack=0.05".

    `params` come before those in the name. Raises UnknownPolicyError, or PolicyParameterError for a parameter it lacks.
    """
    name, _, given = name.partition(":")
    params = {**_parameters(name, given), **params}
    return _policy_class(name)().set_params(**params)


def is_baseline(name: str) -> bool:
    """Whether a policy of this name, with or without parameters, is a yardstick; False for what is no policy."""
    name = name.partition(":")[0]
    return name in POLICIES and _policy_class(name).is_baseline


def live_policies() -> list[str]:
    """The names of the policies that can be run and saved, in the order of POLICIES."""
    return [name for name in POLICIES if not _policy_class(name).needs_recorded]


def _policy_class(name: str) -> type[Policy]:
    if name not in POLICIES:
        near = get_close_matches(name, POLICIES, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise UnknownPolicyError(f"unknown policy {name!r}{hint}; valid policies: {', '.join(sorted(POLICIES))}")
    module, _, attribute = POLICIES[name].rpartition(".")
    kind: type[Policy] = getattr(import_module(module), attribute)
    return kind


def _parameters(name: str, given: str) -> dict[str, Any]:
    """Of "a=1,b=x": true and false, whole numbers, other numbers, then text."""
    pairs = [part.strip().partition("=") for part in given.split(",") if part.strip()]
    if wrong := next((key for key, equals, _ in pairs if not key or not equals), None):
        raise PolicyParameterError(f"policy {name!r}: {wrong!r} is not of the form NAME=VALUE")
    return {key.strip(): _value(text.strip()) for key, _, text in pairs}


def _value(text: str) -> bool | int | float | str:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
