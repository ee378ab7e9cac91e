"""The public tree of a package: predictions, logs and trajectories against each other and against the dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.submission.evidence import DamagedLogError, can_be_graded, find_test_output, regrade
from harness.submission.findings import Findings, some
from harness.submission.secrets import environment_secrets, secrets_in
from harness.submission.write import MAX_FILE_BYTES, MAX_TREE_BYTES

LISTS = ("no_generation", "no_logs", "resolved")
KEYS = ("instance_id", "model_name_or_path", "model_patch")
LEAST_HINT = 40
"""Shorter hints occur in a prompt by chance."""

Row = Mapping[str, Any]


def check_public(
    public: Path, lists: Mapping[str, list[str]], rows: Mapping[str, Row] | None, findings: Findings
) -> int:
    """Compare everything below `public`; returns how many verdicts were derived again from a log."""
    regraded = 0
    predictions = _read_predictions(public / "all_preds.jsonl", findings)
    if predictions is None:
        return 0
    names = {prediction["model_name_or_path"] for prediction in predictions.values()}
    if len(names) > 1:
        findings.fault(f"all_preds.jsonl: one system has one name, found {some(sorted(names))}")
    if rows is not None:
        findings.fault_of(rows.keys() - predictions.keys(), "all_preds.jsonl: no prediction of")
        findings.fault_of(predictions.keys() - rows.keys(), "all_preds.jsonl: not an instance of the dataset")
    logs = public / "logs"
    strangers = {path.name for path in logs.iterdir()} - predictions.keys() if logs.is_dir() else set()
    findings.fault_of(strangers, "logs of what was never predicted")
    _check_trajectories(public / "trajs", predictions, rows, findings)
    resolved = set(lists["resolved"])
    system = next(iter(names), "")
    wrong: dict[str, list[str]] = {}
    ungraded = []
    for instance, prediction in sorted(predictions.items()):
        patch = prediction["model_patch"] or ""
        verdict, again, faults = _verdict(logs / instance, patch, (rows or {}).get(instance), system)
        regraded += again
        if not again and patch.strip() and find_test_output(logs / instance) is not None:
            ungraded.append(instance)
        for fault in faults:
            wrong.setdefault(fault, []).append(instance)
        listed = next((name for name in LISTS if instance in lists[name]), "neither list")
        if verdict != (instance in resolved):
            source = "its report.json" if instance in ungraded else "its log"
            told = f"results.json says resolved, {source} does not" if instance in resolved else (
                f"{source} says resolved, results.json does not"
            )  # fmt: skip
            wrong.setdefault(told, []).append(instance)
        if (not patch) != (listed == "no_generation"):
            wrong.setdefault(f"{'no' if not patch else 'a'} patch, but results.json has it in {listed}", []).append(
                instance
            )
    for fault, instances in wrong.items():
        findings.fault_of(instances, fault)
    if ungraded:
        findings.note(
            f"{len(ungraded)} logs could not be graded again, only compared with their report.json: {some(ungraded)}"
        )
    return regraded


def _verdict(logs: Path, patch: str, row: Row | None, system: str) -> tuple[bool, bool, list[str]]:
    """The verdict, whether it was derived again from the log, and what contradicts it beside it.

    A log that no dataset row tells how to read leaves its report.json to be believed; without one nothing is resolved.
    """
    if not patch.strip():
        return False, False, (["logs of an empty patch"] if logs.is_dir() else [])
    if not (logs / "patch.diff").is_file():
        return False, False, ["no logs/<id>/patch.diff"]
    faults = []
    if (logs / "patch.diff").read_bytes() != patch.encode():
        faults.append("logs/<id>/patch.diff is not the prediction's patch")
    report = _resolved_by_report(logs / "report.json", logs.name)
    output = find_test_output(logs)
    if output is None:
        return False, False, [*faults, *(["report.json without a test output"] if report is not None else [])]
    if row is None or not can_be_graded(row):
        return report is True, False, faults
    try:
        verdict = regrade(row, patch, output, system)
    except DamagedLogError:
        return report is True, False, [*faults, f"logs/<id>/{output.name} is damaged"]
    if report is None:  # overdue tests leave a part of their output and no report; that part never passes
        faults += ["a passing test output without report.json"] if verdict else []
    elif report is not verdict:
        faults.append(f"report.json says {'' if report else 'not '}resolved, the test output says otherwise")
    return verdict, True, faults


def _resolved_by_report(path: Path, instance: str) -> bool | None:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))[instance]["resolved"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return told if isinstance(told, bool) else None


def _read_predictions(path: Path, findings: Findings) -> dict[str, dict[str, str]] | None:
    if not path.is_file():
        findings.fault("all_preds.jsonl is missing beside the logs")
        return None
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        findings.fault(f"all_preds.jsonl: not readable as text ({error})")
        return None
    predictions: dict[str, dict[str, str]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            findings.fault(f"all_preds.jsonl line {number}: not valid JSON ({error.msg})")
            continue
        lacking = [key for key in KEYS if not isinstance(row, dict) or key not in row]
        if lacking:
            findings.fault(f"all_preds.jsonl line {number}: no {', '.join(lacking)}")
        elif strange := [key for key in KEYS if not _is_text(row[key]) and (key, row[key]) != ("model_patch", None)]:
            findings.fault(f"all_preds.jsonl line {number}: {', '.join(strange)} not text")
        elif row["instance_id"] in predictions:
            findings.fault(f"all_preds.jsonl line {number}: {row['instance_id']} a second time; one attempt is allowed")
        else:
            predictions[row["instance_id"]] = row
    return predictions


def _is_text(value: object) -> bool:
    """A string that can be written to a file: JSON also spells halves of characters."""
    try:
        return isinstance(value, str) and bool(value.encode() or True)
    except UnicodeEncodeError:
        return False


def _check_trajectories(
    trajs: Path, predictions: Mapping[str, Any], rows: Mapping[str, Row] | None, findings: Findings
) -> None:
    files: dict[str, list[Path]] = {}
    for path in sorted(trajs.iterdir()) if trajs.is_dir() else []:
        files.setdefault(_instance_of(path, predictions), []).append(path)
    findings.fault_of(predictions.keys() - files.keys(), "no trajectory in trajs/ of")
    findings.fault_of(files.keys() - predictions.keys(), "a trajectory of what was never predicted")
    findings.fault_of([i for i, found in files.items() if len(found) > 1], "several trajectories of one attempt")
    hinted, tested, unread = [], [], 0
    for instance, (path, *_) in files.items():
        text = _first_message(path)
        row = (rows or {}).get(instance)
        if text is None:
            unread += 1
        elif row is not None:
            statement = _plain(str(row.get("problem_statement") or ""))
            told = _plain(text)
            hint = _plain(str(row.get("hints_text") or ""))[:200]
            if len(hint) >= LEAST_HINT and hint in told and hint not in statement:
                hinted.append(instance)
            if any(name in told and name not in statement for name in map(_plain, _tests(row))):
                tested.append(instance)
    findings.fault_of(hinted, "the agent was told the hints_text of")
    findings.fault_of(tested, "the agent was told names of the hidden tests of")
    if unread:
        findings.note(f"{unread} trajectories are not of mini-swe-agent's form: not searched for hints and test names")


def _instance_of(path: Path, known: Mapping[str, Any]) -> str:
    """The instance a trajectory is named after: suffixes come off until an id is left, for ids may hold dots."""
    name = path.name
    while name not in known and "." in name:
        name = name.rpartition(".")[0]
    return name


def _first_message(path: Path) -> str | None:
    """Everything the agent was told before it first spoke."""
    if path.suffix != ".json":
        return None
    try:
        messages = json.loads(path.read_text(encoding="utf-8"))["messages"]
        told = []
        for message in messages:
            if message["role"] == "assistant":
                break
            told.append(message["content"] if isinstance(message["content"], str) else json.dumps(message["content"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return "\n".join(told)


def _tests(row: Row) -> list[str]:
    """Names of hidden tests that are long enough to be no accident."""
    tests = row.get("FAIL_TO_PASS") or []
    try:
        names = json.loads(tests) if isinstance(tests, str) else tests
    except ValueError:
        return []
    return [name for name in names if isinstance(name, str) and len(name) >= 20]


def _plain(text: str) -> str:
    return " ".join(text.split())


def check_files(
    trees: Sequence[Path], findings: Findings, accepted: Sequence[str], key_names: Sequence[str | None] = ()
) -> None:
    """Sizes and secrets of everything that would become public; `key_names` are variables that hold keys."""
    values = environment_secrets(key_names)
    total = 0
    for root, path in ((tree, file) for tree in dict.fromkeys(trees) for file in _files(tree)):
        size = path.stat().st_size
        total += size
        name = str(path.relative_to(root))
        if size > MAX_FILE_BYTES:
            findings.fault(f"{name}: {size / 2**20:.0f} MB, the limit is {MAX_FILE_BYTES // 2**20} MB a file")
        if name not in accepted:
            for place in dict.fromkeys(secrets_in(path, values)):
                findings.fault(f"{name}: {place} (if it is none, --accept {name})")
    if total > MAX_TREE_BYTES:
        findings.fault(f"{total / 2**30:.1f} GB altogether, the limit is {MAX_TREE_BYTES // 2**30} GB")


def _files(root: Path) -> Iterator[Path]:
    return (path for path in sorted(root.rglob("*")) if path.is_file())
