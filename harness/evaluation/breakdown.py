"""What each model resolves by repository and by difficulty: for reading, after everything is decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from harness.evaluation.schema import Group
from router.outcomes import OutcomeMatrix

MOST_GROUPS = 40
"""A dataset of hundreds of repositories is not broken down by them."""


def break_down(outcomes: OutcomeMatrix, labels: Mapping[str, Sequence[str | None]]) -> list[Group]:
    """The groups of each kind of label, the largest first.

    Args:
        outcomes: n instances × m models.
        labels: by kind ("repository", "difficulty"), (n,) the label of each instance, None or blank where unknown. A
            kind with a single label, or with more than `MOST_GROUPS`, is left out.
    """
    groups: list[Group] = []
    for by, of in labels.items():
        sizes = Counter(label for label in of if label)
        if not 2 <= len(sizes) <= MOST_GROUPS:
            continue
        for name, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
            verdicts = outcomes.resolved[[label == name for label in of]]
            known = ~np.isnan(verdicts)
            rates = {
                model: round(float(np.nansum(verdicts[:, j]) / known[:, j].sum()), 9)
                for j, model in enumerate(outcomes.models)
                if known[:, j].any()
            }
            groups.append(Group(by=by, name=name, size=size, rates=rates))
    return groups
