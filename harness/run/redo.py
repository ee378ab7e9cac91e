"""Attempting finished cells again: which, at what cost, and what becomes of their earlier attempts.

The order of steps is safe against a kill at any point. One transaction of the store puts the earlier rows of all chosen
cells aside and plans the cells anew; then each folder gets its new name; only then an agent may start. The next start
gives the names that are missing. Until every chosen cell has a verdict again and the results are written, the same
command chooses none of these cells a second time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.config import Config
from harness.data.instances import Dataset
from harness.errors import InputError
from harness.evaluation.formats import usd
from harness.files import sync_folder
from harness.run.failures import KINDS
from harness.run.plan import plan
from harness.store.rows import Cell, CellRow, Replaced, State
from harness.store.run_folder import RunFolder
from harness.store.store import Store
from harness.text import counted

ALL = "all"
"""Ending that stands for every cell with a verdict."""


@dataclass(frozen=True)
class RedoRequest:
    """What a command asks to be attempted again."""

    endings: Sequence[str]
    """Verdicts or exit statuses, by a unique part; or `all`."""
    models: Sequence[str] = ()
    """Names of models; none means all."""


@dataclass(frozen=True)
class Redo:
    """Finished cells that are attempted again."""

    rows: Sequence[CellRow]
    going_on: int = 0
    """Cells of an earlier redo that has not ended."""

    @property
    def cells(self) -> frozenset[Cell]:
        return frozenset(row.cell for row in self.rows)

    def render(self) -> str:
        """What is about to happen, with counts and the expected cost."""
        lines = [f"a redo of {counted(self.going_on, 'cell')} has not ended: it goes on"] if self.going_on else []
        if self.rows:
            costs: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
            for row in self.rows:
                costs[str(row.verdict), row.model].append((row.cost_usd or 0.0) + row.lost_cost_usd)
            verdicts, models = (max(len(pair[i]) for pair in costs) for i in (0, 1))
            lines.append(f"to attempt again: {counted(len(self.rows), 'cell')} with a verdict")
            lines += [
                f"{len(paid):6} × {verdict:{verdicts}}  {model:{models}}  ${sum(paid):.2f} before"
                for (verdict, model), paid in sorted(costs.items())
            ]
            total = sum(sum(paid) for paid in costs.values())
            lines.append(f"expected cost: about as much as before, ${total:.2f}")
            lines.append("the earlier attempts are kept beside the new ones, and their cost stays in the run's total")
        return "\n".join(lines)


def choose(
    request: RedoRequest, store: Store, cells: Collection[Cell], mode: Literal["matrix", "routed"] = "matrix"
) -> Redo:
    """The cells that a request means.

    Args:
        request: what is asked for.
        store: the run's. Cells whose redo has not ended are not chosen again.
        cells: those that the command takes.
        mode: the run's. What a cascade attempts next depends on the attempts before, so a routed run's attempts of an
            instance are redone together.

    Raises:
        InputError: no cell ended so, or an ending stands for several.
    """
    open_cells = {one.cell for one in store.replaced() if not one.closed} & set(cells)
    graded = [row for row in store.rows() if row.state is State.GRADED]
    candidates = [row for row in graded if row.cell in cells and (not request.models or row.model in request.models)]
    chosen: dict[Cell, CellRow] = {}
    for wanted in request.endings:
        found = [row for row in candidates if row.cell not in open_cells]
        if wanted.strip().casefold() != ALL:
            ending = _ending(wanted, candidates, optional=bool(open_cells))
            found = [row for row in found if ending in endings_of(row)]
        chosen |= {row.cell: row for row in found}
    if not chosen and not open_cells:
        raise InputError("--redo: none of the chosen cells has a verdict yet; the command without --redo attempts them")
    if mode == "routed":
        instances = {cell.instance_id for cell in chosen}
        chosen |= {row.cell: row for row in graded if row.cell in cells and row.instance_id in instances}
    return Redo(list(chosen.values()), going_on=len(open_cells))


def preview(request: RedoRequest, config: Config, dataset: Dataset, folder: RunFolder) -> Redo:
    """What `choose` would choose, without changing anything.

    Raises:
        InputError: as `choose`; also where there is no run.
    """
    if not folder.store_path.is_file():
        raise InputError(f"--redo: {folder.path} holds no run whose cells could be attempted again")
    with Store(folder.store_path, read_only=True) as store:
        rows = store.rows() if config.run.mode == "routed" else []
        return choose(request, store, plan(config, dataset, rows, folder), config.run.mode)


def endings_of(row: CellRow) -> set[str]:
    """What a finished cell ended with: its verdict, and the exit status where that is a kind of failure."""
    return {str(row.verdict)} | ({row.exit_status} if row.exit_status in KINDS else set())


def move_folders(folder: RunFolder, store: Store) -> None:
    """Give the folders of earlier attempts their names; what a killed command has left is done, too.

    Raises:
        InputError: there is a folder of that name.
    """
    for earlier in store.replaced():
        if earlier.moved:
            continue
        source, target = folder.cell_dir(earlier.cell), folder.earlier_dir(earlier.cell, earlier.number)
        if source.is_dir():
            if target.exists():
                raise InputError(f"{target} is in the way of the earlier attempt in {source}: move it elsewhere")
            source.rename(target)
            sync_folder(source.parent)
        store.moved(earlier)


def redo_notes(replaced: Sequence[Replaced]) -> list[str]:
    """What a reader of the results has to know of cells that were attempted again."""
    if not replaced:
        return []
    first = [one for one in replaced if one.number == 1]
    verdicts = Counter(str(one.row.verdict) for one in first)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
    return [
        f"{counted(len(first), 'cell')} redone after the verdicts were known: the first verdicts were {counts}. "
        "Choosing cells by their verdicts favours their models, so these are no first attempts (pass@1); the earlier "
        f"attempts cost {usd(sum(one.cost_usd for one in replaced))}, which no row counts"
    ]


def _ending(wanted: str, rows: Sequence[CellRow], *, optional: bool) -> str:
    """The ending that a text stands for: the whole name wins, else a unique part."""
    counts = Counter(ending for row in rows for ending in endings_of(row))
    text = wanted.strip().casefold()
    exact = [ending for ending in counts if ending.casefold() == text]
    found = exact or [ending for ending in counts if text and text in ending.casefold()]
    if len(found) == 1:
        return found[0]
    if not found and optional:  # all of them are being redone
        return wanted
    shown = ", ".join(f"'{ending}' ({count})" for ending, count in counts.most_common()) or "none"
    if found:
        raise InputError(f"--redo {wanted!r} stands for several endings of cells: {shown}")
    raise InputError(
        f"--redo {wanted!r}: no chosen cell with a verdict ended so; there are {shown}, or 'all'. Cells without a "
        "verdict are attempted again in any case"
    )
