"""The table of repeats: how far a model's runs differ when nothing but chance does."""

from __future__ import annotations

from harness.evaluation.formats import count
from harness.evaluation.schema import RepeatedAttempts, Results

HEADER = ("model", "attempts", "instances", "resolved in each", "mean ± spread", "flips", "pass@k", "pass^k")
NOTE = (
    "Spread: how far the count of one run scatters by chance. Flips: instances whose verdict differs between two "
    "attempts. pass@k: at least one of the k attempts resolves; pass^k: all of them do."
)
SHOWN_RUNS = 5
"""Counts of single runs shown in a line."""


def repeats_lines(results: Results, *, intervals: bool) -> list[tuple[str, ...]]:
    """The cells of the table, a line a model; `intervals` puts the 95 % intervals behind pass@k and pass^k."""
    return [_line(repeated, intervals) for repeated in results.repeated]


def _line(repeated: RepeatedAttempts, intervals: bool) -> tuple[str, ...]:
    runs = [str(resolved) for resolved in repeated.resolved[:SHOWN_RUNS]]
    of = repeated.instances + repeated.left_out
    return (
        repeated.model,
        str(repeated.attempts),
        str(repeated.instances) if not repeated.left_out else f"{repeated.instances} of {of}",
        ", ".join(runs) + (", …" if len(repeated.resolved) > SHOWN_RUNS else ""),
        f"{count(repeated.mean)} ± {repeated.sd:.1f}",
        f"{repeated.flip_rate:.1%}",
        _share(repeated.pass_at[-1], repeated.pass_at_ci95 if intervals else None),
        _share(repeated.pass_hat[-1], repeated.pass_hat_ci95 if intervals else None),
    )


def _share(share: float, interval: tuple[float, float] | None) -> str:
    return f"{share:.1%}" + ("" if interval is None else f" [{interval[0]:.1%}, {interval[1]:.1%}]")
