"""A package to check: written once from a run of the sample, then copied for every test."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.store.run_folder import RunFolder
from harness.submission.check import Checked, check_package
from harness.submission.packages import Datasets, find_packages
from harness.submission.submit import submit


@pytest.fixture(scope="session")
def written_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test that needs a package writes it."""
    return tmp_path_factory.mktemp("submission") / "package"


@pytest.fixture
def package(written_package: Path, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A package of the sample's large model, to be damaged: `submission-repo/` and `evaluation/sample/<entry>/`."""
    if not written_package.is_dir():
        make_run: Callable[..., RunFolder] = request.getfixturevalue("make_run")
        submit(make_run().path, "Sample System", model="large", out=written_package)
    return Path(shutil.copytree(written_package, tmp_path / "package"))


@pytest.fixture
def public(package: Path) -> Path:
    """The package's public tree."""
    return package / "submission-repo"


@pytest.fixture
def entry(package: Path) -> Path:
    """The package's entry for the leaderboard."""
    return find_packages(package)[0].entry


@pytest.fixture
def check() -> Callable[[Path], Checked]:
    """Checks the only package in a folder."""

    def check_only(path: Path) -> Checked:
        (package,) = find_packages(path)
        return check_package(package, Datasets())

    return check_only
