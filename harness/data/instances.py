"""SWE-bench instances from the hub, a file or a task repo; checked before anything is spent on them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import EnvironmentUnavailableError, InputError

if TYPE_CHECKING:
    from harness.config import DatasetConfig

GRADING_FIELDS = ("image", "eval_script", "log_parser", "eval_type", "repo", "version", "FAIL_TO_PASS", "PASS_TO_PASS")
"""What the official harness needs of an instance (swebench 5, `make_test_spec`)."""
ALIASES = {
    "full": "SWE-bench/SWE-bench",
    "verified": "SWE-bench/SWE-bench_Verified",
    "multilingual": "SWE-bench/SWE-bench_Multilingual",
    "lite": "SWE-bench/SWE-bench_Lite",
}
"""Short names of the hub's datasets, those of the official command line among them."""
FILE_SUFFIXES = (".json", ".jsonl", ".parquet")


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
    def fingerprint(self) -> str:
        return hashlib.sha256("\0".join(i.fingerprint for i in self.instances).encode()).hexdigest()[:16]


def load_dataset(config: DatasetConfig) -> Dataset:
    """The instances a configuration asks for, in the dataset's order.

    Raises:
        InputError: unreadable file, malformed or duplicate rows, instances without what grading needs, unknown ids.
        EnvironmentUnavailableError: the hub cannot be reached.
    """
    instances = _checked(load_rows(config.name, config.split), config.name)
    return Dataset(config.name, tuple(_selected(instances, config)), scripted=config.name == "sample")


def load_rows(name: str, split: str = "test") -> list[dict[str, Any]]:
    """The unchecked rows of `sample`, a file, a task repo, or a dataset of the Hugging Face hub.

    Raises:
        InputError: no such file, or one that cannot be read.
        EnvironmentUnavailableError: the hub cannot be reached or does not know the name.
    """
    if name == "sample":
        from harness.sample import TASK_REPO

        return _from_task_repo(TASK_REPO, split)
    path = Path(name).expanduser()
    if path.is_dir():
        return _from_task_repo(path, split)
    if path.is_file():
        return read_rows(path)
    hub_name = name if name.count("/") == 1 else ALIASES.get(name.lower(), "")
    if path.suffix in FILE_SUFFIXES or path.is_absolute() or not hub_name:
        raise InputError(
            f"dataset {name}: no such file; give a path, a hub name like SWE-bench/SWE-bench_Verified, "
            f"or one of: sample, {', '.join(ALIASES)}"
        )
    return _from_hub(hub_name, split)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a .json (list of objects), .jsonl or .parquet file.

    Raises:
        InputError: naming the file, and the line where there is one.
    """
    if path.suffix not in FILE_SUFFIXES:
        raise InputError(f"dataset {path}: unknown kind of file '{path.suffix}'; expected {', '.join(FILE_SUFFIXES)}")
    try:
        if path.suffix == ".parquet":
            from pyarrow import parquet

            return list(parquet.read_table(path).to_pylist())
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # pyarrow's and decoding errors are ValueErrors
        raise InputError(f"dataset {path}: cannot be read ({error})") from error
    if path.suffix == ".jsonl":
        # not splitlines(): JSON strings may hold U+2028 and its like
        return [_parsed_line(path, number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"dataset {path} line {error.lineno}: not valid JSON ({error.msg})") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"dataset {path}: expected a list of instances")
    return rows


def _parsed_line(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"dataset {path} line {number}: not valid JSON ({error.msg})") from error
    if not isinstance(row, dict):
        raise InputError(f"dataset {path} line {number}: expected one instance (a JSON object) a line")
    return row


def _from_task_repo(path: Path, split: str) -> list[dict[str, Any]]:
    from swebench.task.repo import load_task_repo

    try:
        tasks = load_task_repo(path)
    except (OSError, ValueError) as error:
        raise InputError(f"dataset {path}: not a readable task repo ({error})") from error
    rows = [task for task in tasks if task.get("split") == split]
    if not rows:
        found = ", ".join(sorted({str(task.get("split")) for task in tasks})) or "none"
        raise InputError(f"dataset {path}: no tasks in split {split!r} (splits found: {found})")
    return rows


def _from_hub(name: str, split: str) -> list[dict[str, Any]]:
    from datasets.exceptions import DatasetsError
    from swebench.harness.utils import load_swebench_dataset

    try:
        return [dict(row) for row in load_swebench_dataset(name, split)]
    except (DatasetsError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise EnvironmentUnavailableError(
            f"dataset {name}: neither a file here nor loadable from the Hugging Face hub ({reason}); "
            "check the name, the network, or give a .json/.jsonl/.parquet path"
        ) from error


def _checked(rows: Iterable[Mapping[str, Any]], name: str) -> list[Instance]:
    """Instances from rows; every fault of the dataset is named at once, before anything runs."""
    instances: list[Instance] = []
    faults: list[str] = []
    for number, row in enumerate(rows, 1):
        instance_id = row.get("instance_id")
        if not isinstance(instance_id, str) or not instance_id.strip():
            faults.append(f"row {number} has no instance_id")
            continue
        missing = [key for key in GRADING_FIELDS if row.get(key) is None or row.get(key) == ""]
        if not str(row.get("problem_statement") or "").strip():
            missing.append("problem_statement")
        if missing:
            faults.append(f"{instance_id} lacks {', '.join(missing)}")
            continue
        instances.append(
            Instance(instance_id, str(row["problem_statement"]), str(row["repo"]), str(row["image"]), dict(row))
        )
    counts = Counter(instance.instance_id for instance in instances)
    faults += [f"{instance_id} occurs {count} times" for instance_id, count in counts.items() if count > 1]
    if faults:
        shown = "; ".join(faults[:5]) + (f"; and {len(faults) - 5} more" if len(faults) > 5 else "")
        hint = ""
        if any("image" in fault for fault in faults):
            hint = " (rows made before swebench 5 have no image and eval_script: take the dataset's current version)"
        raise InputError(f"dataset {name}: {shown}{hint}")
    if not instances:
        raise InputError(f"dataset {name}: no instances")
    return instances


def _selected(instances: list[Instance], config: DatasetConfig) -> list[Instance]:
    if config.instances is not None:
        known = {instance.instance_id for instance in instances}
        if unknown := [wanted for wanted in config.instances if wanted not in known]:
            import difflib

            nearest = difflib.get_close_matches(unknown[0], known, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise InputError(f"dataset {config.name}: no instance {', '.join(unknown[:5])}{hint}")
        wanted = set(config.instances)
        instances = [instance for instance in instances if instance.instance_id in wanted]
    return instances[: config.limit]


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(list(value) if not isinstance(value, dict) else value)


def repository_of(instance: str) -> str:
    """The repository in SWE-bench's ids: "django__django" of "django__django-11099".

    Ids of another kind are one repository together, which leaves nothing to leave out.
    """
    return instance.rpartition("-")[0] if "__" in instance else ""


def read_problem_statements(tasks: str | Path, *, split: str = "test") -> dict[str, str]:
    """Issue text by instance id, in the dataset's order. No other column is read: hints and tests are never inputs.

    Args:
        tasks: see `harness.data.instances.load_rows`.
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
