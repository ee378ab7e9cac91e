"""results.json, schema 1: what a run or a replay found. Written by both, read by reports, comparison and scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.errors import InputError
from harness.evaluation.formats import money_kind

SCHEMA: Literal[1] = 1

Kind = Literal["single", "policy", "random", "oracle"]
Evaluation = Literal["recorded", "cross-fitted", "leave-one-repository-out", "in-sample", "live"]


class FrozenModel(BaseModel):
    """Frozen; written with exactly these fields. Unknown fields of a later writer are ignored when read."""

    model_config = ConfigDict(frozen=True, protected_namespaces=(), populate_by_name=True)


class VsBestSingle(FrozenModel):
    """Difference to the single model that resolved most (in hindsight), over the instances known for both."""

    delta: float
    """Resolved instances more (+) or fewer (−)."""
    ci95: tuple[float, float]
    """Paired bootstrap over instances, in resolved instances."""
    p_value: float | None
    """Two-sided test of `delta`: exact McNemar for single models, random signs over instances for cross-fitted
    policies. None for all other rows: in-sample ones are fitted on what they are tested on, the oracle is better by
    construction, and random is an expectation."""
    p_text: float | None = None
    """Cross-fitted policies that route: does reading the text help? Permutation null with full refit, one-sided."""
    p_text_holm: float | None = None
    """p_text corrected by Holm's method over the routing policies tried."""
    null_sd: float | None = None
    """How far the permutation null's differences scatter, in resolved instances; where there is such a null."""


class VsConstants(FrozenModel):
    """Difference to constant policies: the mixture of single models that costs as much as the row."""

    delta: float
    """Resolved instances more (+) or fewer (−) than the mixture; 0 for a single model that is on the hull."""
    ci95: tuple[float, float]
    """Paired bootstrap over instances, row and hull drawn together, in resolved instances."""
    p_value: float
    """Two-sided, from the same draws; not corrected for the number of policies."""
    resolved: float
    """Instances that the mixture resolves."""
    mixture: dict[str, float]
    """Share of the instances that each of its one or two models gets, the cheaper model first."""


class RandomClusters(FrozenModel):
    """In-sample result of clusters drawn at random with the sizes of the real ones."""

    mean: float
    sd: float


class CurvePoint(FrozenModel):
    """A policy at one weight of cost: what it spends per instance and what share it resolves, held out."""

    cost: float
    rate: float


class TradeOff(FrozenModel):
    """What the cost-weight sweep buys beside mixtures of single models; intervals by bootstrap over instances, policy
    and singles together, the best single model staying the recorded one."""

    hull_gain: float
    """Mean resolved count over cost, from the cheapest single's to the best single's, minus that of mixtures of
    singles; in instances."""
    hull_gain_ci95: tuple[float, float]
    parity: float | None
    """Least share of the best single's cost at which its resolved count is reached; None: never."""
    parity_ci95: tuple[float | None, float | None]
    at_99_percent: float | None
    """The same for 99 % of that count."""
    at_99_percent_ci95: tuple[float | None, float | None]


class Row(FrozenModel):
    """One model, policy or bound."""

    name: str
    kind: Kind
    evaluation: Evaluation
    n: int
    """Instances the row is computed on."""
    resolved: float
    """Fractional for means over repeats and for expectations."""
    rate: float
    rate_ci95: tuple[float, float]
    """Wilson's interval."""
    cost_per_instance: float | None = None
    """USD; None unless the cost of every chosen cell is known."""
    cost_at_least: float | None = None
    """USD, where some chosen cells have no cost: what the others come to, over all instances of the row."""
    unpriced_share: float = 0.0
    """Share of the chosen cells whose cost is unknown."""
    seconds_per_instance: float | None = None
    vs_best_single: VsBestSingle | None = None
    vs_constants: VsConstants | None = None
    """None where a cost of the row or of the pool is unknown, for rows of routed cells only, and in documents of
    earlier versions."""
    routing_share: dict[str, float] | None = None
    """Share of instances given to each model; of policies and the oracle."""
    area: float | None = None
    """∫ quality d(cost/c_max) under the Pareto-clean curve of the cost-weight sweep (UniRoute). Cross-fitted rows."""
    qnc: float | None = None
    """Least cost matching the most accurate single model, over that model's cost (UniRoute); None if never matched."""
    aiq: float | None = None
    """Mean of the non-decreasing convex hull between the least and the greatest cost (RouterBench)."""
    null: RandomClusters | None = None
    """In-sample rows of policies with clusters: what random clusters reach on the same outcomes."""
    missing: int = 0
    """Instances that the row says nothing of, as a verdict is missing."""
    bounds: tuple[float, float] | None = None
    """Where verdicts are missing: resolved if they were all unresolved, and if they were all resolved, over all
    instances."""
    curve: list[CurvePoint] | None = None
    """Cross-fitted rows of pools with known costs: the cost-weight sweep, from accuracy only to cheapest only."""
    trade_off: TradeOff | None = None
    """Of the same sweep, where there are several models."""

    @model_validator(mode="before")
    @classmethod
    def _with_two_tests(cls, row: Any) -> Any:
        """Documents written before there was `p_text` hold the permutation test of policies as `p_value`, `p_holm`."""
        versus = row.get("vs_best_single") if isinstance(row, dict) else None
        if not isinstance(versus, dict) or "p_text" in versus or row.get("evaluation") != "cross-fitted":
            return row
        tests = {"p_value": None, "p_text": versus.get("p_value"), "p_text_holm": versus.get("p_holm")}
        return row | {"vs_best_single": versus | tests}


class Pair(FrozenModel):
    """How two models' verdicts overlap, over the instances known for both."""

    a: str
    b: str
    both: int
    a_only: int
    b_only: int
    neither: int


class RepeatableOracle(FrozenModel):
    """The part of the oracle that running the models again would give again."""

    resolved: float
    method: str
    repeatable_share: float
    resolved_ci95: tuple[float, float] | None = None
    share_ci95: tuple[float, float] | None = None
    """Intervals from resampling instances; None where they were not computed."""


class Complementarity(FrozenModel):
    """What a perfect choice could gain."""

    oracle: int
    """Instances that at least one model of the pool resolved in this record."""
    repeatable_oracle: RepeatableOracle | None = None
    """None unless repeated runs were given."""
    pairs: list[Pair] = []


class Null(FrozenModel):
    """The in-sample result is worth something only beside this."""

    policy: str
    in_sample_random_clusters: RandomClusters


class SizesNull(FrozenModel):
    """What random clusters of given sizes reach in-sample, e.g. of a published router's."""

    sizes: list[int]
    in_sample_random_clusters: RandomClusters


class ClusterProfile(FrozenModel):
    """A cluster of instances and what each model resolves in it; a row of the heatmap. In-sample: to look at."""

    cluster: int
    size: int
    rates: dict[str, float]
    words: list[str] = []
    """Words that set its issue texts apart from the other clusters' (see `harness.evaluation.cluster_words`)."""
    instances: list[str] = []
    """Ids of its instances."""


class Group(FrozenModel):
    """Instances that share a repository or a difficulty, and what each model resolves of them. Only to read: policies
    see neither."""

    by: str
    """What they share, e.g. "repository"."""
    name: str
    size: int
    rates: dict[str, float]
    """By model, over its known verdicts; models without one are left out."""


class Failure(FrozenModel):
    """One kind of failure; a row of the failure table. Every cell counts under one kind at most."""

    kind: str
    whose: Literal["model", "provider", "machine", "run"]
    scored: bool
    """Counted as not resolved: the model's own. All others have no verdict and are left out."""
    retried: str
    """Where it is tried again, and why or why not."""
    cells: dict[str, int] = {}
    """By model, cells that ended so."""
    earlier: dict[str, int] = {}
    """By model, how often it struck before a later try of the same cell."""


class ReliabilityBin(FrozenModel):
    """Attempts of similar predicted probability."""

    predicted: float
    observed: float
    n: int


class VerifierQuality(FrozenModel):
    """How well P(resolved | signals of the finished attempt) tells right from wrong, cross-fitted."""

    signals: list[str]
    attempts: int
    auc: float
    """Within a model, weighted by pairs."""
    auc_ci95: tuple[float, float]
    auc_across_models: float
    """Over all attempts together: differences between models count, too."""
    brier: float
    brier_of_rates: float
    """Of predicting each model's own rate."""
    reliability: list[ReliabilityBin]


class Reachable(FrozenModel):
    """What a two-stage cascade would reach with a simulated verifier of some AUC, chosen in hindsight."""

    auc: float
    budget: float
    """Allowed cost, as a share of the best single model's."""
    resolved: float
    cost_per_instance: float


class FlaggedAttempt(FrozenModel):
    """A sign that an attempt had help, or that its patch fakes passes: a reason to look, not a verdict."""

    instance_id: str
    model: str
    kind: str
    """A kind of `agents.leaks.KINDS` or of `harness.grading.suspect.KINDS`."""
    times: int
    step: int
    """The model's reply that `command` belongs to, from 1; 0 where the sign is in the patch or in its test output."""
    command: str
    """The beginning of one of the commands, or what shows the sign in the patch."""
    failed: bool
    """Every such command ended with an error: the attempt looked, and found nothing."""
    attempt: int = 1
    """From 1; further ones are repeats."""


class Choice(FrozenModel):
    """A model or policy that the recommendation speaks of, with the figures of its row."""

    name: str
    kind: Kind
    evaluation: Evaluation
    n: int
    resolved: float
    rate: float
    rate_ci95: tuple[float, float]
    cost_per_instance: float | None
    """USD; None unless the cost of every chosen cell is known."""
    cost_share: float | None
    """Of the cost of the model that resolved most; None where either is unknown, or that model costs nothing."""
    delta: float | None
    """Resolved instances more (+) or fewer (−) than the model that resolved most."""
    delta_ci95: tuple[float, float] | None


class Detectable(FrozenModel):
    """The least true difference between two models that this many instances show."""

    a: str
    b: str
    n: int
    """Instances known for both."""
    discordant: int
    """Instances that exactly one of them resolved."""
    points: float | None
    """Percentage points, found with 80 % power by the exact McNemar test at 5 %; None: not even the greatest is."""


class Selection(FrozenModel):
    """Choosing among finished attempts of several models by tests (policy `select`): measured, or whether it could
    pay."""

    near: int
    """Models within four percentage points of the best, which is one of them."""
    members: list[str]
    """The models that would attempt every instance, the best one first."""
    points: float
    """Percentage points from the first to the last of them."""
    cost_share: float | None
    """Cost of their attempts, as a share of the best model's; the tests come on top. None where a cost is unknown."""
    measured: str | None
    """Name of the held-out row, where tests were run; None: not measured."""
    pays: bool
    """Policy `auto` takes it: it is ahead by more than it costs, and the permutation test confirms it."""


class Statement(FrozenModel):
    """A line of the recommendation."""

    label: str
    """What it is about, in one or two words."""
    text: str
    """One or two plain sentences."""


class Recommendation(FrozenModel):
    """What to use, and how sure that is: chosen by the rule of policy `auto`, fitted on all complete instances."""

    use: Choice | None
    """The model, or the router (its held-out row); None where there is nothing to choose from."""
    rule: str
    """The policy whose rule chose, with its parameters if it had any."""
    tolerance: float
    """Share of the instances by which the rule lets a cheaper model resolve less than the best."""
    most_resolved: Choice | None
    """The best single model."""
    routing: Choice | None
    """The policy that resolved most held out, of those that give instances to more than one model; None without any."""
    routing_pays: bool
    """It resolves more than the best single model, and the permutation test confirms that reading the text helps."""
    selection: Selection | None = None
    """None where there is one model, or nothing resolved, and in documents of earlier versions."""
    routing_detectable: float | None
    """Resolved instances: a smaller gain of `routing` is probably missed."""
    detectable: Detectable | None
    """Between the recommended and the best model, or the two best."""
    provisional: bool
    """Few instances, or verdicts are missing: the choice may change."""
    headline: str
    """What to use, in one sentence."""
    statements: list[Statement]
    """Why, and how sure it is; to show below the headline, in this order."""


class RepeatedAttempts(FrozenModel):
    """One model's repeated attempts, over the instances that have all of them."""

    model: str
    attempts: int
    instances: int
    left_out: int = 0
    """Instances that lack the verdict of some attempt."""
    resolved: list[int]
    """Instances resolved in each attempt."""
    mean: float
    """Of these counts."""
    sd: float
    """How far one run's count scatters when nothing but chance differs: √Σ c(k − c) / (k(k − 1)) over the instances, of
    which c of k attempts resolved each. What shifts a whole run shows in `resolved` instead."""
    flip_rate: float
    """Share of the instances whose verdict differs between two attempts."""
    pass_at: list[float]
    """pass@1, pass@2, …: share of the instances that at least one of so many attempts resolves."""
    pass_at_ci95: tuple[float, float]
    """Of the last one, from resampling instances."""
    pass_hat: list[float]
    """pass^1, pass^2, …: share of the instances that every one of so many attempts resolves."""
    pass_hat_ci95: tuple[float, float]
    """Of the last one, from resampling instances."""


class Results(FrozenModel):
    """The whole document."""

    schema_version: Literal[1] = Field(default=SCHEMA, alias="schema")
    dataset: str
    instances: int
    pool: list[str]
    seed: int
    folds: int
    repeats: int
    """Of the folds of cross-fitting."""
    scripted: bool = False
    """The models are scripted stand-ins: the numbers say nothing about real models."""
    simulated: bool = False
    """The outcomes come from a simulation: no model was run at all."""
    rows: list[Row]
    complementarity: Complementarity
    null: Null | None = None
    """Of the first policy that has clusters; each in-sample row carries its own."""
    null_of_sizes: SizesNull | None = None
    """Beside the policies' own, where sizes were given."""
    clusters: list[ClusterProfile] = []
    """Of the first policy that has clusters, fitted on all instances."""
    groups: list[Group] = []
    """Breakdowns by repository and difficulty, where known."""
    failures: list[Failure] = []
    """Of live runs, how cells ended that have no plain verdict."""
    repeated: list[RepeatedAttempts] = []
    """Models that attempted the instances several times; everything else here is of their first attempts."""
    verifier: VerifierQuality | None = None
    """None where no signals of finished attempts are recorded."""
    what_it_takes: list[Reachable] = []
    """Simulated: resolved by a verifier's AUC. Empty where costs are unknown."""
    flagged: list[FlaggedAttempt] = []
    """Of live runs, attempts that show signs of help from outside or of faked passes."""
    auxiliary: list[str] = []
    """Runs that informed difficulty and were never candidates."""
    recommendation: Recommendation | None = None
    """None for a run of routed cells only, and in documents of earlier versions."""
    verdict: str
    """What was found of routing, held out: one sentence a reader can quote."""
    notes: list[str] = []
    """What a reader of the numbers has to know: instances left out, costs unknown, faults of the record."""

    @property
    def money_kind(self) -> str:
        """See `harness.evaluation.formats.money_kind`."""
        return money_kind(scripted=self.scripted, simulated=self.simulated)

    def to_json(self) -> str:
        """The file's text; numbers that do not exist are null."""
        return json.dumps(self.model_dump(by_alias=True), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_results(path: Path) -> Results:
    """A results.json, or the one in a run folder.

    Raises:
        InputError: missing, damaged, or of another schema.
    """
    file = path / "results.json" if path.is_dir() else path
    try:
        return Results.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{file}: no such file; give a finished run's folder or its results.json") from None
    except (ValidationError, UnicodeDecodeError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"msg": "not text", "loc": ()}
        where = ".".join(map(str, first["loc"])) or "document"
        raise InputError(f"{file}: not a results document of schema {SCHEMA} ({where}: {first['msg']})") from None
