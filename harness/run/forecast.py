"""What a run will do, cost, last and need, told before anything is started: `polyswe evaluate … --dry-run`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agents.pool import ModelConfig, prices
from harness.docker.images import GB_PER_IMAGE, layer_sizes
from harness.errors import EngineUnavailableError, InputError
from harness.store.store import Cell, CellRow, State, Store

if TYPE_CHECKING:
    from harness.config import Config
    from harness.data.instances import Dataset
    from harness.store.run_folder import RunFolder

ASSUMED_PROMPT_TOKENS = 600_000
ASSUMED_CACHED_SHARE = 0.85
ASSUMED_COMPLETION_TOKENS = 12_000
"""Of a cell of which nothing is recorded: about 40 calls whose conversation grows to 30,000 tokens."""
ASSUMED_AGENT_SECONDS = 300.0
ASSUMED_GRADING_SECONDS = 60.0
ENOUGH = 3
"""Finished cells of a model from which this run's own mean is taken."""
UNPACKED = 2.5
"""Size of an image on the disk over that of its layers in a registry."""
SAMPLED = 3
"""Manifests looked at; registries count them as pulls."""
CELL_GB = 0.002
"""A cell's patch, trajectory and logs."""


@dataclass(frozen=True)
class ModelForecast:
    """One model's cells, and what the remaining ones are expected to cost and last."""

    model: str
    planned: int
    graded: int
    to_grade: int
    to_attempt: int
    cost: float
    """USD of the remaining attempts."""
    cost_error: float
    """Standard error of `cost`; NaN where it rests on an assumption."""
    seconds: float
    """Agent's seconds of the remaining attempts."""
    basis: str


@dataclass(frozen=True)
class Forecast:
    dataset: str
    instances: int
    models: Sequence[ModelForecast]
    spent: float
    """USD spent so far, failed attempts included."""
    agent_hours: float
    """Wall clock with the configured workers."""
    grading_hours: float
    images: int
    images_missing: int | None
    """None when no engine answers."""
    disk_gb: float
    disk_basis: str
    max_cost: float | None
    notes: Sequence[str] = ()

    @property
    def cost(self) -> float:
        return sum(model.cost for model in self.models)

    @property
    def hours(self) -> float:
        """Agents and gradings overlap: the longer of the two."""
        return max(self.agent_hours, self.grading_hours)


def forecast(config: Config, dataset: Dataset, folder: RunFolder, history: Sequence[str] = ()) -> Forecast:
    """Look ahead without starting or writing anything.

    Args:
        history: recorded outcomes (what `polyswe replay` takes) whose runs are named like models of the pool.
    Raises:
        InputError: prices unknown, or history that cannot be read.
    """
    from harness.run.plan import plan
    from harness.run.preflight import check_settings

    check_settings(config)
    rows = _rows(folder)
    cells = plan(config, dataset, list(rows.values()), folder)  # a cascade asks for more after what has finished
    strange = [c for c, key in cells.items() if c in rows and rows[c].key != key and rows[c].state in _DONE]
    known = {cell: row for cell, row in rows.items() if cell in cells and cell not in strange}
    recorded = _recorded(config, history)
    models = [
        _model_forecast(model, [c for c in cells if c.model == model.name], known, recorded.get(model.name, {}))
        for model in config.pool
    ]
    gradings = sum(m.to_grade + m.to_attempt for m in models)
    own = [row.grading_seconds for row in known.values() if row.grading_seconds]
    each = float(np.mean(own)) if len(own) >= ENOUGH else ASSUMED_GRADING_SECONDS
    notes = [] if len(own) >= ENOUGH else [f"grading: {ASSUMED_GRADING_SECONDS:.0f} s a cell assumed"]
    if strange:
        notes.append(f"{len(strange)} outcomes in {folder.path} have other settings: the run would be refused")
    remaining = {cell.instance_id for cell in cells if cell not in known or known[cell].state is not State.GRADED}
    images = sorted({instance.image for instance in dataset.instances if instance.instance_id in remaining})
    disk, missing, basis = disk_needed(images, local=dataset.scripted)
    if config.run.images_gb is not None and disk > config.run.images_gb:
        disk, basis = config.run.images_gb, f"{basis}; at most run.images_gb are kept"
    return Forecast(
        dataset=dataset.name,
        instances=len(dataset.instances),
        models=models,
        spent=sum((row.cost_usd or 0.0) + row.lost_cost_usd for row in rows.values()),
        agent_hours=sum(model.seconds for model in models) / config.run.agent_workers / 3600,
        grading_hours=gradings * each / config.run.grading_workers / 3600,
        images=len(images),
        images_missing=missing,
        disk_gb=disk + gradings * CELL_GB,
        disk_basis=basis,
        max_cost=config.run.max_cost,
        notes=notes,
    )


_DONE = (State.AGENT_DONE, State.GRADED)


def _rows(folder: RunFolder) -> dict[Cell, CellRow]:
    if not folder.store_path.is_file():
        return {}
    with Store(folder.store_path, read_only=True) as store:
        return {row.cell: row for row in store.rows()}


def _recorded(config: Config, history: Sequence[str]) -> dict[str, dict[str, tuple[float | None, float | None]]]:
    """By model of the pool and instance: recorded cost and seconds."""
    if not history:
        return {}
    from harness.importers import load_outcomes

    runs = {run.name.casefold(): run for run in load_outcomes(list(history)).runs}
    found = {
        model.name: {name: (cell.cost_usd, cell.seconds) for name, cell in run.cells.items()}
        for model in config.pool
        if (run := runs.get(model.name.casefold())) is not None
    }
    if not found:
        raise InputError(
            f"history: no recorded run is named like a model of the pool ({', '.join(m.name for m in config.pool)}); "
            f"recorded: {', '.join(sorted(run.name for run in runs.values())[:8])}"
        )
    return found


def _model_forecast(
    model: ModelConfig,
    cells: Sequence[Cell],
    known: Mapping[Cell, CellRow],
    recorded: Mapping[str, tuple[float | None, float | None]],
) -> ModelForecast:
    rows = [known[cell] for cell in cells if cell in known]
    done = [row for row in rows if row.state in _DONE]
    open_cells = [cell for cell in cells if cell not in known or known[cell].state not in _DONE]
    own_cost = [row.cost_usd for row in done if row.cost_usd is not None]
    own_seconds = [row.agent_seconds for row in done if row.agent_seconds is not None]
    past_cost = [cost for cost, _ in recorded.values() if cost is not None]
    past_seconds = [seconds for _, seconds in recorded.values() if seconds is not None]
    if model.free:
        each, error, basis = 0.0, 0.0, "free"
    elif len(own_cost) >= ENOUGH:
        each, error, basis = *_mean(own_cost, len(open_cells)), f"{len(own_cost)} finished cells of this run"
    elif len(past_cost) >= ENOUGH:
        each, error, basis = *_mean(past_cost, len(open_cells)), f"{len(past_cost)} recorded cells"
    else:
        each, error = _by_price(model), math.nan
        basis = f"assumed: {ASSUMED_PROMPT_TOKENS:,} prompt and {ASSUMED_COMPLETION_TOKENS:,} completion tokens a cell"
    cost = each * len(open_cells)
    if basis.endswith("recorded cells"):  # an instance's own record tells more than the mean of all
        own_records = (recorded.get(cell.instance_id, (None, None))[0] for cell in open_cells)
        cost = sum(each if value is None else value for value in own_records)
    seconds = own_seconds if len(own_seconds) >= ENOUGH else past_seconds
    lasting = float(np.mean(seconds)) if len(seconds) >= ENOUGH else ASSUMED_AGENT_SECONDS
    if len(seconds) < ENOUGH:
        basis += f"; {ASSUMED_AGENT_SECONDS:.0f} s a cell assumed"
    return ModelForecast(
        model=model.name,
        planned=len(cells),
        graded=sum(row.state is State.GRADED for row in rows),
        to_grade=sum(row.state is State.AGENT_DONE for row in rows),
        to_attempt=len(open_cells),
        cost=cost,
        cost_error=error,
        seconds=lasting * len(open_cells),
        basis=basis,
    )


def _mean(values: Sequence[float], n: int) -> tuple[float, float]:
    """Mean of recorded costs, and the standard error of a sum over `n` further cells."""
    spread = float(np.std(values, ddof=1))
    return float(np.mean(values)), spread * math.sqrt(n + n * n / len(values))


def _by_price(model: ModelConfig) -> float:
    known = prices(model)
    cached = ASSUMED_PROMPT_TOKENS * ASSUMED_CACHED_SHARE
    fresh = ASSUMED_PROMPT_TOKENS - cached
    return cached * known.cache_read + fresh * known.input + ASSUMED_COMPLETION_TOKENS * known.output


def disk_needed(images: Collection[str], *, local: bool = False) -> tuple[float, int | None, str]:
    """GB that the missing ones of some images need, how many are missing, and what the figure rests on.

    local: images that are built on this machine and share nearly everything.
    """
    try:
        missing: set[str] | None = set(images) - _here()
    except EngineUnavailableError:
        missing = None
    wanted = sorted(images if missing is None else missing)
    count = None if missing is None else len(wanted)
    if not wanted:
        return 0.0, count, "all images are here" if missing is not None else "no image needed"
    if local:
        return 0.5, count, "built here, sharing one base"
    sizes = _registry_sizes(wanted[:: max(1, len(wanted) // SAMPLED)][:SAMPLED])
    if sizes:
        return _unpacked(sizes, len(wanted)), count, f"manifests of {len(sizes)} of {len(wanted)} missing images"
    return len(wanted) * GB_PER_IMAGE, count, f"{GB_PER_IMAGE:g} GB for each of {len(wanted)} images assumed"


def _here() -> set[str]:
    from harness.docker.engine import connect

    client = connect(timeout=10)
    tags = {tag for image in client.images.list() for tag in image.tags}
    return tags | {tag.removesuffix(":latest") for tag in tags}


def _unpacked(sizes: Sequence[Mapping[str, int]], images: int) -> float:
    """GB on the disk from the layers (digest → bytes) of some images: what they share once, the rest for each."""
    counts = Counter(digest for layers in sizes for digest in layers)
    shared = {d: size for layers in sizes for d, size in layers.items() if len(sizes) > 1 and counts[d] == len(sizes)}
    own = [sum(size for digest, size in layers.items() if digest not in shared) for layers in sizes]
    return (sum(shared.values()) + images * float(np.mean(own))) * UNPACKED / 1e9


def _registry_sizes(images: Sequence[str]) -> list[dict[str, int]]:
    """Layers by digest of those images whose registry answers."""
    with ThreadPoolExecutor(SAMPLED) as pool:
        return [layers for layers in pool.map(layer_sizes, images) if layers]


def render(seen: Forecast, folder: Path) -> str:
    """The forecast for a terminal."""
    lines = [f"{seen.dataset}: {seen.instances} instances, {len(seen.models)} models; run folder {folder}", ""]
    width = max(len(m.model) for m in seen.models)
    lines.append(f"{'':<{width}}  cells   done  to grade  to attempt   expected cost")
    for m in seen.models:
        error = "" if math.isnan(m.cost_error) or not m.cost_error else f" ± {2 * m.cost_error:.2f}"
        lines.append(
            f"{m.model:<{width}}  {m.planned:>5}  {m.graded:>5}  {m.to_grade:>8}  {m.to_attempt:>10}   "
            f"${m.cost:.2f}{error}  ({m.basis})"
        )
    lines += [
        "",
        f"expected cost   ${seen.cost:.2f} more, ${seen.spent:.2f} spent so far" + _against(seen),
        f"expected time   {_hours(seen.hours)} (agents {_hours(seen.agent_hours)}, grading "
        f"{_hours(seen.grading_hours)}, at the same time)",
        f"disk            {seen.disk_gb:.1f} GB more ({_images(seen)}; {seen.disk_basis})",
        *(f"note            {note}" for note in seen.notes),
        "",
        "nothing was started or written",
    ]
    return "\n".join(lines)


def _against(seen: Forecast) -> str:
    if seen.max_cost is None:
        return "; no --max-cost"
    over = seen.cost + seen.spent > seen.max_cost
    return f"; the limit is ${seen.max_cost:g}" + (", which stops the run before its end" if over else "")


def _images(seen: Forecast) -> str:
    where = "no engine answers" if seen.images_missing is None else f"{seen.images_missing} not here"
    return f"{seen.images} images, {where}"


def _hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.0f} min" if hours >= 1 / 60 else f"{hours * 3600:.0f} s"
