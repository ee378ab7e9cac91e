"""Public claims: the numbers are those of the records, and nothing is told that cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import InputError
from harness.lab.claims import Claim, Claims, judged, judged_claims

RESULTS = Path(__file__).resolve().parents[3] / "results"


def claim(**changed: object) -> Claim:
    known = [
        {"model": "small", "rate": 0.6, "cost": 0.1, "origin": "published"},
        {"model": "middle", "rate": 0.61, "cost": 0.6, "origin": "published"},
        {"model": "large", "rate": 0.8, "cost": 1.1, "origin": "published"},
    ]
    fields = {
        "name": "a router", "title": "a router", "sources": ["https://example.org"], "claim": "it saves",
        "instances": 500, "unit": "USD per instance", "compared_with": "middle", "constants": known,
        "points": [{"name": "it", "rate": 0.68, "cost": 0.6}], "pool_is_complete": True, "assumed": [], "unknown": [],
    }  # fmt: skip
    return judged(Claim.model_validate(fields | changed))


def test_a_router_is_held_against_the_mixture_that_its_money_buys() -> None:
    found = claim()
    assert found.points[0].line == pytest.approx(0.7)
    assert found.points[0].mixture == {"small": 0.5, "large": 0.5}
    assert found.points[0].place == "below"
    assert "small and large mixed at random resolve 70.0% for as much" in found.verdict
    assert "middle, which it is compared with, is not on the line" in found.verdict


def test_a_point_cheaper_than_every_known_model_is_told_only_where_all_are_known() -> None:
    cheap = [{"name": "it", "rate": 0.55, "cost": 0.05}]
    assert claim(points=cheap).points[0].line == 0.6
    found = claim(points=cheap, pool_is_complete=False)
    assert (found.points[0].line, found.points[0].place) == (None, "unknown")
    assert found.verdict.startswith("Cannot be told")


def test_without_a_cost_the_best_single_model_is_the_measure() -> None:
    found = claim(points=[{"name": "it", "rate": 0.805, "cost": None}], instances=None)
    assert (found.points[0].line, found.points[0].place) == (0.8, "on")
    assert (
        "large alone resolves 80.0% at most (no cost is stated); the number of instances is not stated" in found.verdict
    )


def test_what_is_written_down_is_what_the_records_give(shared_data: Path) -> None:
    written, computed = judged_claims(), judged_claims(shared_data)
    for one, other in zip(written.claims, computed.claims, strict=True):
        assert one.verdict == other.verdict
        for a, b in zip(one.constants, other.constants, strict=True):
            assert (a.model, a.rate, a.on_line) == (b.model, b.rate, b.on_line)
            assert a.cost == pytest.approx(b.cost, abs=1e-5)
    twin = next(one for one in computed.claims if one.name == "TwinRouterBench")
    mini = next(one for one in twin.constants if "MiniMax" in one.model)
    assert mini.vs_compared == -1
    assert mini.vs_compared_ci95 is not None
    assert mini.vs_compared_ci95[0] < 0 < mini.vs_compared_ci95[1]


def test_a_data_folder_without_the_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"leaderboards-2025-12-10\.json"):
        judged_claims(tmp_path)


def test_the_stored_page_has_these_verdicts() -> None:
    stored = Claims.model_validate(json.loads((RESULTS / "claims/claims.json").read_text(encoding="utf-8")))
    assert [one.verdict for one in stored.claims] == [one.verdict for one in judged_claims().claims]


def test_a_folder_without_results_of_the_laboratory_is_named(tmp_path: Path) -> None:
    assert any(entry.found for one in judged_claims(replay=RESULTS / "replay").claims for entry in one.measured)
    with pytest.raises(InputError, match="nowhere: holds no results"):
        judged_claims(replay=tmp_path / "nowhere")


def test_the_command_prints_every_claim_and_writes_the_page(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["claims", "--out", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0
    for one in judged_claims().claims:
        assert one.title in done.output
        assert f"\n| {one.name} |" in (tmp_path / "README.md").read_text(encoding="utf-8")
