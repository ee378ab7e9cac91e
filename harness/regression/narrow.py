"""The new side's configuration, narrowed to what the test compares: nothing else is worth paying for."""

from __future__ import annotations

from collections.abc import Sequence

from harness.config import Config, RouterConfig, with_overrides
from harness.config.selection import ids_term, narrowed
from harness.data.instances import Instance
from harness.regression.plan import Plan


def only_compared(config: Config, plan: Plan, available: Sequence[Instance]) -> tuple[Config, str]:
    """The configuration with one attempt of the compared models on the plan's instances, and a note on attempts.

    Args:
        config: Of the new side.
        plan: What is compared.
        available: Instances that the configuration would run.
    """
    note = ""
    if len(plan.instances) < len(available):
        terms = narrowed(config.dataset.select, [ids_term(plan.instances)])
        config = with_overrides(config, {"dataset.select": terms})
    if config.run.mode == "routed":
        return config, note
    kept = {comparison.name for comparison in plan.comparisons} | {config.agent.reviewer}
    pool = [entry.model_copy(update={"repeats": None}) for entry in config.pool if entry.name in kept]
    if config.run.repeats > 1 or any((entry.repeats or 1) > 1 for entry in config.pool):
        note = "the test uses one attempt of every cell; 'repeats' in the configuration are not run"
    update = {
        "pool": pool,
        "run": config.run.model_copy(update={"repeats": 1}),
        # policies have nothing to say of a few instances
        "router": RouterConfig(policy=["best-fixed"]),
        "evidence": None,
    }
    return config.model_copy(update=update), note
