"""Write a submission, or nothing: collected, laid out aside, checked like anybody's, and only then put in its place."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.data.instances import Instance
from harness.errors import InputError
from harness.submission.about import read_about
from harness.submission.check import Checked, check_package
from harness.submission.collect import collect_run
from harness.submission.findings import RefusedError
from harness.submission.packages import Datasets, Row, find_packages
from harness.submission.write import MANIFEST, PUBLIC, split_of, submission_id, write_package


@dataclass(frozen=True)
class Submission:
    """A package in its place."""

    path: Path
    checked: Checked
    attempt: str = ""
    """Which attempt it holds, where the run has repeats."""


def submit(
    run: Path,
    system: str,
    *,
    model: str | None = None,
    attempt: int = 1,
    routed: bool = False,
    checkpoint: Path | None = None,
    about: Path | None = None,
    out: Path | None = None,
    split: str | None = None,
    partial: bool = False,
    accepted: tuple[str, ...] = (),
    overwrite: bool = False,
) -> Submission:
    """Write the package of a run's model or routed system to `out` (default: `submission/<id>` in the run's folder).

    Raises:
        RefusedError: With everything that is missing or wrong; nothing is left behind.
        InputError: No run, unknown names, `out` holds something that is no package, or a package and not `overwrite`.
    """
    if split is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", split):
        raise InputError(f"--split {split!r}: the name of a folder under evaluation/, e.g. verified")
    if routed and attempt > 1:
        raise InputError("--attempt and --routed exclude each other: the routed system has one attempt per model")
    if routed and model is not None:
        raise InputError("--model and --routed exclude each other: a submission is one model or the routed system")
    fields = read_about(about)
    collected = collect_run(run, model=model, attempt=attempt, routed=routed, checkpoint=checkpoint, partial=partial)
    name = submission_id(system, collected.date)
    place = out or run / "submission" / name
    _check_place(place, overwrite=overwrite)
    with _parent(place), tempfile.TemporaryDirectory(dir=place.parent, prefix=".submission.") as scratch:
        root = Path(scratch) / "package"
        root.mkdir()
        write_package(collected, system, split or split_of(collected.dataset.name), fields, root)
        (package,) = find_packages(root)
        keys = [model.api_key_env for model in collected.config.pool]  # also of models that are not submitted
        checked = check_package(package, _OfRun(collected.dataset.instances), accepted=accepted, key_names=keys)
        if checked.findings.faults:
            raise RefusedError(f"{run} as {name}", checked.findings.faults)
        if place.exists():
            place.rename(Path(scratch) / "replaced")
        root.rename(place)
    (package,) = find_packages(place)
    checked.package = package
    several = collected.repeats > 1
    return Submission(place, checked, f"attempt {collected.attempt} of {collected.repeats}" if several else "")


def _check_place(place: Path, *, overwrite: bool) -> None:
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        raise InputError(f"{place}: is no folder of its own; choose another --out")
    if not place.exists() or not any(place.iterdir()):
        return
    if not (place / PUBLIC / MANIFEST).is_file():
        raise InputError(f"{place}: holds something that is no package of polyswe's; choose another --out")
    if not overwrite:
        raise InputError(f"{place}: holds a package already, maybe with your edits; replace it with --overwrite")


@contextmanager
def _parent(place: Path) -> Iterator[None]:
    """Makes the folder that `place` is moved into, and removes again what it made when nothing was moved."""
    created = [folder for folder in place.parents if not folder.exists()]
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{place}: its folder cannot be made ({error.strerror})") from error
    try:
        yield
    finally:
        for folder in created:  # the innermost first
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


class _OfRun(Datasets):
    """The instances of the run itself."""

    def __init__(self, instances: Iterable[Instance]) -> None:
        super().__init__()
        self._of_run: dict[str, Row] = {instance.instance_id: instance.row for instance in instances}

    def rows(self, split: str) -> dict[str, Row]:
        return dict(self._of_run)
