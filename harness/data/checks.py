"""What the official harness can digest of a row: found out before anything is spent on the instance."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

TEST_LISTS = ("FAIL_TO_PASS", "PASS_TO_PASS")
GRADING_FIELDS = ("image", "eval_script", "log_parser", "eval_type", "repo", "version", *TEST_LISTS)
"""What the official harness needs of an instance (swebench 5, `make_test_spec`)."""
PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
"""An id that can name a folder and a container."""
IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,254}")
"""An image's name that the engine cannot take for an option."""


class UnreadableTestsError(ValueError):
    """A list of tests is none."""


def test_list(value: object) -> list[str]:
    """The tests of a `FAIL_TO_PASS` or `PASS_TO_PASS`: a list, JSON text, or the text of a Python list.

    Raises:
        UnreadableTestsError: it is none of these, or holds something that is not text.
    """
    tests: object = value
    if isinstance(value, str):
        try:
            tests = json.loads(value)
        except (ValueError, RecursionError):
            try:
                tests = ast.literal_eval(value)
            except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
                raise UnreadableTestsError("is no list") from error
    if hasattr(tests, "tolist"):  # a column of a parquet file
        tests = tests.tolist()
    if not isinstance(tests, list | tuple):
        raise UnreadableTestsError("is no list")
    if not all(isinstance(test, str) for test in tests):
        raise UnreadableTestsError("holds something that is not text")
    return list(tests)


def readable(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with test lists that only Python can read as real lists; everything else as it came."""
    out = dict(row)
    for name in TEST_LISTS:
        if not isinstance(value := out.get(name), str):
            continue
        try:
            json.loads(value)
        except (ValueError, RecursionError):
            try:
                out[name] = test_list(value)
            except UnreadableTestsError:
                continue  # `faults_of` says so
    return out


def faults_of(row: Mapping[str, Any]) -> list[str]:
    """Why the instance cannot be attempted or graded; empty when it can."""
    missing = [name for name in GRADING_FIELDS if row.get(name) is None or row.get(name) == ""]
    if not str(row.get("problem_statement") or "").strip():
        missing.append("problem_statement")
    faults = [f"lacks {', '.join(missing)}"] if missing else []
    if not PLAIN_ID.fullmatch(str(row["instance_id"])):
        faults.append("has an id that cannot name a folder and a container (letters, digits and _.-, at most 128)")
    if missing:
        return faults
    if unreadable := list(_text_faults(row)):
        return faults + unreadable
    return faults + [f for check in (_test_faults, _name_faults, _script_faults, _spec_faults) for f in check(row)]


def repeated_ids(ids: list[str]) -> list[str]:
    """What is wrong with ids that occur twice, or that a file system without upper case takes for one."""
    counts = Counter(ids)
    faults = [f"{name} occurs {count} times" for name, count in counts.items() if count > 1]
    by_lower: dict[str, list[str]] = {}
    for name in counts:
        by_lower.setdefault(name.lower(), []).append(name)
    return faults + [f"{' and '.join(names)} differ only in case" for names in by_lower.values() if len(names) > 1]


def _text_faults(row: Mapping[str, Any]) -> Iterator[str]:
    for name in (*GRADING_FIELDS, "problem_statement"):
        if name in TEST_LISTS:
            continue
        if not isinstance(row[name], str):
            yield f"has a {name} that is no text ({type(row[name]).__name__})"
        elif not _is_utf8(row[name]):
            yield f"has a {name} with half a character in it (a lone surrogate), which no file can hold"


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _test_faults(row: Mapping[str, Any]) -> Iterator[str]:
    for name in TEST_LISTS:
        try:
            tests = test_list(row[name])
        except UnreadableTestsError as error:
            yield f"has a {name} that {error}"
            continue
        if name == "FAIL_TO_PASS" and not tests:
            yield "has no tests: FAIL_TO_PASS is empty, so any patch would count as resolved"
        elif name == "FAIL_TO_PASS" and not any(test.strip() for test in tests):
            yield "has no tests: FAIL_TO_PASS holds empty names only, so no patch could be resolved"


def _name_faults(row: Mapping[str, Any]) -> Iterator[str]:
    from swebench.harness.constants import EvalType
    from swebench.harness.log_parsers import PARSER_REGISTRY

    if not IMAGE.fullmatch(str(row["image"])):
        yield f"has an image that is no name of one ({str(row['image'])[:60]!r})"
    if row["log_parser"] not in PARSER_REGISTRY:
        yield f"has a log_parser that swebench does not know ({str(row['log_parser'])[:60]!r})"
    kinds = [kind.value for kind in EvalType]
    if row["eval_type"] not in kinds:
        yield f"has an eval_type that is none of {', '.join(kinds)} ({str(row['eval_type'])[:60]!r})"


def _script_faults(row: Mapping[str, Any]) -> Iterator[str]:
    from swebench.harness.constants import END_TEST_OUTPUT, START_TEST_OUTPUT

    script = str(row["eval_script"])
    start, end = script.find(START_TEST_OUTPUT), script.rfind(END_TEST_OUTPUT)
    if start < 0 or end < start:
        yield f"has an eval_script without '{START_TEST_OUTPUT}' and '{END_TEST_OUTPUT}': no patch could be resolved"


def _spec_faults(row: Mapping[str, Any]) -> Iterator[str]:
    """What else the official test spec refuses."""
    from swebench.harness.utils import make_test_spec

    tests = {}
    for name in TEST_LISTS:
        try:
            tests[name] = test_list(row[name])
        except UnreadableTestsError:
            return
    try:
        make_test_spec({**row, **tests})
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        yield f"is refused by swebench ({type(error).__name__}: {str(error)[:100]})"
