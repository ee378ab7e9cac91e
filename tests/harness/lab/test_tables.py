"""The tables: no part outlives the settings, data and version it was made with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.lab import parts
from harness.lab.parts import NEW, OLD, OTHER_TASKS, TASKS, TableSettings
from harness.lab.stamps import STAMP, data_version, differences, keep, stamp
from harness.lab.summary import render_summary
from harness.lab.tables import write_tables


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in (OLD, NEW, TASKS, OTHER_TASKS):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return tmp_path / "data"


def test_a_part_is_made_again_when_its_settings_or_data_change_and_only_then(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def pools(data: Path, agent: str | None, pools: int, workers: int, out: Path) -> None:
        made.append(out.name)
        out.mkdir(parents=True, exist_ok=True)

    def broken(*arguments: object) -> None:
        out = Path(str(arguments[-1]))
        pools(data, None, 1, 1, out)
        (out / "results.partial.json").write_text("{}")
        raise InputError("stopped")

    def write(*names: str, pools: int = 100, fresh: bool = False) -> str:
        data_version.cache_clear()
        return write_tables(data, tmp_path / "out", TableSettings(pools=pools), parts=names, fresh=fresh)

    monkeypatch.setattr(parts, "make_pools", pools)
    write("pools", "pools-v2")
    write("pools", "pools-v2")
    assert made == ["pools", "pools-v2"]
    write("pools", pools=7)
    assert made[2:] == ["pools"]
    (data / NEW).write_text("[]")
    assert "than now: pools-v2" in write("pools", pools=7)
    assert made[3:] == ["pools"]
    write("pools", pools=7, fresh=True)
    assert made[4:] == ["pools"]
    assert "than now" not in write("pools", "pools-v2", pools=7)
    assert made[5:] == ["pools-v2"]

    monkeypatch.setattr(parts, "make_s3", broken)
    for _ in range(2):
        with pytest.raises(InputError, match="stopped"):
            write("s3")
    assert made[-2:] == ["s3", "s3"], "what was stopped halfway is not there"


def test_a_stamp_says_in_what_it_differs(tmp_path: Path) -> None:
    assert differences(tmp_path, {}) is None
    keep(tmp_path, stamp({"pools": 3, "pool": ("a",)}, []))
    assert differences(tmp_path, stamp({"pools": 3, "pool": ("a",)}, [])) == []
    assert differences(tmp_path, stamp({"pools": 4, "pool": ("a",)}, [])) == ["pools"]
    (tmp_path / STAMP).write_text("{")
    assert differences(tmp_path, {}) == ["damaged stamp"]


def test_intervals_stand_with_what_they_are_of(tmp_path: Path) -> None:
    vs = {"delta": -1.5, "ci95": [-9, 6], "p_value": 0.7, "p_text": 0.2, "p_text_holm": 0.6}
    trade = {
        "hull_gain": 4.0, "hull_gain_ci95": [1.0, 7.0], "parity": None, "parity_ci95": [0.7, None],
        "at_99_percent": 0.5, "at_99_percent_ci95": [0.4, 0.6],
    }  # fmt: skip
    single = {"name": "a", "kind": "single", "evaluation": "recorded", "cost_per_instance": 1.0, "rate": 0.5}
    routed = {
        "name": "cascade:prior=shared-difficulty", "kind": "policy", "evaluation": "cross-fitted", "resolved": 48.5,
        "cost_per_instance": 0.5, "vs_best_single": vs, "trade_off": trade,
    }  # fmt: skip
    document = {"rows": [single, routed], "complementarity": {"oracle": 60}, "instances": 100}
    (tmp_path / "m12").mkdir()
    (tmp_path / "m12/results.json").write_text(json.dumps(document))
    line = next(line for line in render_summary(tmp_path).splitlines() if "M12, cascade" in line)
    assert (
        "Δ resolved -1.5 [-9.0, +6.0], p (text) 0.200 (Holm 0.600); hull gain [+1.0, +7.0]; parity [0.70, never]"
        in line
    )
    assert "parity never; 99 % at 0.50" in line
