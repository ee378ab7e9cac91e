"""Issues rated by a model of the pool, each once: `polyswe dataset rate`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from agents.budget import Budget, BudgetSpentError
from agents.errors import PoolError, ProviderError
from agents.pool import ModelConfig, prices
from agents.rate_limit import rate_limits
from agents.rating import prompt_of, rate
from agents.retry import RetryConfig
from agents.usage import CHARACTERS_PER_TOKEN
from harness.data.ratings import RatingRow, append, appending, issue_key, read_rows
from harness.errors import ConfigError, InputError
from harness.run.preflight import check_models, scripted_models_ready

FAILURES = 3
"""Calls that may fail for good before no further one is made."""
REPLY_TOKENS = 300
"""Assumed of a reply, before it is paid for."""


def look_ahead(issues: Mapping[str, str], model: ModelConfig, path: Path) -> tuple[int, float]:
    """How many issues would be rated, and what that costs in USD, estimated from the lengths of the texts.

    Raises:
        ConfigError: the model's price is unknown.
        InputError: the file is damaged or of another model.
    """
    try:
        known = prices(model)
    except PoolError as error:
        raise ConfigError(f"pool: {error}") from error
    wanted = _unanswered(issues, read_rows(path) if path.is_file() else [], model, path)
    tokens = sum(len(prompt_of(issues[instance])) for instance in wanted) / CHARACTERS_PER_TOKEN
    return len(wanted), tokens * known.input + len(wanted) * REPLY_TOKENS * known.output


def _unanswered(issues: Mapping[str, str], rows: Sequence[RatingRow], model: ModelConfig, path: Path) -> list[str]:
    if others := sorted({row.model for row in rows} - {model.name}):
        raise InputError(f"ratings {path}: made by {', '.join(others)}; name another file for {model.name}")
    answered = {(row.instance_id, row.issue) for row in rows if not row.failure}
    return [instance for instance, text in issues.items() if (instance, issue_key(text)) not in answered]


@dataclass(frozen=True)
class Ratings:
    """What a file of ratings holds of a dataset afterwards."""

    rated: int
    unusable: int
    """Replies without usable ratings."""
    missing: int
    """Not rated, because the cost limit was reached or the provider failed."""
    spent: float
    """USD of all rows of the file."""
    spent_now: float
    stopped: str = ""
    """Why not every issue has a reply."""


def rate_issues(
    issues: Mapping[str, str],
    model: ModelConfig,
    path: Path,
    *,
    retry: RetryConfig,
    max_cost: float | None = None,
    workers: int = 4,
    say: Callable[[str], None] = lambda _: None,
) -> Ratings:
    """Have every issue rated that the file has no reply to, and append each reply as it arrives.

    Args:
        issues: Their texts by instance.
        model: The pool's entry that rates.
        path: The file of ratings; a row of another text of the issue does not count.
        retry: Patience with the provider.
        max_cost: USD that all rows of the file may cost together.
        workers: Calls at the same time.
        say: Called with lines about the progress.

    Raises:
        ConfigError: the model's price is unknown.
        EnvironmentUnavailableError: its key is not set.
        InputError: the file is damaged or of another model, or another process writes to it.
    """

    keys = {instance: issue_key(text) for instance, text in issues.items()}
    check_models([model])
    with appending(path) as file, scripted_models_ready([model]) as (reachable,):
        rows = read_rows(path)
        wanted = _unanswered(issues, rows, model, path)
        start = sum(row.cost_usd for row in rows)
        lock, stop = threading.Lock(), threading.Event()
        budget = Budget(max_cost, start, halted=stop.is_set)
        limit = rate_limits([model]).get(model.name)
        failures: list[str] = []
        reasons: list[str] = []

        def ask(instance: str) -> None:
            if stop.is_set():
                return
            paid: list[float] = []
            try:
                rating = rate(
                    issues[instance],
                    reachable,
                    retry,
                    budget=budget,
                    on_call=lambda call: paid.append(call.cost_usd),
                    rate_limit=limit,
                )
                row = RatingRow(instance, keys[instance], model.name, cost_usd=sum(paid), ratings=rating.values)
            except BudgetSpentError as error:
                reasons.append(str(error))
                stop.set()
                if not paid:
                    return
                row = RatingRow(instance, keys[instance], model.name, cost_usd=sum(paid), failure="budget")
            except ProviderError as error:
                failures.append(str(error))
                if len(failures) >= FAILURES:
                    reasons.append(failures[-1])
                    stop.set()
                row = RatingRow(instance, keys[instance], model.name, cost_usd=sum(paid), failure=error.kind)
            with lock:
                append(file, row)
                rows.append(row)
                done = len(rows)
            if done % 50 == 0:
                say(f"{done} replies, ${budget.spent:.4f}")

        with ThreadPoolExecutor(workers) as pool:
            try:
                list(pool.map(ask, wanted))
            finally:
                stop.set()  # an interrupt: what has begun ends and is recorded, nothing more begins
    last = {(row.instance_id, row.issue): row for row in rows if not row.failure}
    replies = [last.get(pair) for pair in keys.items()]
    return Ratings(
        rated=sum(row is not None and bool(row.ratings) for row in replies),
        unusable=sum(row is not None and not row.ratings for row in replies),
        missing=sum(row is None for row in replies),
        spent=budget.spent,
        spent_now=budget.spent - start,
        stopped=(reasons or failures or [""])[0],
    )
