"""Flags on the attempts behind a comparison: a pass that may be faked must not look like progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.compare.load import RunOutcomes
from harness.grading.suspect import KINDS as SUSPECT_KINDS
from harness.report.flag_kinds import FLAG_KINDS
from harness.text import counted, markdown

SHOWN = 12
"""Cells that a sentence names, and a list shows."""

Change = Literal["newly resolved", "no longer resolved", "unchanged"]
ORDER: tuple[Change, ...] = ("newly resolved", "no longer resolved", "unchanged")


@dataclass(frozen=True)
class FlaggedCell:
    """A pair of cells, of which at least one was flagged."""

    instance_id: str
    base_model: str
    new_model: str
    change: Change
    """Of the verdict, from the base to the new side."""
    base: tuple[str, ...]
    """Kinds of the base's flags (`harness.report.flag_kinds`)."""
    new: tuple[str, ...]
    """Kinds of the new side's."""

    @property
    def faked_gain(self) -> bool:
        """Whether it is newly resolved, with signs that the pass is faked."""
        return self.change == "newly resolved" and any(kind in SUSPECT_KINDS for kind in self.new)


def flagged_cells(
    base: RunOutcomes, new: RunOutcomes, cells: Mapping[tuple[str, str, str], Change]
) -> tuple[FlaggedCell, ...]:
    """The compared cells with flags on either side, newly resolved ones first.

    Args:
        base: One side.
        new: The other.
        cells: How the verdict changed, by instance, the base's model and the new side's.
    """
    found = [
        FlaggedCell(
            instance_id=instance,
            base_model=base_model,
            new_model=new_model,
            change=change,
            base=tuple((base.flags or {}).get((instance, base_model), ())),
            new=tuple((new.flags or {}).get((instance, new_model), ())),
        )
        for (instance, base_model, new_model), change in cells.items()
    ]
    return tuple(
        sorted(
            (cell for cell in found if cell.base or cell.new),
            key=lambda cell: (ORDER.index(cell.change), not cell.faked_gain, cell.instance_id, cell.new_model),
        )
    )


def flag_sentence(flagged: Sequence[FlaggedCell], newly_resolved: int) -> str:
    """How many of the newly resolved cells may be faked, and which; empty where none is."""
    faked = [cell for cell in flagged if cell.faked_gain]
    if not faked:
        return ""
    named = [f"{cell.instance_id} / {cell.new_model} ({', '.join(cell.new)})" for cell in faked[:SHOWN]]
    more = f" and {len(faked) - SHOWN} more" if len(faked) > SHOWN else ""
    return (
        f"signs of a faked pass in {len(faked)} of {counted(newly_resolved, 'newly resolved cell')}: "
        f"{'; '.join(named)}{more}. Verdicts are the official ones: look at these patches"
    )


def flag_section(flagged: Sequence[FlaggedCell]) -> str:
    """The flagged cells as Markdown; empty where there are none."""
    if not flagged:
        return ""
    lines = [
        f"- {markdown(cell.instance_id)}, {_models(cell)}, {cell.change}: base {_kinds(cell.base)}; new "
        f"{_kinds(cell.new)}"
        for cell in flagged[:SHOWN]
    ]
    if len(flagged) > SHOWN:
        lines.append(f"- and {len(flagged) - SHOWN} more, see comparison.json (`--out`)")
    seen = {kind for cell in flagged for kind in (*cell.base, *cell.new)}
    meanings = [f"`{kind}`: {markdown(meaning)}" for kind, meaning in FLAG_KINDS.items() if kind in seen]
    explained = f"\n\n{'; '.join(meanings)}." if meanings else ""
    return f"## Flagged: {counted(len(flagged), 'cell')}\n\n" + "\n".join(lines) + explained


def _models(cell: FlaggedCell) -> str:
    base, new = markdown(cell.base_model), markdown(cell.new_model)
    return new if base == new else f"{base} → {new}"


def _kinds(kinds: Sequence[str]) -> str:
    return ", ".join(map(markdown, kinds)) or "none"
