"""Public claims that routing pays, each held against the single models of its own pool.

`claims.yaml` beside this file states the claims, their sources, and what is known of the single models. The line of the
single models is the hull that `harness.evaluation.constants` holds every row against.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from harness.errors import InputError
from harness.evaluation.constants import corners_of, shares_of, steps_at
from harness.evaluation.schema import FrozenModel, RandomClusters, Row, read_results
from harness.evaluation.stats import paired_bootstrap, wilson_interval
from harness.files import parse_yaml
from harness.importers import load_outcomes
from harness.importers.recorded import RecordedCell

CLAIMS = Path(__file__).with_name("claims.yaml")
NEAR = 0.01
"""A difference of less than a percentage point is called *on the line*: published figures are rounded."""

RANDOM_CLUSTERS = "random clusters"
"""Name of a measured row that is no policy's."""

Place = Literal["above", "on", "below", "unknown"]


class Constant(FrozenModel):
    """A single model of a claim's pool."""

    model: str
    rate: float
    cost: float
    """In the claim's unit."""
    origin: Literal["recorded", "published", "other agent"]
    run: str | None = None
    """The recorded run's folder."""
    on_line: bool = False
    """No mixture of the others resolves more for as much."""
    vs_compared: float | None = None
    """Instances resolved more (+) or fewer (−) than the model that the claim compares with; of recorded runs."""
    vs_compared_ci95: tuple[float, float] | None = None
    """Paired bootstrap over instances."""


class Point(FrozenModel):
    """What a claim says that its router reaches, beside what its single models reach for as much."""

    name: str
    rate: float
    cost: float | None
    """In the claim's unit; None where it is not stated."""
    line: float | None = None
    """Rate of the mixture of single models at that cost; without a cost the best single model's."""
    mixture: dict[str, float] = Field(default_factory=dict)
    """Share of the instances that each of its models gets."""
    place: Place = "unknown"


class Measured(FrozenModel):
    """A row of our own results for the same kind of router."""

    part: str
    """Folder of results/replay."""
    row: str
    """Its name; "random clusters" stands for random clusters of equal sizes."""
    found: list[Row] = Field(default_factory=list)
    """Held out, and in-sample beside random clusters; empty where the results are not at hand."""
    random_clusters: RandomClusters | None = None


class Claim(FrozenModel):
    """A public claim."""

    name: str
    title: str
    sources: list[str]
    claim: str
    """In our words."""
    instances: int | None
    """That the figures are of; None where it is not stated."""
    unit: str
    """Of every cost."""
    compared_with: str | None
    """The model that it claims to save against, or to beat."""
    points: list[Point]
    constants: list[Constant]
    pool_is_complete: bool
    """Every model of the pool is among the constants, or a model that stands in for it."""
    record: str | None = None
    """File of the data folder with the recorded runs."""
    ids: str | None = None
    """File of the data folder with the instances; None takes all."""
    cannot_be_told: str | None = None
    """Why there is nothing to compute."""
    caveat: str | None = None
    """What the verdict has to add."""
    assumed: list[str]
    unknown: list[str]
    measured: list[Measured] = Field(default_factory=list)
    chance: float | None = None
    """Half-width of a 95 % interval of the first point's rate on that many instances."""
    compared_is_on_line: bool | None = None
    verdict: str = ""
    """One line."""


class Claims(FrozenModel):
    """claims.json."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    claims: list[Claim]

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(self.model_dump(by_alias=True), indent=1, ensure_ascii=False) + "\n"


def judged_claims(data: Path | None = None, replay: Path | None = None) -> Claims:
    """Every claim with its line and verdict.

    Args:
        data: The data folder (see `harness.lab.tables`): recorded figures are computed from it again, with intervals.
        replay: Folder of `polyswe lab tables`, for our own results of the same kind of router.

    Raises:
        InputError: a file is missing or damaged.
    """
    claims = [Claim.model_validate(entry) for entry in parse_yaml(CLAIMS.read_text(encoding="utf-8"))]
    if data is not None:
        claims = [recorded_again(claim, data) for claim in claims]
    if replay is not None:
        claims = [with_measured(claim, replay) for claim in claims]
        if not any(entry.found for claim in claims for entry in claim.measured):
            raise InputError(f"{replay}: holds no results of `polyswe lab tables`; check the path")
    return Claims(claims=[judged(claim) for claim in claims])


def recorded_again(claim: Claim, data: Path) -> Claim:
    """The claim with the figures of recorded runs as the data folder has them."""
    if claim.record is None:
        return claim
    runs = {run.folder: run for run in load_outcomes([data / claim.record]).runs}
    ids = None if claim.ids is None else _read(data / claim.ids).split()
    cells: dict[str, Sequence[RecordedCell]] = {}
    for constant in claim.constants:
        if constant.origin != "recorded":
            continue
        if constant.run not in runs:
            raise InputError(f"{data / claim.record}: no run {constant.run}, which the claim of {claim.name} needs")
        run = runs[constant.run]
        cells[constant.model] = [run.cell(name) for name in (ids or sorted(run.cells))]
    resolved = {name: np.array([bool(cell.resolved) for cell in known], dtype=float) for name, known in cells.items()}
    return claim.model_copy(
        update={"constants": [_computed(constant, claim, cells, resolved) for constant in claim.constants]}
    )


def _computed(
    constant: Constant,
    claim: Claim,
    cells: Mapping[str, Sequence[RecordedCell]],
    resolved: Mapping[str, np.ndarray],
) -> Constant:
    if constant.model not in cells:
        return constant
    own, costs = resolved[constant.model], [cell.cost_usd for cell in cells[constant.model]]
    if None in costs:
        raise InputError(f"claims: {constant.model} has attempts without a cost")
    changed: dict[str, object] = {
        "rate": round(float(own.mean()), 9),
        "cost": round(sum(filter(None, costs)) / len(costs), 6),
    }
    compared = claim.compared_with or ""
    if compared in resolved and compared != constant.model:
        found = paired_bootstrap(own, resolved[compared])
        changed |= {"vs_compared": found.delta, "vs_compared_ci95": (found.low, found.high)}
    return constant.model_copy(update=changed)


def with_measured(claim: Claim, replay: Path) -> Claim:
    """The claim with our own rows, where there are such."""
    found = []
    for entry in claim.measured:
        folder = replay / entry.part
        changed: dict[str, object] = {}
        if (folder / "results.json").is_file():
            results = read_results(folder)
            wanted = [
                row.model_copy(update={"curve": None, "trade_off": None, "routing_share": None})
                for row in results.rows
                if row.name == entry.row and row.evaluation in ("cross-fitted", "in-sample")
            ]
            changed["found"] = wanted
            if entry.row == RANDOM_CLUSTERS and results.null_of_sizes is not None:
                changed["random_clusters"] = results.null_of_sizes.in_sample_random_clusters
        found.append(entry.model_copy(update=changed))
    return claim.model_copy(update={"measured": found})


def judged(claim: Claim) -> Claim:
    """The claim with the line of its single models, the place of each point, and the verdict."""
    corners: list[Constant] = []
    if claim.constants:
        costs, rates = (np.array([getattr(one, axis) for one in claim.constants]) for axis in ("cost", "rate"))
        corners = [claim.constants[k] for k in corners_of(costs, rates)]
    changed: dict[str, object] = {
        "constants": [
            one.model_copy(update={"on_line": any(one is corner for corner in corners)}) for one in claim.constants
        ],
        "points": [_placed(point, corners, claim.pool_is_complete) for point in claim.points],
    }
    if claim.compared_with is not None and claim.constants:
        changed["compared_is_on_line"] = claim.compared_with in [corner.model for corner in corners]
    if claim.instances is not None and claim.points:
        low, high = wilson_interval(claim.points[0].rate * claim.instances, claim.instances)
        changed["chance"] = round((high - low) / 2, 4)
    placed = claim.model_copy(update=changed)
    return placed.model_copy(update={"verdict": verdict(placed)})


def _placed(point: Point, corners: Sequence[Constant], pool_is_complete: bool) -> Point:
    """Where a point lies; a cost below that of every known model is told only where all models are known."""
    cost = math.inf if point.cost is None else point.cost
    if not corners or (cost < corners[0].cost and not pool_is_complete):
        return point
    costs = np.array([[corner.cost for corner in corners]])
    steps = steps_at(costs, np.array([min(cost, corners[-1].cost)]))[0]
    shares = shares_of(steps)
    line = sum(share * corner.rate for share, corner in zip(shares, corners, strict=True))
    place: Place = "above" if point.rate - line >= NEAR else "below" if point.rate - line <= -NEAR else "on"
    mixture = {corner.model: round(share, 4) for share, corner in zip(shares, corners, strict=True) if share > 0}
    return point.model_copy(update={"line": round(line, 6), "mixture": mixture, "place": place})


def verdict(claim: Claim) -> str:
    """One line: the first point's place, and whether the model it is compared with is worth comparing with."""
    if claim.cannot_be_told is not None:
        return f"Cannot be told: {claim.cannot_be_told}"
    point = claim.points[0]
    if point.line is None:
        return "Cannot be told: what the pool's single models resolve for as much is not known."
    where = {"above": "Above the line", "on": "On the line", "below": "Below the line", "unknown": ""}[point.place]
    alone = "alone resolves" if len(point.mixture) == 1 else "mixed at random resolve"
    at = "for as much" if point.cost is not None else "at most (no cost is stated)"
    parts = [
        f"{where} of its own single models: {point.rate:.1%}, where {' and '.join(point.mixture)} {alone} "
        f"{point.line:.1%} {at}"
    ]
    if claim.chance is not None:
        parts.append(f"a rate on {claim.instances} instances is uncertain by ±{100 * claim.chance:.1f} points")
    else:
        parts.append("the number of instances is not stated")
    if claim.compared_is_on_line is False:
        parts.append(f"{claim.compared_with}, which it is compared with, is not on the line")
    if claim.caveat is not None:
        parts.append(claim.caveat)
    return "; ".join(parts) + "."


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
