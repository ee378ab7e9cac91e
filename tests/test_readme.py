"""What the README says must be what the product and its stored results say."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_link_leads_to_a_file() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


COMMANDS = re.compile(r"(?:bin/|`)polyswe ([a-z]+) ([^\n`]*)")


@pytest.mark.parametrize("command", sorted({command for command, _ in COMMANDS.findall(README)}))
def test_every_command_exists_with_its_options(command: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "harness", command, "--help"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    lines = [line.split("#")[0] for name, line in COMMANDS.findall(README) if name == command]
    options = {word for line in lines for word in shlex.split(line) if word.startswith("--")}
    assert [option for option in options if option not in shown.stdout] == []


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"\bmake ([a-z][a-z-]*)", README))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {"evaluate", "test"} <= targets
    assert [target for target in targets if not re.search(rf"(?m)^{target}:", makefile)] == []


def test_the_numbers_of_the_public_record_are_those_of_the_stored_results() -> None:
    rows = json.loads((ROOT / "results/replay/m12/results.json").read_text(encoding="utf-8"))["rows"]
    table = README.split("<!-- m12")[1].split("<!-- /m12 -->")[0]
    shown = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.split("\n") if line.startswith("| ")
    ]
    assert len(shown) == 6, "a header and five rows"
    for label, resolved, cost, delta, p_delta, p_text in shown[1:]:
        name = label.removesuffix(" (cross-fitted)")
        (row,) = [
            r for r in rows if r["name"] == name and ("cross-fitted" in label) == (r["evaluation"] == "cross-fitted")
        ]
        assert resolved == f"{round(row['resolved'], 1):g}"
        assert cost == f"{row['cost_per_instance']:.3f}"
        if delta == "best single":
            continue
        versus = row["vs_best_single"]
        numbers = [float(n.replace("−", "-")) for n in re.findall(r"[−+]?\d+(?:\.\d+)?", delta)]
        assert numbers == pytest.approx([versus["delta"], *versus["ci95"]], abs=0.051)
        for shown_p, p in ((p_delta, versus["p_value"]), (p_text, versus["p_text_holm"])):
            assert (shown_p == "–") is (p is None)
            assert p is None or float(shown_p) == pytest.approx(p, abs=0.006)
