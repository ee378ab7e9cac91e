"""The outcome matrix: what each model did on each instance. Everything else is computed from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from router.arrays import FloatArray, IntArray, mean_known


class OutcomeError(ValueError):
    """The outcomes contradict themselves or lack what was asked of them; the message names the cell, row or model."""


@dataclass(frozen=True, eq=False)
class OutcomeMatrix:
    """Outcomes of n instances × m models as read-only arrays; NaN means unknown.

    Raises OutcomeError on construction when shapes, names or values are not as stated below.
    """

    instances: tuple[str, ...]
    """(n,) unique instance ids"""
    models: tuple[str, ...]
    """(m,) unique model names"""
    resolved: FloatArray
    """(n, m) 1 resolved, 0 not"""
    cost: FloatArray
    """(n, m) USD, finite and not negative"""
    calls: FloatArray
    """(n, m) API calls, finite and not negative"""
    seconds: FloatArray
    """(n, m) wall time, finite and not negative"""
    signals: Mapping[str, FloatArray] = field(default_factory=dict)
    """(n, m) by name: what else the finished attempts show, without knowledge of the hidden tests; finite or NaN"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "instances", _unique(self.instances, "instance"))
        object.__setattr__(self, "models", _unique(self.models, "model"))
        for name in ("resolved", "cost", "calls", "seconds"):
            object.__setattr__(self, name, self._checked(name, getattr(self, name)))
        checked = {name: self._signal(name, values) for name, values in self.signals.items()}
        object.__setattr__(self, "signals", MappingProxyType(checked))

    def __reduce__(self) -> tuple[type[OutcomeMatrix], tuple[Any, ...]]:
        """For other processes: a read-only view of the signals does not travel, a dict does."""
        values = [getattr(self, column.name) for column in fields(self) if column.name != "signals"]
        return OutcomeMatrix, (*values, dict(self.signals))

    @classmethod
    def build(
        cls,
        instances: Sequence[str],
        models: Sequence[str],
        resolved: ArrayLike,
        cost: ArrayLike | None = None,
        calls: ArrayLike | None = None,
        seconds: ArrayLike | None = None,
        signals: Mapping[str, ArrayLike] | None = None,
    ) -> OutcomeMatrix:
        """The matrix from anything array-like of shape (n, m); what is left out is unknown."""
        unknown = np.full((len(instances), len(models)), np.nan)
        known, paid, called, waited = (
            unknown if a is None else np.asarray(a, dtype=np.float64) for a in (resolved, cost, calls, seconds)
        )
        others = {name: np.asarray(a, dtype=np.float64) for name, a in (signals or {}).items()}
        return cls(tuple(instances), tuple(models), known, paid, called, waited, others)

    def _checked(self, name: str, values: FloatArray) -> FloatArray:
        array = np.array(values, dtype=np.float64)
        if array.shape != (len(self.instances), len(self.models)):
            raise OutcomeError(
                f"{name} has shape {array.shape}, but there are {len(self.instances)} instances and "
                f"{len(self.models)} models"
            )
        # NaN compares false, so unknown cells are never faulty
        faulty = (array != 0) & (array != 1) & ~np.isnan(array) if name == "resolved" else (array < 0) | np.isinf(array)
        if faulty.any():
            i, j = np.argwhere(faulty)[0]
            allowed = "0, 1 or NaN" if name == "resolved" else "a finite number >= 0 or NaN"
            raise OutcomeError(
                f"{name} of model {self.models[j]!r} on instance {self.instances[i]!r} is {array[i, j]}, not {allowed}"
            )
        array.setflags(write=False)
        return array

    def _signal(self, name: str, values: FloatArray) -> FloatArray:
        array = np.array(values, dtype=np.float64)
        if array.shape != (len(self.instances), len(self.models)) or np.isinf(array).any():
            raise OutcomeError(f"signal {name!r} must be a finite number or NaN for each instance and model")
        array.setflags(write=False)
        return array

    def __len__(self) -> int:
        return len(self.instances)

    def take(self, rows: IntArray) -> OutcomeMatrix:
        """The given rows, in the given order; OutcomeError for a row that is given twice."""
        instances = _unique([self.instances[i] for i in np.asarray(rows).tolist()], "instance")
        return self._with(
            instances=instances,
            **{name: _read_only(getattr(self, name)[rows]) for name in ("resolved", "cost", "calls", "seconds")},
            signals=MappingProxyType({name: _read_only(values[rows]) for name, values in self.signals.items()}),
        )

    def pool(self, models: Sequence[str]) -> OutcomeMatrix:
        """The named models, in the given order; OutcomeError for a name that is not here."""
        for name in models:
            if name not in self.models:
                near = get_close_matches(name, self.models, n=3, cutoff=0.4) or self.models
                raise OutcomeError(f"no outcomes of model {name!r}; the nearest names are {', '.join(near)}")
        columns = [self.models.index(name) for name in models]
        return OutcomeMatrix(
            self.instances,
            tuple(models),
            self.resolved[:, columns],
            self.cost[:, columns],
            self.calls[:, columns],
            self.seconds[:, columns],
            {name: values[:, columns] for name, values in self.signals.items()},
        )

    def with_resolved(self, resolved: FloatArray) -> OutcomeMatrix:
        """The same cells with other verdicts. Only the verdicts are checked, which keeps permutation tests fast."""
        return self._with(resolved=self._checked("resolved", resolved))

    def _with(self, **changed: Any) -> OutcomeMatrix:
        """The same but for what is `changed`, which is not checked again."""
        other = object.__new__(OutcomeMatrix)
        for column in fields(self):
            object.__setattr__(other, column.name, changed.get(column.name, getattr(self, column.name)))
        return other

    def complete(self) -> bool:
        """Whether every verdict is known."""
        return not bool(np.isnan(self.resolved).any())

    def complete_rows(self) -> OutcomeMatrix:
        """The instances on which every model's verdict is known."""
        return self.take(np.flatnonzero(~np.isnan(self.resolved).any(axis=1)))

    def rates(self) -> FloatArray:
        """(m,) share resolved of the known cells, NaN for a model with none."""
        return mean_known(self.resolved, axis=0)

    def mean_cost(self) -> FloatArray:
        """(m,) mean known USD per instance, NaN for a model with no known cost."""
        return mean_known(self.cost, axis=0)

    def mean_seconds(self) -> FloatArray:
        """(m,) mean known seconds per instance, NaN for a model with no known time."""
        return mean_known(self.seconds, axis=0)

    def best_single(self) -> int:
        """Index of the model with the best rate; ties go to the cheaper one, then to the first.

        A model of which an attempt with a verdict has no cost comes after those whose costs are all known.
        """
        rates = self.rates()
        if np.isnan(rates).all():
            raise OutcomeError(f"no verdict is known for any of {len(self.models)} models on {len(self)} instances")
        unpriced = (np.isnan(self.cost) & ~np.isnan(self.resolved)).any(axis=0)
        price = np.where(unpriced, np.inf, np.nan_to_num(self.mean_cost(), nan=np.inf))
        # lexsort is stable, so equal models keep their order
        return int(np.lexsort((price, -np.nan_to_num(rates, nan=-1.0)))[0])


@dataclass(frozen=True, eq=False)
class Replay:
    """What a way of choosing would have brought on recorded outcomes: one row of a results table.

    Means run over repeats and over known cells only, so an instance whose chosen cells are all unknown is NaN.
    """

    choices: IntArray
    """(repeats, n) index of the model whose patch is handed in; (0, n) where nothing definite is chosen"""
    resolved: FloatArray
    """(n,) mean verdict"""
    cost: FloatArray
    """(n,) mean USD, all attempts paid for"""
    seconds: FloatArray
    """(n,) mean seconds, all attempts waited for"""
    share: FloatArray
    """(m,) share of decisions that hand in each model's patch"""
    unpriced: FloatArray | None = None
    """(n,) share of an instance's decisions whose cost is unknown; None: all where `cost` is NaN, else none"""

    @property
    def rate(self) -> float:
        return float(mean_known(self.resolved))

    @property
    def resolved_count(self) -> float:
        """Expected number resolved of all n instances (rate × n: unknown cells count as the average)."""
        return self.rate * len(self.resolved)

    @property
    def cost_per_instance(self) -> float:
        """Mean USD over the instances with a verdict; NaN unless the cost of every decision on them is known."""
        return self.cost_at_least if self.unpriced_share == 0 else float("nan")

    @property
    def cost_at_least(self) -> float:
        """Mean USD over the instances with a verdict if every unknown cost were nothing."""
        judged = ~np.isnan(self.resolved)
        paid = np.nan_to_num(self.cost) * (1.0 - self._unpriced())
        return float(mean_known(np.where(judged, paid, np.nan)))

    @property
    def unpriced_share(self) -> float:
        """Share of the decisions on instances with a verdict whose cost is unknown; NaN where there is no verdict."""
        return float(mean_known(np.where(np.isnan(self.resolved), np.nan, self._unpriced())))

    def _unpriced(self) -> FloatArray:
        return np.isnan(self.cost).astype(np.float64) if self.unpriced is None else self.unpriced

    @property
    def seconds_per_instance(self) -> float:
        return float(mean_known(self.seconds))


def replay_choices(outcomes: OutcomeMatrix, choices: IntArray) -> Replay:
    """One-shot choices (repeats, n) read off the matrix."""
    choices = np.atleast_2d(np.asarray(choices, dtype=np.int64))
    if choices.shape[1] != len(outcomes):
        raise OutcomeError(f"{choices.shape[1]} choices for {len(outcomes)} instances")
    rows = np.arange(len(outcomes))
    return Replay(
        choices=choices,
        resolved=mean_known(outcomes.resolved[rows, choices], axis=0),
        cost=mean_known(outcomes.cost[rows, choices], axis=0),
        seconds=mean_known(outcomes.seconds[rows, choices], axis=0),
        share=np.bincount(choices.ravel(), minlength=len(outcomes.models)) / max(choices.size, 1),
        unpriced=np.isnan(outcomes.cost[rows, choices]).mean(axis=0),
    )


def single(outcomes: OutcomeMatrix, model: int) -> Replay:
    """One model on every instance."""
    return replay_choices(outcomes, np.full((1, len(outcomes)), model, dtype=np.int64))


def _read_only(array: FloatArray) -> FloatArray:
    array.setflags(write=False)
    return array


def _unique(names: Sequence[str], kind: str) -> tuple[str, ...]:
    if len(set(names)) == len(names):
        return tuple(names)
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise OutcomeError(f"{kind} {name!r} occurs twice; each {kind} needs one row of its own")
        seen.add(name)
    return tuple(names)
