"""`polyswe lab selection`: choosing among finished attempts of many agents, by the policy `select`.

Developed on the same folder of patches as the rule itself, so what is held out is the default model, not the idea of
the rule. `VARIANTS` says how many rules were looked at.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtri

from harness.errors import InputError
from harness.files import write_atomic
from harness.importers.finished import FinishedAttempts, read_finished
from harness.lab.selection.existing import study_existing
from harness.lab.selection.learned import play_learned
from harness.lab.selection.pools import Field, Signals, compare, play, play_known, play_shuffled
from harness.lab.selection.signals import confidence, mean_of_others, quality
from harness.lab.selection.text import render
from harness.lab.trials import Execution, Record, run_trials
from router.arrays import FloatArray, IntArray

LEFT_OUT = "ensemble"
"""Runs whose kind has this in it are several attempts already: no candidates."""
SIZES = (2, 3, 5, 8)
"""Members of the pools that are chosen from by tests."""
HEADLINE = 3
"""Members of the pools whose figures come first."""
PRICES = (0.0, 0.003, 0.006, 0.01)
"""Resolved instances that an attempt has to bring on average, in the sequential form (λ; an attempt costs 1)."""
AUCS = (0.55, 0.6, 0.65, 0.7, 0.75, 0.8)
"""Of simulated verifiers."""
SILENT_AUCS = (0.6, 0.7, 0.8)
COVERAGE = (0.3, 0.6)
"""Shares of the instances on which simulated verifiers speak, beside all."""
VARIANTS = 20
"""Rules that were tried on these data in all, by those who made the study; a number to quote, nothing is computed from
it."""


@dataclass(frozen=True)
class SelectionSettings:
    """Everything the figures depend on, besides the folder."""

    parts: int = 10
    """Folds."""
    repeats: int = 10
    """Of the cross-fitting with tests, for every size of pools."""
    side_repeats: int = 3
    """Of the cross-fitting for everything else."""
    permutations: int = 200
    null_repeats: int = 2
    """Of the cross-fitting in the permutation test, for what is observed as well."""
    draws: int = 10
    """Of each simulated verifier."""
    seed: int = 0


def study_selection(
    data: Path, out: Path | None = None, settings: SelectionSettings | None = None, *, show_bar: bool = False
) -> dict[str, Any]:
    """Measure everything; writes `selection.json` and `README.md` to `out`. A stopped study continues.

    Raises:
        InputError: the folder's files are damaged, or hold fewer than 3 models with generated tests.
    """
    settings = settings or SelectionSettings()
    execution = Execution(out=out, show_bar=show_bar)
    judge = Judge(read_finished(data), settings)
    names = list(judge.tasks())
    about = json.dumps([asdict(settings), names, _fingerprint(judge.found)])
    kept = execution.kept("selection")
    records = run_trials(judge, names, settings=about, kept=kept, execution=execution, unit="part")
    study = _document(judge, dict(zip(names, records, strict=True)))
    if out is not None:
        write_atomic(out / "selection.json", json.dumps(study, indent=1, allow_nan=False) + "\n")
        write_atomic(out / "README.md", render(study))
    if kept is not None:
        kept.unlink(missing_ok=True)
    return study


class Judge:
    """Measures one part of the study by its name."""

    def __init__(self, found: FinishedAttempts, settings: SelectionSettings) -> None:
        self.found, self.settings = found, settings
        if found.tests is None:
            raise InputError("selection: the folder has no generated tests; see harness/importers/finished.py")
        self.fixed = found.tests.fixed(len(found.instances))
        tested = set(np.flatnonzero(~np.isnan(self.fixed).any(axis=0)).tolist())
        usable = [h for h, m in enumerate(found.models) if LEFT_OUT not in found.kinds.get(m, "").casefold()]
        complete = [h for h in usable if not np.isnan(found.resolved[:, h]).any()]
        self.everyone = self._field([found.models[h] for h in complete], settings.side_repeats)
        self.tested = self._field([found.models[h] for h in complete if h in tested])
        if len(self.tested.models) < HEADLINE:
            raise InputError(
                f"selection: {len(self.tested.models)} models have verdicts and generated tests on every instance; "
                f"at least {HEADLINE} are needed"
            )
        self.side = self._field(self.tested.models, settings.side_repeats)
        self.strict = self._field([m for m in self.tested.models if found.kinds.get(m) == "single"])

    def _field(self, models: Sequence[str], repeats: int | None = None) -> Field:
        s = self.settings
        return Field.of(self.found, models, parts=s.parts, repeats=repeats or s.repeats, seed=s.seed)

    def tasks(self) -> dict[str, Callable[[], Record]]:
        """Every part by name, in order."""
        tests = self.found.tests
        writers = () if tests is None else tests.writers
        subsets = [chosen for size in range(1, len(writers)) for chosen in combinations(writers, size)]
        most = len(self.everyone.models)
        sizes = [k for k in SIZES if k <= len(self.tested.models)]
        tasks: dict[str, Callable[[], Record]] = {f"members {k}": partial(self._members, k) for k in sizes}
        tasks["repositories"] = self._repositories
        if len(self.strict.models) >= HEADLINE:
            tasks["strict"] = partial(self._play, self.strict, HEADLINE, self._by_tests())
        tasks["null"] = self._null
        tasks |= {f"writers {'+'.join(chosen)}": partial(self._writers, chosen) for chosen in subsets}
        tasks |= {f"sequential {price}": partial(self._sequential, price) for price in PRICES}
        if self.found.similarity is not None:
            tasks |= {f"agreement {k}": partial(self._agreement, k) for k in (3, 5) if k <= most}
            tasks["learned agreement"] = partial(self._learned, self.everyone)
            tasks["learned agreement and tests"] = partial(self._learned, self.side, with_tests=True)
        tasks |= {f"majority {k}": partial(self._majority, k) for k in (3, 5, 7) if k <= most}
        tasks |= {f"verifier {area}": partial(self._verifier, area) for area in AUCS}
        tasks |= {f"silent {share} {a}": partial(self._verifier, a, share) for share in COVERAGE for a in SILENT_AUCS}
        tasks["existing tests"] = partial(study_existing, self.everyone, self.tested)
        tasks["signals"] = self._signals
        tasks["confidence"] = partial(confidence, self.found, self.everyone.columns, self.everyone.splits[0])
        return tasks

    def __call__(self, name: str) -> Record:
        return self.tasks()[name]()

    def _by_tests(self, fixed: FloatArray | None = None) -> Signals:
        score = self.fixed if fixed is None else fixed
        return lambda pool: {"tests_fixed": score[:, pool]}

    def _play(self, field: Field, k: int, signals: Signals) -> Record:
        return play(field, field.pools(k), signals).record()

    def _members(self, k: int) -> Record:
        played = play(self.tested, self.tested.pools(k), self._by_tests())
        return played.record() | ({"by_gap": played.by_gap()} if k == HEADLINE else {})

    def _repositories(self) -> Record:
        """The headline with every repository left out in turn."""
        field = self.tested.by_repository()
        return play(field, field.pools(HEADLINE), self._by_tests()).record()

    def _null(self) -> Record:
        """The headline with the number of fixed tests shuffled among the attempts of each instance."""
        s = self.settings
        field = self._field(self.tested.models, s.null_repeats)
        pools = field.pools(HEADLINE)
        observed = play(field, pools, self._by_tests())
        shuffled = play_shuffled(field, pools, self.fixed, draws=s.permutations, seed=s.seed)
        record: Record = {"permutations": s.permutations}
        for name, real, null in (
            ("held_out", observed.held_out, shuffled.held_out),
            ("known_default", observed.known, shuffled.known),
        ):
            delta = float((real - observed.best).mean(axis=0).sum())
            reached = sum(value >= delta - 1e-9 for value in null)
            record[name] = {
                "observed": round(delta, 2),
                "mean": round(float(np.mean(null)), 2),
                "sd": round(float(np.std(null, ddof=1)), 2),
                "p": round((1 + reached) / (1 + len(null)), 4),
            }
        return record

    def _writers(self, writers: Sequence[str]) -> Record:
        """The headline with the tests of some writers."""
        if self.found.tests is None:
            return {}
        fixed = self.found.tests.fixed(len(self.found.instances), writers)
        return self._play(self.side, HEADLINE, self._by_tests(fixed)) | {"writers": list(writers)}

    def _sequential(self, price: float) -> Record:
        """The sequential form, which reads agreement as well."""
        found = self.found

        def signals(pool: Any) -> Mapping[str, FloatArray]:
            pairs = {"patch_similarity": found.similarity, "patch_agrees": found.agrees}
            compared = {
                f"{name}@{found.models[h]}": table[:, pool, h]
                for name, table in pairs.items()
                if table is not None
                for h in pool
            }
            return {"tests_fixed": self.fixed[:, pool], **compared}

        played = play(self.side, self.side.pools(HEADLINE), signals, {"sequential": True, "cost_weight": price})
        return played.record() | {"cost_weight": price}

    def _agreement(self, k: int) -> Record:
        """The attempt most like the others, and the one equal to most others."""
        similarity, agrees = self.found.similarity, self.found.agrees
        if similarity is None or agrees is None:
            return {}
        return {
            "medoid": self._play(self.everyone, k, lambda pool: {"tests_fixed": mean_of_others(similarity, pool)}),
            "plurality": self._play(self.everyone, k, lambda pool: {"tests_fixed": mean_of_others(agrees, pool)}),
        }

    def _learned(self, field: Field, *, with_tests: bool = False) -> Record:
        """A rule with fitted weights of agreement, and of the number of fixed tests."""
        similarity, agrees = self.found.similarity, self.found.agrees
        if similarity is None or agrees is None:
            return {}

        def features(pool: IntArray) -> FloatArray:
            others = similarity[:, pool][:, :, pool]
            most = np.where(np.isnan(others).all(axis=2), np.nan, np.nan_to_num(others, nan=-1.0).max(axis=2))
            columns = [mean_of_others(similarity, pool), most, mean_of_others(agrees, pool)]
            return np.stack([*columns, self.fixed[:, pool]] if with_tests else columns, axis=-1)

        return play_learned(field, field.pools(HEADLINE), features)

    def _majority(self, k: int) -> Record:
        """A bound: voting among attempts that are equal exactly if their true verdicts are."""
        resolved = self.found.resolved

        def votes(pool: Any) -> Mapping[str, FloatArray]:
            verdicts = resolved[:, pool]
            return {"tests_fixed": (verdicts[:, :, None] == verdicts[:, None, :]).sum(axis=2).astype(np.float64)}

        known, best = play_known(self.everyone, self.everyone.pools(k), votes)
        # of equal votes all are right or none: the default does not matter
        return {"pools": len(known), "members": k} | compare(known, best)

    def _verifier(self, area: float, speaks_on: float = 1.0) -> Record:
        """Simulated: an independent binormal score of every attempt, in pools of 3.

        Args:
            area: its AUC within an instance.
            speaks_on: share of the instances on which there is a score; on the others the default is handed in, who is
                the best member in hindsight.
        """
        field, shift = self.everyone, float(np.sqrt(2) * ndtri(area))
        pools = field.pools(HEADLINE)
        gains = []
        for draw in range(self.settings.draws):
            # the same noise for every quality: the curve is smooth
            rng = np.random.default_rng([self.settings.seed, draw])
            score = rng.normal(size=self.found.resolved.shape) + shift * self.found.resolved
            score *= rng.random((len(score), 1)) < speaks_on
            known, best = play_known(field, pools, self._by_tests(score))
            gains.append((known - best).sum(axis=1))
        per_pool = np.mean(gains, axis=0)
        return {
            "auc": area,
            "speaks_on": speaks_on,
            "delta": round(float(per_pool.mean()), 1),
            "share_of_pools_above": round(float((per_pool > 0).mean()), 3),
        }

    def _signals(self) -> Record:
        """How well single signals tell right from wrong."""
        tested, everyone = self.tested, self.everyone
        signals = {"tests_fixed": quality(self.fixed[:, tested.columns], tested.verdicts)}
        for name, table in (("mean_similarity", self.found.similarity), ("share_equal", self.found.agrees)):
            if table is not None:
                signals[name] = quality(mean_of_others(table, everyone.columns), everyone.verdicts)
        return dict(signals)


def _fingerprint(found: FinishedAttempts) -> list[Any]:
    """What tells one folder from another."""
    tests = found.tests
    return [
        found.models,
        len(found.instances),
        np.nansum(found.resolved, axis=0).tolist(),
        None if tests is None else [tests.writers, int(np.nansum(tests.passes)), len(tests.row)],
        None if found.similarity is None else round(float(np.nansum(found.similarity)), 3),
        None if found.existing is None else np.nansum(found.broken),
    ]


def _document(judge: Judge, records: Mapping[str, Record]) -> dict[str, Any]:
    """What `selection.json` holds: the headline figures first."""

    def named(prefix: str) -> dict[str, Record]:
        return {name.removeprefix(prefix): record for name, record in records.items() if name.startswith(prefix)}

    headline: Any = records[f"members {HEADLINE}"]
    null: Any = records["null"]
    found = judge.found
    tests = found.tests
    majority: dict[str, Any] = named("majority ")
    known = ("pools", "members", "attempts_per_instance")
    return {
        "held_out": headline["held_out"] | {key: headline[key] for key in known} | {"p": null["held_out"]["p"]},
        "known_default": headline["known_default"]
        | {key: headline[key] for key in known}
        | {"p": null["known_default"]["p"], "label": "optimistic: the best member in hindsight is the default"},
        "perfect_majority": majority,
        "variants_looked_at": VARIANTS,
        "data": {
            "instances": len(found.instances),
            "resolved": {
                m: int(r) for m, r in zip(judge.everyone.models, judge.everyone.verdicts.sum(axis=0), strict=True)
            },
            "with_generated_tests": list(judge.tested.models),
            "left_out": [model for model in found.models if model not in judge.everyone.models],
            "tests": 0 if tests is None else len(tests.row),
            "writers": [] if tests is None else list(tests.writers),
        },
        "settings": asdict(judge.settings),
        "by_members": named("members "),
        "repositories_unseen": records["repositories"],
        "strict_single_attempts": records.get("strict"),
        "permutation_null": null,
        "by_writers": named("writers "),
        "by_number_of_writers": _dose(list(named("writers ").values()), headline),
        "sequential": list(named("sequential ").values()),
        "agreement": named("agreement "),
        "learned": named("learned "),
        "simulated_verifier": list(named("verifier ").values()),
        "simulated_silent_verifier": list(named("silent ").values()),
        "existing_tests": records["existing tests"],
        "signals": records["signals"],
        "confidence": records["confidence"],
    }


def _dose(subsets: Sequence[Any], everyone: Any) -> list[dict[str, Any]]:
    """Mean gains over the subsets of each number of writers."""
    by_number: dict[int, list[Any]] = {}
    for record in subsets:
        by_number.setdefault(len(record["writers"]), []).append(record)
    by_number[max(by_number, default=0) + 1] = [everyone]
    return [
        {
            "writers": number,
            "held_out": round(float(np.mean([record["held_out"]["delta"] for record in records])), 2),
            "known_default": round(float(np.mean([record["known_default"]["delta"] for record in records])), 2),
        }
        for number, records in by_number.items()
    ]
