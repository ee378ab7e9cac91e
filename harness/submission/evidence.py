"""What a log proves: the official grader's verdict, read again from the test output."""

from __future__ import annotations

import gzip
import tempfile
import zlib
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

TEST_OUTPUT = "test_output.txt"
GRADING_FIELDS = ("log_parser", "eval_type", "FAIL_TO_PASS", "PASS_TO_PASS")
"""What reading a log takes; the script that made it is not run again."""
MAX_LOG_BYTES = 256 * 2**20
"""A test output that is larger, or that unpacks to more, is not read."""


class DamagedLogError(ValueError):
    """A test output that cannot be read: a broken archive, or no text."""


def can_be_graded(row: Mapping[str, Any]) -> bool:
    """Whether a dataset row says how its log is read."""
    return all(row.get(name) not in (None, "") for name in GRADING_FIELDS)


def regrade(row: Mapping[str, Any], patch: str, test_output: Path, system: str) -> bool:
    """Whether the official grader finds the instance resolved in a test output (plain or .gz).

    The report that came with it is not looked at: `swebench.harness.grading.get_eval_report` on the log is the verdict.

    Raises:
        DamagedLogError: the log cannot be read.
    """
    from swebench.harness.grading import get_eval_report
    from swebench.harness.utils import make_test_spec

    instance = str(row["instance_id"])
    prediction = {"instance_id": instance, "model_patch": patch, "model_name_or_path": system}
    with _plain(test_output) as log:
        try:
            report = get_eval_report(
                make_test_spec({"eval_script": "", "image": "", **row}),
                prediction,
                str(log),
                include_tests_status=False,
            )
        except UnicodeDecodeError as error:
            raise DamagedLogError(f"no text: {error}") from error
    return bool(report[instance]["resolved"])


def find_test_output(folder: Path) -> Path | None:
    """`test_output.txt` or `test_output.txt.gz` of a log folder."""
    for name in (TEST_OUTPUT, f"{TEST_OUTPUT}.gz"):
        if (folder / name).is_file():
            return folder / name
    return None


@contextmanager
def _plain(log: Path) -> Iterator[Path]:
    if log.suffix != ".gz":
        if log.stat().st_size > MAX_LOG_BYTES:
            raise DamagedLogError(f"larger than {MAX_LOG_BYTES >> 20} MiB")
        yield log
        return
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        try:
            with gzip.open(log) as packed:
                while block := packed.read(2**20):
                    if file.tell() + len(block) > MAX_LOG_BYTES:
                        raise DamagedLogError(f"unpacks to more than {MAX_LOG_BYTES >> 20} MiB")
                    file.write(block)
        except (OSError, EOFError, zlib.error) as error:
            raise DamagedLogError(f"not a whole gzip file: {error}") from error
        file.flush()
        yield Path(file.name)
