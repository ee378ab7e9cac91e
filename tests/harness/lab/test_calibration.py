"""Claims on pools whose truth is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.lab.calibration import Settings, calibrate

SMALL = Settings(params={"n_clusters": 2}, pools=12, gains=(12.0,), instances=200, folds=4, permutations=39)


def test_nothing_is_rarely_claimed_and_a_large_effect_is_found(tmp_path: Path):
    found = calibrate(SMALL, out=tmp_path / "c.json")
    nothing, planted = found.shares
    assert nothing.claimed <= 2
    assert planted.claimed >= 8
    assert planted.mean_gain > nothing.mean_gain + 5
    document = json.loads((tmp_path / "c.json").read_text())
    assert document["settings"]["gains"] == [12.0]
    assert document["shares"][0]["planted_points"] == 0
    assert "12 points planted" in found.render()
    assert "raw p < 0.05" in found.render()
    assert "is mostly invisible (estimate" in found.render()


def test_the_numbers_do_not_depend_on_the_workers():
    settings = Settings(params={"n_clusters": 2}, pools=4, gains=(), instances=60, folds=3, permutations=19)
    assert calibrate(settings, workers=2).shares == calibrate(settings).shares


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"policy": "clutser"}, "did you mean 'cluster'"),
        ({"gains": (0.0,)}, "between 0 and 30"),
    ],
)
def test_impossible_settings_are_one_line(change: dict, complaint: str):
    with pytest.raises(InputError, match=complaint):
        calibrate(Settings(**{"params": {}, "pools": 1, "instances": 60, "folds": 3, "permutations": 19} | change))
