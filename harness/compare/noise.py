"""How many verdicts change when nothing but luck does: the yardstick for every difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from harness.importers import load_outcomes
from harness.importers.repeats import RepeatedModel, repeated_models
from router.arrays import Z95


@dataclass(frozen=True)
class Noise:
    """Two runs of one model with rate p differ on `share` · 2p(1 − p) of the instances.

    2p(1 − p) is what two independent draws of every verdict would give; real runs repeat most of theirs.
    """

    share: float
    source: str

    def flips(self, rate: float, n: int) -> ExpectedFlips:
        """What re-running alone would show on n instances at this rate."""
        often = self.share * 2 * rate * (1 - rate)
        expected = n * often
        return ExpectedFlips(mean=expected, sd=math.sqrt(n * often * (1 - often)), band=Z95 * math.sqrt(expected))


@dataclass(frozen=True)
class ExpectedFlips:
    mean: float
    """Instances whose verdict differs between two runs."""
    sd: float
    band: float
    """95 % of such pairs have totals closer than this: each flip is a fair coin between up and down"""


BUILT_IN = Noise(
    0.30,
    "8 runs of Qwen3.5-27B on the 500 instances of SWE-bench Verified: two of them differ on 13.1 % (10.8-15.2 %) of "
    "the verdicts; 5 runs of Claude Sonnet 4.5 at temperature 0 give 0.22 instead of 0.30",
)
"""Measured on recorded repeats; the noisier of two models, so that luck is not called a regression."""


LEAST_REPEATED = 200
"""Second and further verdicts from which the compared runs' own repeats are the yardstick: with fewer, a lucky sample
without flips would make every difference a finding."""


def noise_from(sources: Sequence[str]) -> Noise:
    """The same from repeated runs of the user's own models; see `harness.importers.repeats` for how they are named.

    Raises:
        InputError: no model was run twice.
    """
    runs = load_outcomes(sources).runs
    repeated, _ = repeated_models(runs, sorted({i for run in runs for i in run.cells}))
    return Noise(_flips(repeated), f"repeats given: {_named(repeated)}")


def own_noise(repeated: Sequence[RepeatedModel]) -> Noise:
    """The same from the repeated attempts of the compared runs; the built-in measure where they are too few."""
    pairs = sum(len(model.runs) * (len(model.runs.models) - 1) for model in repeated)
    if pairs >= LEAST_REPEATED:
        return Noise(_flips(repeated), f"these runs' own repeats: {_named(repeated)}")
    if not repeated:
        return BUILT_IN
    few = f"the compared runs repeat {pairs} verdicts, {LEAST_REPEATED} are needed to measure it on them"
    return Noise(BUILT_IN.share, f"{BUILT_IN.source}; {few}")


def _flips(repeated: Sequence[RepeatedModel]) -> float:
    """Verdicts that differ between two runs of a model, over those that would if every verdict were drawn anew."""
    differing = drawn = 0.0
    for model in repeated:
        verdicts = model.runs.resolved
        for a, b in combinations(range(verdicts.shape[1]), 2):
            rate = float(verdicts[:, [a, b]].mean())
            differing += float((verdicts[:, a] != verdicts[:, b]).sum())
            drawn += 2 * rate * (1 - rate) * len(verdicts)
    return differing / drawn if drawn else 0.0


def _named(repeated: Sequence[RepeatedModel]) -> str:
    return ", ".join(f"{len(m.runs.models)} runs of {m.name} on {len(m.runs)} instances" for m in repeated)
