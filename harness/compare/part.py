"""A part of what is compared: the instances that a selection chooses."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from harness.compare.load import RunOutcomes
from harness.config.selection import Selection, SelectionError
from harness.data.instances import candidates

T = TypeVar("T")


def restricted(
    sides: tuple[RunOutcomes, RunOutcomes], terms: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> tuple[RunOutcomes, RunOutcomes]:
    """The sides with the instances that a selection's terms choose.

    Args:
        sides: what is compared.
        terms: see `harness.config.selection`; none chooses all.
        rows: of the dataset, as far as it is at hand.

    Raises:
        SelectionError: a term cannot be used, or leaves nothing of a side.
    """
    if not terms:
        return sides
    base, new = sides
    ids = [*base.matrix.instances, *new.matrix.instances]
    chosen = frozenset(Selection.parse(terms).choose(candidates(rows, ids), f"{base.label} and {new.label}"))
    return _restricted(base, chosen), _restricted(new, chosen)


def _restricted(side: RunOutcomes, chosen: Collection[str]) -> RunOutcomes:
    kept = [i for i, name in enumerate(side.matrix.instances) if name in chosen]
    if not kept:
        raise SelectionError(f"{side.label}: holds none of the {len(chosen)} selected instances")

    return replace(
        side,
        matrix=side.matrix.take(np.array(kept, dtype=np.int64)),
        routed=_known(side.routed, chosen),
        accepted=_known(side.accepted, chosen),
        failures=tuple(line for line in side.failures if line.partition(" / ")[0] in chosen),
    )


def _known(values: Mapping[str, T] | None, chosen: Collection[str]) -> dict[str, T] | None:
    return None if values is None else {name: value for name, value in values.items() if name in chosen}
