"""A dataset's rows as they come, unchecked: from a file, a task repo, a copy on disk, or the Hugging Face hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.data.hub import hub_out_of_reach
from harness.errors import EnvironmentUnavailableError, InputError
from harness.files import user_path, why_unread

ALIASES = {
    "full": "SWE-bench/SWE-bench",
    "verified": "SWE-bench/SWE-bench_Verified",
    "multilingual": "SWE-bench/SWE-bench_Multilingual",
    "lite": "SWE-bench/SWE-bench_Lite",
    "multimodal": "SWE-bench/SWE-bench_Multimodal",
}
"""Short names of the hub's datasets, those of the official command line among them."""
SUCCESSORS = {
    "princeton-nlp/swe-bench": "SWE-bench/SWE-bench",
    "princeton-nlp/swe-bench_lite": "SWE-bench/SWE-bench_Lite",
    "princeton-nlp/swe-bench_verified": "SWE-bench/SWE-bench_Verified",
    "princeton-nlp/swe-bench_multimodal": "SWE-bench/SWE-bench_Multimodal",
}
"""Datasets that the hub keeps under an earlier name, lower case, without what swebench 5 needs."""
FILE_SUFFIXES = (".json", ".jsonl", ".parquet")


def dataset_title(name: str | Path) -> str:
    """What titles and sentences call a dataset: its name, without folders and the kind of file."""
    text = str(name)
    hub_name = ALIASES.get(text.lower(), text)
    if hub_name in ALIASES.values():
        return hub_name.partition("/")[2].replace("_", " ")
    path = Path(text)
    is_path = path.suffix in FILE_SUFFIXES or path.is_absolute() or text.startswith(("~", ".")) or path.exists()
    if not is_path or not path.name:
        return text
    return path.stem if path.suffix in FILE_SUFFIXES else path.resolve().name


def load_rows(name: str, split: str = "test") -> list[dict[str, Any]]:
    """The unchecked rows of `sample`, a file, a task repo, or a dataset of the Hugging Face hub.

    Raises:
        InputError: no such file, or one that cannot be read.
        EnvironmentUnavailableError: the hub cannot be reached or does not know the name.
    """
    if name == "sample":
        from harness.sample import TASK_REPO

        return _from_task_repo(TASK_REPO, split)
    path = user_path(name)
    if path.is_dir():
        return _from_folder(path, split)
    if path.is_file():
        return read_rows(path)
    hub_name = SUCCESSORS.get(name.lower(), name) if name.count("/") == 1 else ALIASES.get(name.lower(), "")
    if path.suffix in FILE_SUFFIXES or path.is_absolute() or not hub_name:
        raise InputError(
            f"dataset {name}: no such file; give a path, a hub name like SWE-bench/SWE-bench_Verified, "
            f"or one of: sample, {', '.join(ALIASES)}"
        )
    return _from_hub(hub_name, split)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a .json (list of objects), .jsonl or .parquet file; of the first two, the content counts, not the name.

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
        raise InputError(f"dataset {path}: cannot be read ({why_unread(error)})") from error
    begin = text.lstrip()
    is_document = begin.startswith("[") or begin.partition("\n")[0].strip() == "{"
    if path.suffix == ".jsonl" and not is_document:
        return _rows_of_lines(path, text)
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and begin.startswith("{"):  # JSON Lines under another name
            return _rows_of_lines(path, text)
        raise InputError(f"dataset {path} line {error.lineno}: not valid JSON ({error.msg})") from error
    except ValueError as error:  # a number of thousands of digits
        raise InputError(f"dataset {path}: not valid JSON (a number that is too long)") from error
    except RecursionError as error:
        raise InputError(f"dataset {path}: nested too deeply") from error
    if isinstance(rows, dict) and "instance_id" in rows:
        return [rows]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"dataset {path}: expected a list of instances")
    return rows


def _rows_of_lines(path: Path, text: str) -> list[dict[str, Any]]:
    # not splitlines(): JSON strings may hold U+2028 and its like
    return [_parsed_line(path, number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _parsed_line(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"dataset {path} line {number}: not valid JSON ({error.msg})") from error
    except ValueError as error:  # a number of thousands of digits
        raise InputError(f"dataset {path} line {number}: not valid JSON (a number that is too long)") from error
    except RecursionError as error:
        raise InputError(f"dataset {path} line {number}: nested too deeply") from error
    if not isinstance(row, dict):
        raise InputError(f"dataset {path} line {number}: expected one instance (a JSON object) a line")
    return row


def _from_folder(path: Path, split: str) -> list[dict[str, Any]]:
    """A task repo, what `save_to_disk` of the datasets library wrote, or a clone of a dataset's repository."""
    if (path / "tasks").is_dir():
        return _from_task_repo(path, split)
    import datasets
    from datasets.exceptions import DatasetsError

    try:
        if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
            loaded = datasets.load_from_disk(str(path))
            table = loaded[split] if isinstance(loaded, datasets.DatasetDict) else loaded
        else:
            table = datasets.load_dataset(str(path), split=split)
        return [dict(row) for row in table]
    except (DatasetsError, OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"dataset {path}: neither a task repo (no tasks/) nor a copy of a dataset with a split {split!r} ({reason})"
        ) from error


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
    unreachable = hub_out_of_reach()  # before the libraries are imported
    from datasets.exceptions import DatasetsError
    from swebench.harness.utils import load_swebench_dataset

    try:
        return [dict(row) for row in load_swebench_dataset(name, split)]
    except (DatasetsError, OSError, ValueError) as error:
        if unreachable:
            raise EnvironmentUnavailableError(
                f"dataset {name}, split {split}: not a file, not in the hub's cache, and {unreachable}; "
                "check the network, or give a .json/.jsonl/.parquet path"
            ) from error
        reason = " ".join(str(error).split())[:200]
        raise EnvironmentUnavailableError(
            f"dataset {name}, split {split}: neither a file here nor loadable from the Hugging Face hub ({reason}); "
            "check the name and --split, or give a .json/.jsonl/.parquet path"
        ) from error
