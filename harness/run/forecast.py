"""What a run will do, cost, take and need, before anything is started: `polyswe evaluate … --dry-run`."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.pool import ModelConfig
from agents.rate_limit import least_hours
from harness.config import Config
from harness.data.instances import Dataset
from harness.data.ratings import RatingRow, hardest, issue_key
from harness.grading.verdict import Verdict
from harness.run.cost_prediction import CostPredictor
from harness.run.disk import disk_needed, shortage_here
from harness.run.expected import DRAWS, Expected, interval
from harness.run.plan import plan
from harness.run.preflight import check_settings
from harness.run.records import Past, records_of, stored_rows
from harness.run.spending import (
    ASSUMED_COMPLETION_TOKENS,
    ASSUMED_PROMPT_TOKENS,
    assumed_cost,
    cell_limit,
    limit_note,
    spent_by,
)
from harness.run.test_writing import writing_note
from harness.store.keys import Change, change
from harness.store.rows import ATTEMPTED, Cell, CellRow, State
from harness.store.run_folder import RunFolder
from harness.text import counted

ASSUMED_CALLS = 40.0
"""Of an attempt of which nothing is recorded."""
SECONDS_PER_CALL = 7.5
"""What a call and the command that it asks for take, where nothing is recorded."""
ASSUMED_TEST_SECONDS = 60.0
"""Of a grading of which nothing is recorded."""
GRADING_OVERHEAD_SECONDS = 2.0
"""What a grading takes beside its tests: its container is created, filled and removed."""
OWN_SECONDS = 15.0
"""What a run takes before its first cell and after its last one: libraries are loaded, the report is written."""
CELL_GB = 0.002
"""A cell's patch, trajectory and logs."""
DEAREST = 5
"""Instances that are named with their predicted costs, or as the hardest."""
COLUMNS = 100
"""Width of the text."""


@dataclass(frozen=True)
class ModelForecast:
    """One model's cells, and what the remaining ones are expected to take."""

    model: str
    planned: int
    graded: int
    to_grade: int
    to_attempt: int
    cost: float
    """USD of the remaining attempts."""
    cost_draws: NDArray[np.float64] | None
    """Draws of `cost`; None where it rests on an assumption."""
    cost_at_worst: float
    """USD if each remaining attempt reaches its cost limit; infinite without one."""
    agent_seconds: float
    """Seconds of the remaining attempts, one after the other."""
    least_hours: float
    """What they take at least under the entry's own limits."""
    test_seconds: float
    """Seconds of the remaining gradings' tests, one after the other."""
    basis: str
    """What the figures rest on."""
    predicted: Mapping[str, float] = field(default_factory=dict)
    """USD of each remaining cell's instance, where costs are predicted by instance."""

    @property
    def cost_range(self) -> tuple[float, float] | None:
        """95 % interval of `cost`."""
        return None if self.cost_draws is None else interval(self.cost_draws)

    @property
    def cost_per_cell(self) -> float | None:
        """None where nothing is left to attempt."""
        return self.cost / self.to_attempt if self.to_attempt else None


@dataclass(frozen=True)
class Forecast:
    """What is left of a run, and what it is expected to take."""

    dataset: str
    instances: int
    models: Sequence[ModelForecast]
    spent: float
    """USD spent so far, failed attempts included."""
    agent_workers: int
    agent_hours: float
    """Wall clock with the configured workers and the models' limits."""
    grading_hours: float
    images: int
    images_missing: int | None
    """None when no engine answers."""
    disk_gb: float
    disk_basis: str
    disk_shortage: str
    """What is missing on the engine's disk and what to do about it; empty when there is enough, or nobody knows."""
    max_cost: float | None
    hardest: Sequence[str] = ()
    """Instances whose issues are rated hardest: the likeliest to fail."""
    notes: Sequence[str] = ()

    @property
    def cost(self) -> float:
        return sum(model.cost for model in self.models)

    @property
    def cost_range(self) -> tuple[float, float] | None:
        """95 % interval of `cost`; None where that of a model rests on an assumption."""
        draws = [model.cost_draws for model in self.models if model.cost_draws is not None]
        return interval(np.sum(draws, axis=0)) if len(draws) == len(self.models) else None

    @property
    def cost_at_worst(self) -> float:
        return sum(model.cost_at_worst for model in self.models)

    @property
    def hours(self) -> float:
        """Agents and gradings overlap: the longer of the two, and what the run itself takes."""
        working = max(self.agent_hours, self.grading_hours)
        return working + OWN_SECONDS / 3600 if working else 0.0


def forecast(
    config: Config,
    dataset: Dataset,
    folder: RunFolder,
    history: Sequence[str] = (),
    again: Collection[Cell] = (),
    ratings: Mapping[str, RatingRow] | None = None,
) -> Forecast:
    """Look ahead without starting or writing anything.

    Args:
        config: what would be run.
        dataset: its instances.
        folder: where the run is, or would be kept.
        history: recorded outcomes (what `polyswe replay` takes) whose runs are named like models of the pool, or like
            what the entries' `record` says.
        again: finished cells that would be attempted again.
        ratings: of the issues by a language model, by instance.

    Raises:
        InputError: prices are unknown, or the history or the run's store cannot be read.
    """
    check_settings(config)
    folder.check_store()
    rows = stored_rows(folder)
    cells = plan(config, dataset, list(rows.values()), folder)  # a cascade asks for more after what has finished
    changes = {
        cell: change(rows[cell].key, cells[cell]) for cell in cells if cell in rows and rows[cell].state in ATTEMPTED
    }
    refused = {cell for cell, what in changes.items() if what is Change.ATTEMPT}
    regraded = {cell for cell, what in changes.items() if what is Change.GRADING}
    known = {cell: row for cell, row in rows.items() if cell in cells and cell not in refused}
    known |= {cell: replace(known[cell], state=State.PLANNED) for cell in again if cell in known}
    records = records_of(config.pool, history)
    ratings = dict(ratings or {})
    changed = [
        i.instance_id
        for i in dataset.instances
        if i.instance_id in ratings and ratings[i.instance_id].issue != issue_key(i.problem_statement)
    ]
    for instance in changed:
        del ratings[instance]
    planned = {i.instance_id: ratings[i.instance_id] for i in dataset.instances if i.instance_id in ratings}
    predictor = CostPredictor.of(known.values(), {name: list(row.ratings.values()) for name, row in ratings.items()})
    models = [
        _model_forecast(
            model,
            [cell for cell in cells if cell.model == model.name],
            known,
            past=records[model.name],
            config=config,
            predictor=predictor,
        )
        for model in config.pool
    ]
    remaining = {cell for cell in cells if cell not in known or known[cell].state is not State.GRADED} | regraded
    images = sorted({i.image for i in dataset.instances if i.instance_id in {cell.instance_id for cell in remaining}})
    disk, missing, basis = disk_needed(images, local=dataset.scripted)
    shortage = shortage_here(config, disk)
    if config.run.images_gb is not None and disk > config.run.images_gb:
        disk, basis = config.run.images_gb, f"{basis}; at most run.images_gb are kept"
    notes = (
        [f"{len(refused)} outcomes in {folder.path} have other settings: the run would be refused"] if refused else []
    )
    if regraded:
        notes.append(f"{len(regraded)} finished attempts are graded again: their grading is another now")
    if changed:
        notes.append(f"{len(changed)} ratings are of another text of the issue and are not used")
    if limits := limit_note(config):
        notes.append(limits)
    if writing := writing_note(config, dataset, folder):
        notes.append(writing)
    agent_hours = sum(model.agent_seconds for model in models) / config.run.agent_workers / 3600
    slowest = max(models, key=lambda model: model.least_hours)
    if slowest.least_hours > agent_hours:
        agent_hours = slowest.least_hours
        notes.append(f"the limits of {slowest.model} (max_parallel, rpm, tpm) decide how long the agents take")
    grading_seconds = sum(model.test_seconds for model in models) + GRADING_OVERHEAD_SECONDS * len(remaining)
    return Forecast(
        dataset=dataset.title,
        instances=len(dataset.instances),
        models=models,
        spent=spent_by(folder),
        agent_workers=config.run.agent_workers,
        agent_hours=agent_hours,
        grading_hours=grading_seconds / config.run.grading_workers / 3600,
        images=len(images),
        images_missing=missing,
        disk_gb=disk + len(remaining) * CELL_GB,
        disk_basis=basis,
        disk_shortage=shortage,
        max_cost=config.run.max_cost,
        hardest=hardest(planned) if planned else (),
        notes=notes,
    )


def _model_forecast(
    model: ModelConfig,
    cells: Sequence[Cell],
    known: Mapping[Cell, CellRow],
    *,
    past: Past,
    config: Config,
    predictor: CostPredictor,
) -> ModelForecast:
    rows = [known[cell] for cell in cells if cell in known]
    done = [row for row in rows if row.state in ATTEMPTED]
    to_grade = [row.instance_id for row in done if row.state is State.AGENT_DONE]
    to_attempt = [cell.instance_id for cell in cells if cell not in known or known[cell].state not in ATTEMPTED]
    timed = any(row.test_seconds is not None for row in known.values())  # stores of earlier versions hold none
    cost = Expected(
        own=[row.cost_usd for row in done if row.cost_usd is not None],
        past={name: cell.cost_usd for name, cell in past.cells.items() if cell.cost_usd is not None},
        assumed=assumed_cost(model, config.agent),
        published=past.cost,
    )
    recorded, others = cost.past, past.other_costs
    if cost.source == "own":
        recorded, others = predictor.run_costs[model.name], {**others, past.name: cost.past}
    if cost.source == "own" or not set(to_attempt) <= recorded.keys():
        cost = replace(cost, predicted=predictor.predict(model.name, to_attempt, recorded, others))
    calls = Expected(
        own=[row.api_calls for row in done if row.api_calls is not None],
        past={name: cell.calls for name, cell in past.cells.items() if cell.calls is not None},
        assumed=past.calls or ASSUMED_CALLS,
    )
    agent = Expected(
        own=[row.agent_seconds for row in done if row.agent_seconds is not None],
        past={name: cell.agent_seconds for name, cell in past.cells.items() if cell.agent_seconds is not None},
        assumed=calls.mean * SECONDS_PER_CALL,
    )
    tests = Expected(
        own=[seconds for row in done if (seconds := _test_seconds(row)) is not None] if timed else [],
        past={name: cell.test_seconds for name, cell in past.cells.items() if cell.test_seconds is not None},
        assumed=ASSUMED_TEST_SECONDS,
    )
    seconds = agent.of(to_attempt)
    tokens_per_call = (ASSUMED_PROMPT_TOKENS + ASSUMED_COMPLETION_TOKENS) / ASSUMED_CALLS
    if taken := sum(row.api_calls or 0 for row in done):
        tokens_per_call = sum((row.prompt_tokens or 0) + (row.completion_tokens or 0) for row in done) / taken
    further_calls = calls.of(to_attempt)
    limit = cell_limit(model, config.agent)
    return ModelForecast(
        model=model.name,
        planned=len(cells),
        graded=sum(row.state is State.GRADED for row in rows),
        to_grade=len(to_grade),
        to_attempt=len(to_attempt),
        cost=0.0 if model.free else cost.of(to_attempt),
        # draws of their own for each model, so that their sums add up as independent ones
        cost_draws=np.zeros(DRAWS) if model.free else cost.draws(to_attempt, seed=config.pool.index(model)),
        cost_at_worst=limit * len(to_attempt) if to_attempt else 0.0,
        agent_seconds=seconds,
        least_hours=least_hours(
            model, calls=further_calls, tokens=further_calls * tokens_per_call, attempt_seconds=seconds
        ),
        test_seconds=tests.of([*to_grade, *to_attempt]),
        basis="; ".join(_basis(model, past, cost, agent, tests)),
        predicted={} if cost.predicted is None else {name: cost.of([name]) for name in to_attempt},
    )


def _test_seconds(row: CellRow) -> float | None:
    """Of a graded cell; a patch that is empty or does not apply takes no tests."""
    if row.verdict in (Verdict.EMPTY_PATCH, Verdict.PATCH_FAILED):
        return 0.0
    return row.test_seconds


def _basis(model: ModelConfig, past: Past, cost: Expected, agent: Expected, tests: Expected) -> Iterator[str]:
    """What a model's figures rest on."""
    if model.free:
        yield "free"
    elif cost.source == "own":
        yield f"{len(cost.own)} finished cells of this run" + _predicted(cost)
    elif cost.source == "past":
        name = f" of {past.name}" if past.name not in ("", model.name) else ""
        yield f"{len(cost.past)} recorded cells{name}{_predicted(cost)}"
    elif cost.published is not None:
        yield f"the leaderboard's mean over {cost.published.cells} instances for {past.name}"
    else:
        yield (
            f"assumed: {ASSUMED_PROMPT_TOKENS:,} prompt and {ASSUMED_COMPLETION_TOKENS:,} completion tokens a cell, "
            "at most its cost limit; --history or 'record' name a run to go by"
        )
    if agent.source == "assumed":
        yield f"{agent.assumed:.0f} s a cell assumed"
    if tests.source == "assumed":
        yield f"{ASSUMED_TEST_SECONDS:.0f} s of tests assumed"


def _predicted(cost: Expected) -> str:
    if cost.predicted is None:
        return ""
    return f", costs predicted by instance (r {cost.predicted.correlation:.2f} held out)"


def render(forecast: Forecast, folder: Path) -> str:
    """The forecast for a terminal of 100 columns."""
    size = f"{counted(forecast.instances, 'instance')}, {counted(len(forecast.models), 'model')}"
    title = f"{forecast.dataset}: {size}; run folder {folder}"
    lines = [title, "", *_table(forecast), ""]
    entries = [
        ("cost", _cost(forecast)),
        ("at worst", _at_worst(forecast)),
        ("time", _time(forecast)),
        ("disk", f"{forecast.disk_gb:.1f} GB more ({_images(forecast)}; {forecast.disk_basis})"),
        *([("MISSING", f"disk: {forecast.disk_shortage}")] if forecast.disk_shortage else []),
        *(("dearest", text) for text in _dearest(forecast)),
        *(("hardest", text) for text in _hardest(forecast)),
        *(("note", note) for note in forecast.notes),
        *(("based on", text) for text in _bases(forecast)),
    ]
    for name, text in entries:
        lines += textwrap.wrap(
            f"{name:<10}{text}", COLUMNS, subsequent_indent=" " * 10, break_long_words=False, break_on_hyphens=False
        )
    return "\n".join([*lines, "", "nothing was started or written"])


def _table(forecast: Forecast) -> Iterator[str]:
    width = min(26, max(len(model.model) for model in forecast.models))
    yield f"{'':<{width}}  cells   done  attempt   $/cell       cost  likely range           agents"
    for model in forecast.models:
        name = model.model if len(model.model) <= width else model.model[: width - 1] + "…"
        hours = in_hours(max(model.agent_seconds / forecast.agent_workers / 3600, model.least_hours))
        each = "" if model.cost_per_cell is None else f"{model.cost_per_cell:.3f}"
        yield (
            f"{name:<{width}}  {model.planned:>5}  {model.graded:>5}  {model.to_attempt:>7}  {each:>7}  "
            f"{model.cost:>9,.2f}  {_range(model.cost_range):<21}  {hours:>6}"
        )


def _dearest(forecast: Forecast) -> Iterator[str]:
    """The instances that are predicted to cost most, over the models whose costs are predicted."""
    totals: Counter[str] = Counter()
    for model in forecast.models:
        totals.update(model.predicted)
    if totals:
        yield ", ".join(f"{instance} ${cost:,.2f}" for instance, cost in totals.most_common(DEAREST))


def _hardest(forecast: Forecast) -> Iterator[str]:
    if forecast.hardest:
        more = len(forecast.hardest) - DEAREST
        names = ", ".join(forecast.hardest[:DEAREST]) + (f" and {more} more" if more > 0 else "")
        yield f"by their ratings, these are the likeliest to fail: {names}"


def _range(bounds: tuple[float, float] | None) -> str:
    return "not known" if bounds is None else f"{bounds[0]:,.2f} to {bounds[1]:,.2f}"


def _cost(forecast: Forecast) -> str:
    likely = f"likely range {_range(forecast.cost_range)}"
    return f"${forecast.cost:,.2f} more ({likely}), ${forecast.spent:,.2f} spent so far" + _against(forecast)


def _against(forecast: Forecast) -> str:
    if forecast.max_cost is None:
        return "; no --max-cost"
    over = forecast.cost + forecast.spent > forecast.max_cost
    return f"; the limit is ${forecast.max_cost:g}" + (", at which no further cell starts" if over else "")


def _at_worst(forecast: Forecast) -> str:
    """Without `run.max_cost`; what that leaves is among the notes."""
    if math.isinf(forecast.cost_at_worst):
        return "no bound: a model has no cost limit (agent.cost_limit)"
    limited = "" if forecast.max_cost is None else "; run.max_cost ends the run earlier"
    return f"${forecast.cost_at_worst:,.2f} more, if every attempt reaches its cost limit{limited}"


def _time(forecast: Forecast) -> str:
    return (
        f"{in_hours(forecast.hours)} (agents {in_hours(forecast.agent_hours)}, "
        f"grading {in_hours(forecast.grading_hours)}, at the same time)"
    )


def _images(forecast: Forecast) -> str:
    where = "no engine answers" if forecast.images_missing is None else f"{forecast.images_missing} missing"
    return f"{counted(forecast.images, 'image')}, {where}"


def _bases(forecast: Forecast) -> Iterator[str]:
    """What the figures rest on, once for all models that share it."""
    for basis in dict.fromkeys(model.basis for model in forecast.models):
        names = [model.model for model in forecast.models if model.basis == basis]
        yield basis if len(names) == len(forecast.models) else f"{', '.join(names)}: {basis}"


def in_hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.0f} min" if hours >= 1 / 30 else f"{hours * 3600:.0f} s"
