"""A live run: plan, preflight, rollout, cells, scheduler, results."""
