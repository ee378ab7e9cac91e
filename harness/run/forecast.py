"""What a run will do, cost, take and need, before anything is started: `polyswe evaluate … --dry-run`."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agents.pool import ModelConfig
from harness.config import Config, RunConfig
from harness.config.tree import Engine
from harness.data.instances import Dataset
from harness.data.model_names import match_names
from harness.docker.engine import connect, disk_free_gb
from harness.docker.images import GB_PER_IMAGE, layer_sizes
from harness.errors import EngineUnavailableError, InputError
from harness.grading.verdict import Verdict
from harness.importers import load_outcomes
from harness.run.plan import plan
from harness.run.preflight import check_settings, is_stand_in
from harness.run.spending import ASSUMED_COMPLETION_TOKENS, ASSUMED_PROMPT_TOKENS, assumed_cost, limit_note
from harness.sample import RECORDED
from harness.store.keys import Change, change
from harness.store.run_folder import RunFolder
from harness.store.store import ATTEMPTED, Cell, CellRow, State, Store

if TYPE_CHECKING:
    from docker import DockerClient

ASSUMED_AGENT_SECONDS = 300.0
"""Of an attempt of which nothing is recorded."""
ASSUMED_TEST_SECONDS = 60.0
"""Of a grading of which nothing is recorded."""
GRADING_OVERHEAD_SECONDS = 2.0
"""What a grading takes beside its tests: its container is created, filled and removed."""
ENOUGH = 3
"""Recorded cells from which a mean is taken."""
UNPACKED = 2.5
"""Size of an image on the disk over that of its layers in a registry."""
SAMPLED = 3
"""Manifests looked at; registries count them as pulls."""
CELL_GB = 0.002
"""A cell's patch, trajectory and logs."""
SUGGESTED_IMAGES_GB = 50
"""Enough images for several workers; a smaller disk gets a smaller suggestion."""
LEAST_IMAGES_GB = 10
"""With less room for images a run would wait for pulls most of the time."""


@dataclass(frozen=True)
class PastCell:
    """What a finished cell took, as far as it is known."""

    cost_usd: float | None = None
    agent_seconds: float | None = None
    test_seconds: float | None = None


Past = Mapping[str, PastCell]
"""A model's finished cells by instance."""


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
    cost_error: float
    """Standard error of `cost`; NaN where it rests on an assumption."""
    agent_seconds: float
    """Seconds of the remaining attempts, one after the other."""
    test_seconds: float
    """Seconds of the remaining gradings' tests, one after the other."""
    basis: str
    """What the figures rest on."""


@dataclass(frozen=True)
class Forecast:
    """What is left of a run, and what it is expected to take."""

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
    disk_shortage: str
    """What is missing on the engine's disk and what to do about it; empty when there is enough, or nobody knows."""
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
        config: what would be run.
        dataset: its instances.
        folder: where the run is, or would be kept.
        history: recorded outcomes (what `polyswe replay` takes) whose runs are named like models of the pool, or like
            what the entries' `record` says.

    Raises:
        InputError: prices are unknown, or the history or the run's store cannot be read.
    """
    check_settings(config)
    folder.check_store()
    rows = _rows(folder)
    cells = plan(config, dataset, list(rows.values()), folder)  # a cascade asks for more after what has finished
    changes = {
        cell: change(rows[cell].key, cells[cell]) for cell in cells if cell in rows and rows[cell].state in ATTEMPTED
    }
    refused = {cell for cell, what in changes.items() if what is Change.ATTEMPT}
    regraded = {cell for cell, what in changes.items() if what is Change.GRADING}
    known = {cell: row for cell, row in rows.items() if cell in cells and cell not in refused}
    recorded = _recorded(config, history)
    models = [
        _model_forecast(
            model, [cell for cell in cells if cell.model == model.name], known, recorded[model.name], config
        )
        for model in config.pool
    ]
    remaining = {cell for cell in cells if cell not in known or known[cell].state is not State.GRADED} | regraded
    images = sorted({i.image for i in dataset.instances if i.instance_id in {cell.instance_id for cell in remaining}})
    disk, missing, basis = disk_needed(images, local=dataset.scripted)
    shortage = _shortage(config, disk)
    if config.run.images_gb is not None and disk > config.run.images_gb:
        disk, basis = config.run.images_gb, f"{basis}; at most run.images_gb are kept"
    notes = (
        [f"{len(refused)} outcomes in {folder.path} have other settings: the run would be refused"] if refused else []
    )
    if regraded:
        notes.append(f"{len(regraded)} finished attempts are graded again: their grading is another now")
    if limits := limit_note(config):
        notes.append(limits)
    grading_seconds = sum(model.test_seconds for model in models) + GRADING_OVERHEAD_SECONDS * len(remaining)
    return Forecast(
        dataset=dataset.title,
        instances=len(dataset.instances),
        models=models,
        spent=sum((row.cost_usd or 0.0) + row.lost_cost_usd for row in rows.values()),
        agent_hours=sum(model.agent_seconds for model in models) / config.run.agent_workers / 3600,
        grading_hours=grading_seconds / config.run.grading_workers / 3600,
        images=len(images),
        images_missing=missing,
        disk_gb=disk + len(remaining) * CELL_GB,
        disk_basis=basis,
        disk_shortage=shortage,
        max_cost=config.run.max_cost,
        notes=notes,
    )


def _rows(folder: RunFolder) -> dict[Cell, CellRow]:
    if not folder.store_path.is_file():
        return {}
    with Store(folder.store_path, read_only=True) as store:
        return {row.cell: row for row in store.rows()}


def _recorded(config: Config, history: Sequence[str]) -> dict[str, Past]:
    """By model of the pool: its cells in the history; those of the sample's stand-ins come with the sample.

    Raises:
        InputError: no run of the history is named like a model of the pool.
    """
    recorded: dict[str, dict[str, PastCell]] = {model.name: {} for model in config.pool}
    if any(map(is_stand_in, config.pool)):
        with RECORDED.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["model"] in recorded:
                    recorded[row["model"]][row["instance_id"]] = PastCell(
                        cost_usd=float(row["cost_usd"]),
                        agent_seconds=float(row["agent_seconds"]),
                        test_seconds=float(row["test_seconds"]),
                    )
    if not history:
        return dict(recorded)
    tests = _recorded_test_seconds(history)
    runs = {run.name: run for run in load_outcomes(list(history)).runs}
    matched = {}
    for model in config.pool:
        if name := _name_on_record(model, list(runs)):
            matched[model.name] = runs[name]
    if not matched:
        raise InputError(
            f"history: no recorded run is named like a model of the pool ({', '.join(recorded)}); recorded: "
            f"{', '.join(sorted(runs)[:8])}; 'record: part of a name' in a pool's entry says which run it is"
        )
    for name, run in matched.items():
        recorded[name] = {
            instance: PastCell(cost_usd=cell.cost_usd, agent_seconds=cell.seconds, test_seconds=tests.get(instance))
            for instance, cell in run.cells.items()
        }
    return dict(recorded)


def _name_on_record(model: ModelConfig, recorded: Sequence[str]) -> str | None:
    """The recorded run of a model: of its own name, or the one that its `record` stands for.

    Raises:
        InputError: `record` stands for no run, or for several.
    """
    own = [name for name in recorded if name.casefold() == model.name.casefold()]
    if own or model.record is None:
        return own[0] if own else None
    try:
        return match_names([model.record], recorded)[0]
    except InputError as error:
        raise InputError(f"history, 'record' of model {model.name}: {error}") from error


def _recorded_test_seconds(history: Sequence[str]) -> dict[str, float]:
    """By instance: the mean run time of its tests in those sources that are run folders."""
    seconds: dict[str, list[float]] = {}
    for source in history:
        for row in _rows(RunFolder(Path(source))).values():
            if row.test_seconds is not None:
                seconds.setdefault(row.instance_id, []).append(row.test_seconds)
    return {instance: float(np.mean(values)) for instance, values in seconds.items()}


@dataclass(frozen=True)
class _Expected:
    """One quantity of further cells: each instance's own record, else the mean of the records, else an assumption."""

    own: Sequence[float]
    """Of the model's finished cells in this run."""
    past: Mapping[str, float]
    """Recorded elsewhere, by instance."""
    assumed: float

    @property
    def mean(self) -> float:
        if self.source == "own":
            return float(np.mean(self.own))
        return float(np.mean(list(self.past.values()))) if self.source == "past" else self.assumed

    @property
    def source(self) -> str:
        if len(self.own) >= ENOUGH:
            return "own"
        return "past" if len(self.past) >= ENOUGH else "assumed"

    def of(self, instances: Sequence[str]) -> float:
        """The sum over the cells of some instances."""
        if self.source == "past":
            return sum(self.past.get(instance, self.mean) for instance in instances)
        return self.mean * len(instances)

    def error_of(self, n: int) -> float:
        """Standard error of a sum over `n` further cells; NaN where it rests on an assumption."""
        if self.source == "assumed":
            return math.nan
        values = self.own if self.source == "own" else list(self.past.values())
        return float(np.std(values, ddof=1)) * math.sqrt(n + n * n / len(values))


def _model_forecast(
    model: ModelConfig, cells: Sequence[Cell], known: Mapping[Cell, CellRow], past: Past, config: Config
) -> ModelForecast:
    rows = [known[cell] for cell in cells if cell in known]
    done = [row for row in rows if row.state in ATTEMPTED]
    to_grade = [row.instance_id for row in done if row.state is State.AGENT_DONE]
    to_attempt = [cell.instance_id for cell in cells if cell not in known or known[cell].state not in ATTEMPTED]
    timed = any(row.test_seconds is not None for row in known.values())  # stores of earlier versions hold none
    cost = _Expected(
        own=[row.cost_usd for row in done if row.cost_usd is not None],
        past={name: cell.cost_usd for name, cell in past.items() if cell.cost_usd is not None},
        assumed=assumed_cost(model, config.agent),
    )
    agent = _Expected(
        own=[row.agent_seconds for row in done if row.agent_seconds is not None],
        past={name: cell.agent_seconds for name, cell in past.items() if cell.agent_seconds is not None},
        assumed=ASSUMED_AGENT_SECONDS,
    )
    tests = _Expected(
        own=[seconds for row in done if (seconds := _test_seconds(row)) is not None] if timed else [],
        past={name: cell.test_seconds for name, cell in past.items() if cell.test_seconds is not None},
        assumed=ASSUMED_TEST_SECONDS,
    )
    return ModelForecast(
        model=model.name,
        planned=len(cells),
        graded=sum(row.state is State.GRADED for row in rows),
        to_grade=len(to_grade),
        to_attempt=len(to_attempt),
        cost=0.0 if model.free else cost.of(to_attempt),
        cost_error=0.0 if model.free else cost.error_of(len(to_attempt)),
        agent_seconds=agent.of(to_attempt),
        test_seconds=tests.of([*to_grade, *to_attempt]),
        basis="; ".join(_basis(model, cost, agent, tests)),
    )


def _test_seconds(row: CellRow) -> float | None:
    """Of a graded cell; a patch that is empty or does not apply takes no tests."""
    if row.verdict in (Verdict.EMPTY_PATCH, Verdict.PATCH_FAILED):
        return 0.0
    return row.test_seconds


def _basis(model: ModelConfig, cost: _Expected, agent: _Expected, tests: _Expected) -> list[str]:
    """What a model's figures rest on."""
    bases = []
    if model.free:
        bases.append("free")
    elif cost.source == "own":
        bases.append(f"{len(cost.own)} finished cells of this run")
    elif cost.source == "past":
        bases.append(f"{len(cost.past)} recorded cells")
    else:
        bases.append(
            f"assumed: {ASSUMED_PROMPT_TOKENS:,} prompt and {ASSUMED_COMPLETION_TOKENS:,} completion tokens a cell, "
            "at most its cost limit"
        )
    if agent.source == "assumed":
        bases.append(f"{ASSUMED_AGENT_SECONDS:.0f} s a cell assumed")
    if tests.source == "assumed":
        bases.append(f"{ASSUMED_TEST_SECONDS:.0f} s of tests assumed")
    return bases


def disk_needed(images: Collection[str], *, local: bool = False) -> tuple[float, int | None, str]:
    """GB that the missing ones of some images need, how many are missing, and what the figure rests on.

    Args:
        images: names of images.
        local: they are built on this machine and share nearly everything.
    """
    try:
        missing: set[str] | None = set(images) - _local_images()
    except EngineUnavailableError:
        missing = None
    wanted = sorted(images if missing is None else missing)
    count = None if missing is None else len(wanted)
    if not wanted:
        return 0.0, count, "no image is missing" if missing is not None else "no image needed"
    if local:
        return 0.5, count, "built here, sharing one base"
    sizes = _registry_sizes(wanted[:: max(1, len(wanted) // SAMPLED)][:SAMPLED])
    if sizes:
        return _unpacked(sizes, len(wanted)), count, f"manifests of {len(sizes)} of {len(wanted)} missing images"
    return len(wanted) * GB_PER_IMAGE, count, f"{GB_PER_IMAGE:g} GB for each of {len(wanted)} images assumed"


def engine_disk(client: DockerClient) -> tuple[str, float | None]:
    """Where the engine keeps its images, and the GB free there; None when that is not on this machine."""
    place = str(client.info().get("DockerRootDir") or "/")
    return place, disk_free_gb(place) if Path(place).exists() else None


def disk_shortage(run: RunConfig, *, needed_gb: float, free_gb: float) -> str:
    """What is missing on the engine's disk for a run's images, and what to do about it; empty when there is enough.

    Args:
        run: Its `images_gb` bounds what is kept at a time, its `least_disk_gb` what must stay free.
        needed_gb: All images that are missing.
        free_gb: Free space of the engine's disk.
    """
    if free_gb < run.least_disk_gb:
        return f"{free_gb:.1f} GB free, {run.least_disk_gb:g} needed to start; free space on the engine's disk"
    kept = needed_gb if run.images_gb is None else min(needed_gb, run.images_gb)
    room = free_gb - run.least_disk_gb
    if kept <= room:
        return ""
    smaller = min(SUGGESTED_IMAGES_GB, int(room))
    mend = f"set run.images_gb: {smaller}" if smaller >= LEAST_IMAGES_GB else "free space on the engine's disk"
    return f"{kept:.0f} GB needed, {free_gb:.0f} free; {mend}"


def _shortage(config: Config, needed_gb: float) -> str:
    """The same for the engine of this machine; empty when none answers, or when a cluster keeps the images."""
    if config.run.engine is not Engine.LOCAL:
        return ""
    try:
        _, free = engine_disk(connect(timeout=10))
    except EngineUnavailableError:
        return ""
    return "" if free is None else disk_shortage(config.run, needed_gb=needed_gb, free_gb=free)


def _local_images() -> set[str]:
    import docker
    import requests

    client = connect(timeout=30)
    try:
        tags = {tag for image in client.images.list() for tag in image.tags}
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise EngineUnavailableError(f"the Docker Engine does not list its images ({type(error).__name__})") from error
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


def render(forecast: Forecast, folder: Path) -> str:
    """The forecast for a terminal."""
    lines = [
        f"{forecast.dataset}: {forecast.instances} instances, {len(forecast.models)} models; run folder {folder}",
        "",
    ]
    width = max(len(m.model) for m in forecast.models)
    lines.append(f"{'':<{width}}  cells   done  to grade  to attempt   expected cost")
    for m in forecast.models:
        error = "" if math.isnan(m.cost_error) or not m.cost_error else f" ± {2 * m.cost_error:.2f}"
        lines.append(
            f"{m.model:<{width}}  {m.planned:>5}  {m.graded:>5}  {m.to_grade:>8}  {m.to_attempt:>10}   "
            f"${m.cost:.2f}{error}  ({m.basis})"
        )
    lines += [
        "",
        f"expected cost   ${forecast.cost:.2f} more, ${forecast.spent:.2f} spent so far" + _against(forecast),
        f"expected time   {_hours(forecast.hours)} (agents {_hours(forecast.agent_hours)}, grading "
        f"{_hours(forecast.grading_hours)}, at the same time)",
        f"disk            {forecast.disk_gb:.1f} GB more ({_images(forecast)}; {forecast.disk_basis})",
        *([f"MISSING         disk: {forecast.disk_shortage}"] if forecast.disk_shortage else []),
        *(f"note            {note}" for note in forecast.notes),
        "",
        "nothing was started or written",
    ]
    return "\n".join(lines)


def _against(forecast: Forecast) -> str:
    if forecast.max_cost is None:
        return "; no --max-cost"
    over = forecast.cost + forecast.spent > forecast.max_cost
    return f"; the limit is ${forecast.max_cost:g}" + (", at which no further cell starts" if over else "")


def _images(forecast: Forecast) -> str:
    where = "no engine answers" if forecast.images_missing is None else f"{forecast.images_missing} missing"
    return f"{forecast.images} images, {where}"


def _hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.0f} min" if hours >= 1 / 60 else f"{hours * 3600:.0f} s"
