"""SWE-bench instances, checked before anything is spent on them."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config.selection import Candidate, Selection
from harness.data.checks import GRADING_FIELDS, faults_of, readable, repeated_ids
from harness.data.classic import advice, completed, is_classic, with_scripts
from harness.data.convert import advice_for
from harness.data.rows import dataset_title, load_rows
from harness.errors import InputError
from harness.text import one_line

if TYPE_CHECKING:
    from harness.config import DatasetConfig


_ID = re.compile(r"(?:instance_)?(.+?__.+?)(?:\.[0-9a-f]{6,}\..+|-[0-9a-f]{40}(?:-v\w*)?|[-#]\w+)")
"""The repository of an id, then what tells its instances apart. SWE-bench Pro's ids have `instance_` and a commit."""


@dataclass(frozen=True)
class Instance:
    instance_id: str
    problem_statement: str
    """The issue text: all that a router or an agent sees of the instance."""
    repo: str
    image: str
    row: Mapping[str, Any] = field(repr=False)
    """The dataset's row as it came, for the official harness and for exports."""

    @property
    def fingerprint(self) -> str:
        """Changes when the problem or its grading changes, so that old outcomes are not taken for new ones."""
        parts = [self.instance_id, self.problem_statement, *(_as_text(self.row[name]) for name in GRADING_FIELDS)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Dataset:
    name: str
    instances: tuple[Instance, ...]
    scripted: bool = False
    """True for the embedded sample, whose models are scripted stand-ins."""

    @property
    def title(self) -> str:
        return dataset_title(self.name)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256("\0".join(i.fingerprint for i in self.instances).encode()).hexdigest()[:16]


def load_dataset(config: DatasetConfig) -> Dataset:
    """The instances a configuration asks for, in the dataset's order.

    Raises:
        InputError: unreadable file, malformed or duplicate rows, instances without what grading needs, unknown ids.
        EnvironmentUnavailableError: the hub cannot be reached.
    """
    rows = load_rows(config.name, config.split)
    if any(is_classic(row) for row in rows):
        rows = [completed(row) if is_classic(row) else row for row in rows]
        if config.scripts:
            rows = with_scripts(rows, load_rows(config.scripts, config.split))
    instances = _checked(_selected(rows, config), config.name)
    return Dataset(config.name, tuple(instances), scripted=config.name == "sample")


def _checked(rows: Iterable[Mapping[str, Any]], name: str) -> list[Instance]:
    """Instances from rows; every fault of the dataset is named at once, before anything runs."""
    instances: list[Instance] = []
    faults: list[str] = []
    without_script: Mapping[str, Any] | None = None
    for number, came in enumerate(rows, 1):
        instance_id = came.get("instance_id")
        if not isinstance(instance_id, str) or not instance_id.strip():
            faults.append(f"row {number} has no instance_id")
            continue
        row = readable(came)
        if found := faults_of(row):
            without_script = without_script or (None if row.get("eval_script") else row)
            faults += [f"{one_line(instance_id, 128)} {fault}" for fault in found]
            continue
        instances.append(Instance(instance_id, str(row["problem_statement"]), str(row["repo"]), str(row["image"]), row))
    faults += repeated_ids([instance.instance_id for instance in instances])
    if faults:
        shown = "; ".join(faults[:5]) + (f"; and {len(faults) - 5} more" if len(faults) > 5 else "")
        hint = "dataset.exclude leaves instances out"
        if without_script is not None:
            hint = advice_for(without_script, name) or advice(name)
        raise InputError(f"dataset {name}: {shown} ({hint})")
    if not instances:
        raise InputError(f"dataset {name}: no instances")
    return instances


def _selected(rows: list[dict[str, Any]], config: DatasetConfig) -> list[dict[str, Any]]:
    """The rows a configuration asks for; what is left out need not be sound."""
    known = {str(row.get("instance_id")) for row in rows}
    if unknown := [name for name in config.exclude if name not in known]:
        nearest = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise InputError(f"dataset {config.name}: no instance {', '.join(unknown[:5])}{hint}")
    if rows and known <= set(config.exclude):
        raise InputError(f"dataset {config.name}: dataset.exclude leaves no instance")
    rows = [row for row in rows if str(row.get("instance_id")) not in config.exclude]
    if not config.select:
        return rows
    chosen = set(Selection.parse(config.select).choose(candidates(rows), f"dataset {config.name}"))
    return [row for row in rows if str(row.get("instance_id")) in chosen]


def candidates(rows: Sequence[Mapping[str, Any]], ids: Iterable[str] | None = None) -> list[Candidate]:
    """A dataset's rows as a selection sees them, in their order.

    Args:
        rows: of the dataset.
        ids: only these; of one that no row has, only the id is known.
    """
    repositories = repositories_of(rows)
    difficulties = {str(row.get("instance_id")): str(row.get("difficulty") or "") for row in rows}
    if ids is None:
        return [Candidate(name, repositories[name], difficulty) for name, difficulty in difficulties.items()]
    wanted = dict.fromkeys(ids)
    known = [Candidate(name, repositories[name], difficulties[name]) for name in difficulties if name in wanted]
    others = repositories_of([{"instance_id": name} for name in wanted if name not in difficulties])
    return known + [Candidate(name, repo) for name, repo in others.items()]


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(list(value) if not isinstance(value, dict) else value)


def repository_of(instance: str) -> str:
    """The repository in an instance's id: "django__django" of "django__django-11099".

    Ids of generated instances, such as `owner__name.<commit>.<change>`, are read, too. Ids of another kind are one
    repository together (""), which leaves nothing to leave out.
    """
    match = _ID.fullmatch(instance.strip())
    return match[1] if match else ""


def repositories_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """owner/name by instance id: the row's `repo`, else what the id says ("" where it says nothing)."""
    repositories = {}
    for row in rows:
        instance, repo = str(row.get("instance_id")), row.get("repo")
        by_id = repository_of(instance).replace("__", "/", 1)
        repositories[instance] = repo.strip() if isinstance(repo, str) and repo.strip() else by_id
    return repositories


def read_problem_statements(tasks: str | Path, *, split: str = "test") -> dict[str, str]:
    """Issue text by instance id, in the dataset's order. No other column is read: hints and tests are never inputs.

    Args:
        tasks: see `harness.data.rows.load_rows`.
        split: of a dataset on the hub.

    Raises:
        InputError: no such file, damaged rows, duplicate ids, or instances without an issue text.
        EnvironmentUnavailableError: the hub cannot be reached.
    """
    return problem_statements(load_rows(str(tasks), split), tasks)


def problem_statements(rows: Sequence[Mapping[str, Any]], tasks: str | Path) -> dict[str, str]:
    """Issue text by instance id of a dataset's rows; `tasks` is its name in messages.

    Raises:
        InputError: see `read_problem_statements`.
    """
    if not rows:
        raise InputError(f"tasks {tasks}: no instances in it; give the file of the dataset the outcomes are of")
    missing = [f"row {number}" for number, row in enumerate(rows, 1) if not _is_text(row.get("instance_id"))]
    if missing:
        raise InputError(f"tasks {tasks}: no instance_id in {_some(missing)}; expected SWE-bench's columns")
    ids = [row["instance_id"] for row in rows]
    repeated = [instance for instance, times in Counter(ids).items() if times > 1]
    if repeated:
        raise InputError(f"tasks {tasks}: {_some(repeated)} more than once; keep one row per instance")
    silent_ones = [row["instance_id"] for row in rows if not _is_text(row.get("problem_statement"))]
    if silent_ones:
        raise InputError(f"tasks {tasks}: no problem_statement for {_some(silent_ones)}; a router has nothing to read")
    return {row["instance_id"]: row["problem_statement"] for row in rows}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _some(names: Sequence[str], shown: int = 5) -> str:
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")
