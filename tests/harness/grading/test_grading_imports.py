"""Grading processes start fast, and what they leave out says so when it is asked for."""

from __future__ import annotations

import subprocess
import sys

CODE = """\
import sys
from harness.grading.imports import import_official_harness
import_official_harness()
from swebench.harness.run_evaluation import run_instance
from swebench.harness.utils import load_swebench_dataset, make_test_spec
heavy = {"pyarrow", "pandas", "modal", "torch"} & set(sys.modules)
assert not heavy, heavy
try:
    load_swebench_dataset("SWE-bench/SWE-bench_Verified", "test")
except RuntimeError as refusal:
    print(refusal)
"""


def test_a_grading_process_imports_nothing_it_will_not_use_and_refuses_it() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "datasets.load_dataset is not there in a grading process\n"
