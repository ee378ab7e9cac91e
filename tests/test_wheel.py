"""What `pip install polyswe` gives: a wheel that runs from anywhere, whole and alone in its environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]
Polyswe = Callable[..., "subprocess.CompletedProcess[str]"]


def run(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    ours = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # it would name the checkout
    return subprocess.run([str(word) for word in words], cwd=cwd, env=ours, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment into which the wheel was installed, with the constraints that the project pins."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a build in the checkout would take what an earlier one left there
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".git", ".venv", "build", "*.egg-info", "results"))
    built = run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, source, cwd=folder)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("polyswe-*.whl")
    venv = folder / "venv"
    assert run(sys.executable, "-m", "venv", venv, cwd=folder).returncode == 0
    pip = [venv / "bin" / "python", "-m", "pip", "install", "-q"]
    assert run(*pip, "--upgrade", "pip>=25", cwd=folder).returncode == 0
    installed = run(*pip, "--constraint", ROOT / "constraints.txt", f"{wheel}[offline]", cwd=folder)
    assert installed.returncode == 0, installed.stderr
    return venv


@pytest.fixture
def polyswe(environment: Path, tmp_path: Path) -> Polyswe:
    return lambda *words: run(environment / "bin" / "polyswe", *words, cwd=tmp_path)


def test_commands_run_from_any_folder(polyswe: Polyswe) -> None:
    done = polyswe("evaluate", "--help")
    assert done.returncode == 0, done.stderr
    assert "polyswe evaluate verified" in done.stdout
    done = polyswe("doctor")
    assert done.returncode in (0, 3), done.stderr  # 3: this machine lacks something, and doctor says what
    assert "Traceback" not in done.stdout + done.stderr


def test_the_embedded_sample_is_inside(polyswe: Polyswe) -> None:
    done = polyswe("evaluate", "sample", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "15 instances, 3 models" in done.stdout


def test_recorded_outcomes_are_replayed_and_reported(polyswe: Polyswe, tmp_path: Path) -> None:
    done = polyswe("route", "--help")
    assert done.returncode == 0
    listing = run("ls", tmp_path, cwd=tmp_path)
    assert listing.stdout == "", "a command that only helps writes nothing"
    ids = ["billing-201", "bucketeer-501", "csvquill-403", "depgraph-302", "eventide-502", "hotcache-301"]
    lines = ["instance_id,model,resolved,cost_usd"]
    for place, name in enumerate(ids):
        lines += [f"polyswe__{name},a,{place % 2},0.1", f"polyswe__{name},b,{(place + 1) % 2},0.2"]
    (tmp_path / "mine.csv").write_text("\n".join(lines) + "\n")
    done = polyswe("replay", "mine.csv", "--tasks", "sample", "--repeats", "1", "--folds", "2", "--out", "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "results.html").stat().st_size > 10_000
    assert (tmp_path / "out" / "results.json").is_file()


def test_an_overwritten_file_is_named(environment: Path, polyswe: Polyswe) -> None:
    (file,) = environment.glob("lib/python*/site-packages/agents/retry.py")
    ours = file.read_text()
    try:
        file.write_text("from openai import AsyncOpenAI\n")
        done = polyswe("doctor")
        assert (done.returncode, done.stderr.count("\n")) == (3, 1)
        assert str(file) in done.stderr
    finally:
        file.write_text(ours)
