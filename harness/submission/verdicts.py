"""The verdicts of a package: what its logs prove against what its lists and reports say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.files import UnreadableFileError
from harness.grading.suspect import KINDS, suspicions
from harness.submission.evidence import CostlyLogError, DamagedLogError, LogGrader, can_be_graded, find_test_output
from harness.submission.findings import Findings, some
from harness.submission.packages import Row
from harness.submission.predictions import Prediction
from harness.submission.trajectories import instance_of
from harness.submission.tree import MAX_FILE_BYTES, Tree

LISTS = ("no_generation", "no_logs", "resolved")
MAX_COSTLY = 5
"""Logs that may take too much to grade; after these no log of the package is graded."""
OLD_LOG = ".eval.log"
"""End of a log's name before June 2024: one file an instance, without the marks that the official grader looks for."""


@dataclass(frozen=True)
class Verdict:
    """What is known of one prediction's result."""

    resolved: bool
    source: str = "its log"
    """What says so."""
    suspicions: tuple[str, ...] = ()
    """Kinds of `harness.grading.suspect`."""
    faults: tuple[str, ...] = ()


@dataclass
class VerdictCheck:
    """Derives the verdicts again, and collects what speaks against them by kind.

    Args:
        tree: The public tree.
        rows: The dataset's rows by instance id; None where they are not at hand.
        grader: Grades the logs.
    """

    tree: Tree
    rows: Mapping[str, Row] | None
    grader: LogGrader
    regraded: int = 0
    """Verdicts that were derived again from a log."""
    ungraded: list[str] = field(default_factory=list)
    """Instances whose report.json alone was compared."""
    unproven: list[str] = field(default_factory=list)
    """Instances with a log of the layout before June 2024."""
    _costly: int = 0

    def check(self, predictions: Mapping[str, Prediction], lists: Mapping[str, list[str]], findings: Findings) -> None:
        """Compare every prediction's log with the lists of results.json."""
        listed = {instance: name for name in LISTS for instance in lists[name]}
        resolved = set(lists["resolved"])
        logs = {name: instance_of(name, predictions) for name in self.tree.names("logs")}
        findings.fault_of(set(logs.values()) - predictions.keys(), "logs of what was never predicted")
        old_logs = {instance for name, instance in logs.items() if name.endswith(OLD_LOG)}
        wrong: dict[str, list[str]] = {}
        suspect: dict[str, list[str]] = {}
        for instance, prediction in sorted(predictions.items()):
            place = listed.get(instance, "neither list")
            if bool(prediction.patch) == (place == "no_generation"):
                what = "a" if prediction.patch else "no"
                wrong.setdefault(f"{what} patch, but results.json has it in {place}", []).append(instance)
            if instance in old_logs and not self.tree.has_folder(f"logs/{instance}"):
                self.unproven.append(instance)
                continue
            verdict = self._verdict(instance, prediction)
            contradictions = list(verdict.faults)
            if instance in resolved and not verdict.resolved:
                contradictions.append(f"results.json says resolved, {verdict.source} does not")
            elif verdict.resolved and instance not in resolved:
                contradictions.append(f"{verdict.source} says resolved, results.json does not")
            for fault in contradictions:
                wrong.setdefault(fault, []).append(instance)
            for suspicion in verdict.suspicions if verdict.resolved else ():
                suspect.setdefault(suspicion, []).append(instance)
        for fault, instances in wrong.items():
            findings.fault_of(instances, fault)
        for suspicion, instances in suspect.items():
            findings.note(f"passes to look at, for {KINDS[suspicion]}: {some(instances)}")
        self._note_what_was_not_derived(findings)

    def _note_what_was_not_derived(self, findings: Findings) -> None:
        if self.ungraded:
            findings.note(
                f"{len(self.ungraded)} logs could not be graded again, only compared with their report.json: "
                f"{some(self.ungraded)}"
            )
        if self.unproven:
            findings.note(
                f"{len(self.unproven)} logs are of the layout before June 2024 (*{OLD_LOG}) and prove nothing to the "
                f"official grader of today: {some(self.unproven)}"
            )

    def _verdict(self, instance: str, prediction: Prediction) -> Verdict:
        """The verdict with what contradicts it beside it.

        A log that no dataset row tells how to read leaves its report.json to be believed; without one nothing is
        resolved.
        """
        folder, patch = f"logs/{instance}", prediction.patch
        if not patch.strip():
            return Verdict(False, faults=("logs of an empty patch",) if self.tree.has_folder(folder) else ())
        if f"{folder}/patch.diff" not in self.tree.sizes:
            return Verdict(False, faults=("no logs/<id>/patch.diff",))
        same = self._is_patch(f"{folder}/patch.diff", patch)
        faults = [] if same else ["logs/<id>/patch.diff is not the prediction's patch"]
        report = self._resolved_by_report(f"{folder}/report.json", instance)
        output = find_test_output(self.tree, folder)
        if output is None:
            if report is not None:
                faults.append("report.json without a test output")
            return Verdict(False, faults=tuple(faults))
        row = (self.rows or {}).get(instance)
        if row is None or not can_be_graded(row) or self._costly >= MAX_COSTLY:
            self.ungraded.append(instance)
            return self._by_report(report, row, patch, faults)
        try:
            graded = self.grader.grade(row, patch, self.tree, output)
        except (DamagedLogError, UnreadableFileError) as error:
            self._costly += isinstance(error, CostlyLogError)
            self.ungraded.append(instance)
            faults.append(f"logs/<id>/{output.rpartition('/')[2]} cannot be graded ({error})")
            return self._by_report(report, row, patch, faults)
        self.regraded += 1
        if report is None:  # overdue tests leave a part of their output and no report; that part never passes
            faults += ["a passing test output without report.json"] if graded.resolved else []
        elif report is not graded.resolved:
            faults.append(f"report.json says {'' if report else 'not '}resolved, the test output says otherwise")
        return Verdict(graded.resolved, suspicions=graded.suspicions, faults=tuple(faults))

    def _by_report(self, report: bool | None, row: Row | None, patch: str, faults: Sequence[str]) -> Verdict:
        kinds = sorted({sign.kind for sign in suspicions(row or {}, patch, "")})
        return Verdict(report is True, source="its report.json", suspicions=tuple(kinds), faults=tuple(faults))

    def _is_patch(self, name: str, patch: str) -> bool:
        try:
            return self.tree.read(name, MAX_FILE_BYTES) == patch.encode()
        except UnreadableFileError:
            return False

    def _resolved_by_report(self, name: str, instance: str) -> bool | None:
        try:
            resolved = self.tree.json(name)[instance]["resolved"]
        except (UnreadableFileError, LookupError, TypeError):
            return None
        return resolved if isinstance(resolved, bool) else None
