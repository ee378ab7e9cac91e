"""What the README and the docs say must be what the product and its stored results say."""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness.lab.claims import Claims
from harness.lab.claims_text import claims_table
from harness.lab.worth import worth_table

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "results/replay/m12/results.json"
BLOCK = re.compile(r"(<!-- m12: [^\n]*-->\n).*?(<!-- /m12 -->)", re.DOTALL)
WORTH = ROOT / "harness/docs/routing-worth.md"
MEASURED = re.compile(r"(<!-- (claims|worth): [^\n]*-->\n).*?(<!-- /\2 -->)", re.DOTALL)
PAGES = [README, ROOT / ".github/CONTRIBUTING.md", *sorted((ROOT / "harness/docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]+)?\)")
COMMAND = re.compile(r"(?:^|[\s`$(\"])(?:\.venv/bin/)?polyswe ([a-z]+)((?: [^\n`|]*)?)", re.MULTILINE)


def lines() -> str:
    """The recommendation, as the report has it."""
    found = json.loads(RESULTS.read_text(encoding="utf-8"))["recommendation"]
    said = {statement["label"]: statement["text"] for statement in found["statements"]}
    parts = [f"> **{found['headline']}**"]
    parts += [f"> {label}: {said[label]}" for label in ("Routing", "How sure", "Head-room")]
    return "\n>\n".join(parts) + "\n"


def written(readme: str) -> str:
    """The README with the current numbers."""
    return BLOCK.sub(lambda match: match[1] + lines() + match[2], readme)


def written_worth(page: str) -> str:
    """The page on what routing is worth, with the tables of the stored results."""
    stored = Claims.model_validate_json((ROOT / "results/claims/claims.json").read_text(encoding="utf-8"))
    tables = {"claims": claims_table(stored), "worth": worth_table(ROOT / "results")}
    return MEASURED.sub(lambda match: f"{match[1]}\n{tables[match[2]]}\n\n{match[3]}", page)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "250"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link, heading in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        target = page.parent / link
        assert target.exists(), link
        if heading:
            titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading[1:] in [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles], link


@functools.cache
def help_of(*words: str) -> str | None:
    shown = subprocess.run(
        [sys.executable, "-m", "harness", *words, "--help"],
        cwd=ROOT, capture_output=True, text=True, check=False, env=environment(),
    )  # fmt: skip
    return shown.stdout if shown.returncode == 0 else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_exists_with_its_options(page: Path) -> None:
    wrong = []
    for name, rest in COMMAND.findall(page.read_text(encoding="utf-8")):
        words = rest.split(" #")[0].split()
        if name in ("config", "dataset", "lab", "init") and words and re.fullmatch(r"[a-z]+", words[0]):
            text = help_of(name, words[0]) or help_of(name)
        else:
            text = help_of(name)
        options = re.findall(r"(?<!\S)(--[a-z][a-z-]+)", rest.split(" #")[0])
        if text is None and not options:
            continue  # prose, such as "polyswe grades this"
        wrong += [f"polyswe {name}{rest}: {option}" for option in options if text is None or option not in text]
    assert wrong == []


def test_every_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page in PAGES:
        targets = set(re.findall(r"(?:`|^)make ([a-z][a-z-]*)", page.read_text(encoding="utf-8"), re.MULTILINE))
        assert [target for target in targets if not re.search(rf"(?m)^{target}:", makefile)] == [], page.name


def test_the_numbers_of_the_public_record_are_those_of_the_stored_results() -> None:
    text = README.read_text(encoding="utf-8")
    assert written(text) == text, "run python tests/test_readme.py"
    assert "of 500 resolved" in text


def test_the_tables_of_what_routing_is_worth_are_those_of_the_stored_results() -> None:
    text = WORTH.read_text(encoding="utf-8")
    assert written_worth(text) == text, "run python tests/test_readme.py"
    assert "| TwinRouterBench |" in text
    assert "| routing by the issue text: `cluster` | S3 |" in text


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 120


EXPECTED = {
    "demo": (0, "results/demo"),
    "init": (0, "my.yaml"),
    "doctor": (3, "ANTHROPIC_API_KEY"),
    "submit": (0, "submission"),
    "compare": (0, "kept: any regression"),
}
"""What the README's commands end with on a machine without keys and network; the others need these."""


@pytest.mark.slow
@pytest.mark.docker
def test_the_commands_of_the_readme_work_as_they_are_written(tmp_path: Path) -> None:
    """After `make evaluate`, in the order of the README; `make evaluate` itself is the command it calls."""
    done = subprocess.run(
        [sys.executable, "-m", "harness", "evaluate"],
        cwd=tmp_path, env={**environment(), "COLUMNS": "120"}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    block = re.search(r"```\n(Provisional: .*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    lines = [" ".join(line.split()) for line in block[1].splitlines() if line not in ("", "…")]
    printed = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert [line for line in lines if line not in printed] == []
    for name in ("before", "after"):
        (tmp_path / "results" / name).symlink_to(tmp_path / "results/sample")
    commands = re.findall(r"^\.venv/bin/polyswe (.+)$|`\.venv/bin/polyswe (\w+)`", README.read_text(), re.MULTILINE)
    ran = set()
    for command in (first or second for first, second in commands):
        words = shlex.split(command)
        if words[0] not in EXPECTED:
            continue
        code, text = EXPECTED[words[0]]
        done = subprocess.run(
            [sys.executable, "-m", "harness", *words], cwd=tmp_path, capture_output=True, text=True, check=False,
            env={k: v for k, v in environment().items() if not k.endswith("_API_KEY")},
        )  # fmt: skip
        assert done.returncode == code, f"{command}: {done.stderr}"
        assert text in done.stdout + done.stderr, command
        ran.add(words[0])
    assert ran == EXPECTED.keys()
    assert [entry["model"] for entry in yaml.safe_load((tmp_path / "my.yaml").read_text())["pool"]] == [
        "anthropic/claude-sonnet-4-5-20250929",
        "openai/gpt-5-mini",
    ]


if __name__ == "__main__":  # write the numbers of the stored results into the README and the page
    WORTH.write_text(written_worth(WORTH.read_text(encoding="utf-8")), encoding="utf-8")
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")
