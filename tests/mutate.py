"""Break key lines of the run one by one, and see that the tests notice: `make mutate` (or `… tests/mutate.py store`).

Works on a copy of the checkout. A mutation whose tests still pass is a hole in the tests; one whose text is not in the
code any more, or that leaves no valid code, is an error of this list.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
QUIET = ["-q", "-x", "--no-header", "-p", "no:cacheprovider", "--durations=0"]


@dataclass(frozen=True)
class Mutation:
    what: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]
    """What pytest is asked to run."""

    def broken(self, text: str) -> str:
        if text.count(self.old) != 1:
            raise SystemExit(f"not in the code once: {self.path}: {self.old!r}")
        return text.replace(self.old, self.new)


MUTATIONS = [
    Mutation(
        "a file is not flushed to the disk", "harness/files.py",
        "                os.fsync(file.fileno())\n        Path(temporary)",
        "                pass\n        Path(temporary)",
        ("tests/harness/store/test_durable.py",),
    ),
    Mutation(
        "the store says 'agent done' before the patch is written", "harness/run/cells.py",
        "        write_atomic(cell_dir / PATCH_FILE, attempt.patch)\n",
        "        self.store.agent_done(cell, attempt)\n"
        "        write_atomic(cell_dir / PATCH_FILE, attempt.patch)\n",
        ("tests/harness/store/test_durable.py",),
    ),
    Mutation(
        "verdicts are not flushed before the store says 'graded'", "harness/run/cells.py",
        "            sync_files(self.folder.cell_dir(cell))", "            pass",
        ("tests/harness/store/test_durable.py",),
    ),
    Mutation(
        "a killed attempt's cost is forgotten", "harness/store/store.py",
        '        lost = max(0.0, calls["paid"] - earlier["lost"]) if calls["number"] else cost_on_record',
        "        lost = cost_on_record",
        ("tests/harness/store/test_store.py",),
    ),
    Mutation(
        "a failed grading drops the paid-for patch", "harness/store/store.py",
        '"UPDATE cells SET failure = ?, detail = ?, updated_at = ? WHERE',
        '"UPDATE cells SET state = \'failed\', failure = ?, detail = ?, updated_at = ? WHERE',
        ("tests/harness/store/test_store.py",),
    ),
    Mutation(
        "a patch that does not apply is the machine's fault", "harness/grading/judge.py",
        "        return Grade(Verdict.PATCH_FAILED)", "        return Grade(Verdict.INFRASTRUCTURE)",
        ("tests/harness/grading/test_judge.py",),
    ),
    Mutation(
        "infrastructure counts as a verdict", "harness/grading/verdict.py",
        "return self is not Verdict.INFRASTRUCTURE", "return True",
        ("tests/harness/store/test_store.py",),
    ),
    Mutation(
        "the budget is compared the wrong way round", "agents/budget.py",
        "                if self._spent >= self.limit:", "                if self._spent > 2 * self.limit:",
        ("tests/agents/test_budget.py",),
    ),
    Mutation(
        "calls in flight are not reserved", "agents/budget.py",
        "            self._reserved += estimate", "            self._reserved += 0",
        ("tests/agents/test_budget.py",),
    ),
    Mutation(
        "rate limits are not tried again", "agents/provider_errors.py",
        '"rate-limit": (True,', '"rate-limit": (False,',
        ("tests/agents/test_faults.py::test_passing_faults_are_tried_again",),
    ),
    Mutation(
        "a refused key is tried again", "agents/provider_errors.py",
        '"auth": (False,', '"auth": (True,',
        ("tests/agents/test_faults.py::test_final_faults_cost_exactly_one_request",),
    ),
    Mutation(
        "a redirect takes the key along", "agents/http.py",
        '        headers.pop("location", None)\n', "        pass\n",
        ("tests/agents/test_redirects.py",),
    ),
    Mutation(
        "a paid reply that cannot be used is asked for again and again", "agents/model.py",
        "if error.billed and unusable > 1:", "if error.billed and unusable > 9:",
        ("tests/agents/test_charges.py",),
    ),
    Mutation(
        "reasoning outside of the completion's count is not paid", "agents/usage.py",
        "        completion = total - prompt  #", "        pass  #",
        ("tests/agents/test_charges.py",),
    ),
    Mutation(
        "words decide before the status", "agents/provider_errors.py",
        '    Row("server", (range(500, 600), *_status(409, 424, 425, 499))),',
        '    Row("server", _status(409, 424, 425, 499)),',
        ("tests/agents/test_provider_errors.py",),
    ),
    Mutation(
        "a key in base64 is written", "agents/redaction.py",
        "    for before in range(3):", "    for before in range(1):",
        ("tests/agents/test_redaction.py",),
    ),
    Mutation(
        "what a timed-out command has started lives on", "agents/container/environment.py",
        "            all_ended = self._kill_command()", "            all_ended = False",
        ("tests/agents/container/test_environment.py::test_a_command_that_times_out_is_dead",),
    ),
    Mutation(
        "what the engine says at its end passes for a command's output", "agents/container/environment.py",
        "if done.returncode and (self._ended_since() or (", "if done.returncode and (False or (",
        ("tests/agents/container/test_environment.py::test_an_engine_that_goes_away_under_a_command_is_not_its_result",),
    ),
    Mutation(
        "a call's trajectory waits for the next call", "agents/loop.py",
        "self.n_calls == self._written_calls:", "self.n_calls <= self._written_calls + 1:",
        ("tests/agents/test_loop.py",),
    ),
    Mutation(
        "mini-swe-agent is imported with its settings", "agents/runner.py",
        "    load_minisweagent()  # whoever imports it first", "    # whoever imports it first",
        ("tests/agents/test_runner.py::test_an_attempt_reads_nobodys_settings_and_prints_nothing",),
    ),
    Mutation(
        "containers are swept under another label", "harness/docker/engine.py",
        'filters={"label": f"{RUN_LABEL}={run}"}', 'filters={"label": f"{RUN_LABEL}=other-{run}"}',
        ("tests/harness/run/test_pipeline.py::test_ctrl_c_twice_stops_now_and_leaves_no_container",),
    ),
    Mutation(
        "what we killed ourselves counts as the model's work", "harness/run/cells.py",
        "        if self.stop.now:  # our own doing", "        if False:  # our own doing",
        ("tests/harness/run/test_stop_now.py",),
    ),
    Mutation(
        "what meets a full disk is graded as the model's", "harness/run/cells.py",
        "            check_starved(self.backend.places, attempt.trajectory)\n", "",
        ("tests/harness/run/test_fault_matrix.py::"
         "test_an_engine_whose_disk_is_full_is_told_from_a_missing_container",),
    ),
    Mutation(
        "an image that a cell still needs is removed", "harness/docker/images.py",
        "if self._needed[image] <= 0 and (image in self._sizes or cut):", "if image in self._sizes or cut:",
        ("tests/harness/docker/test_images.py::test_no_more_than_the_limit_is_kept_and_the_longest_idle_goes_first",),
    ),
    Mutation(
        "errors of an image's transfer are passed over", "harness/docker/images.py",
        'if "error" in event:', 'if "no such key" in event:',
        ("tests/harness/docker/test_images.py::test_a_broken_transfer_is_not_taken_for_an_image",),
    ),
]  # fmt: skip


def main() -> int:
    wanted = sys.argv[1:]
    chosen = [m for m in MUTATIONS if not wanted or any(word in f"{m.path} {m.what}" for word in wanted)]
    survived = 0
    with tempfile.TemporaryDirectory(prefix="polyswe-mutate-") as folder:
        copy = Path(folder) / "polyswe"
        shutil.copytree(
            ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "results", ".*_cache", "__pycache__")
        )
        for mutation in MUTATIONS:
            compile(mutation.broken((copy / mutation.path).read_text(encoding="utf-8")), mutation.path, "exec")
        tests = sorted({test for mutation in chosen for test in mutation.tests})
        started = time.monotonic()
        if not passes(copy, tests):
            print("the tests fail without any mutation: mend them first")
            return 2
        print(f"unchanged: {len(tests)} groups of tests pass ({time.monotonic() - started:.0f} s)")
        for mutation in chosen:
            path = copy / mutation.path
            text = path.read_text(encoding="utf-8")
            path.write_text(mutation.broken(text), encoding="utf-8")
            noticed = not passes(copy, list(mutation.tests))
            path.write_text(text, encoding="utf-8")
            survived += not noticed
            print(f"{'noticed ' if noticed else 'SURVIVED'}  {mutation.path}: {mutation.what}", flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} mutations noticed")
    return 1 if survived else 0


def passes(copy: Path, tests: list[str]) -> bool:
    command = [sys.executable, "-m", "pytest", *QUIET, *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):  # neither passed nor failed: nothing was tested
        raise SystemExit(f"pytest could not run {' '.join(tests)}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
