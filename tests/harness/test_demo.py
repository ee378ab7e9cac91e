"""`polyswe demo` needs no Docker, model or network, and nobody can take its numbers for measured ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app

pytestmark = pytest.mark.slow
WITHOUT = """
import socket
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name in ("docker", "torch", "sentence_transformers", "litellm", "datasets", "swebench"):
            raise ImportError(f"the demo must not import {name}")
sys.meta_path.insert(0, Refuse())
def refuse(*arguments, **more):
    raise OSError("the demo must not use the network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
sys.argv = ["polyswe", "demo", "--out", sys.argv[1]]
from harness.cli import main
main()
"""
"""The command in a process that can import nothing heavy and connect to nothing."""


def test_the_demo_is_marked_as_simulated_and_its_gate_closes(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    done = subprocess.run([sys.executable, "-c", WITHOUT, str(out)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Simulated benchmark: 500 instances, 12 models" in done.stdout
    assert "at simulated $" in done.stdout
    assert "ended with exit code 1" in done.stderr

    results = json.loads((out / "simulated-base" / "results.json").read_text())
    assert results["simulated"]
    assert all(name.startswith("sim-") for name in results["pool"])
    page = (out / "simulated-base" / "results.html").read_text()
    assert "<title>Simulated benchmark · 12 models" in page
    assert "No model was run" in page
    assert "simulated $ / instance" in page

    compared = [
        "compare",
        str(out / "simulated-base" / "outcomes.csv"),
        str(out / "simulated-degraded" / "outcomes.csv"),
    ]
    assert CliRunner().invoke(app, compared).exit_code == 1
    assert json.loads((out / "comparison" / "comparison.json").read_text())["broken"]
    assert "simulated" in (out / "comparison" / "comparison.md").read_text().splitlines()[0]
    unchanged = ["compare", str(out / "simulated-base" / "outcomes.csv"), str(out / "simulated-base" / "outcomes.csv")]
    assert CliRunner().invoke(app, unchanged).exit_code == 0
