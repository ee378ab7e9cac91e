"""Issues are rated over real HTTP: each reply is paid once, whatever it says and whenever the process dies."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agents.pool import ModelConfig
from agents.rating import MARKER, QUESTIONS, read_ratings
from agents.retry import RetryConfig
from harness.cli import app
from harness.data.ratings import RatingRow, append, appending, difficulties, hardest, rated, read_rows
from harness.errors import EXIT_INCOMPLETE, InputError
from harness.run.rating import Ratings, rate_issues

ANSWER = "Looks hard.\n" + "\n".join(f"{name}: {k + 2}" for k, name in enumerate(QUESTIONS))
PRICE = 0.001
"""USD a call: 1 token in, none out."""


class Rater(ThreadingHTTPServer):
    """An OpenAI-compatible server that answers each issue with what `replies` has for the number in its text."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies: dict[str, str | int] = {}
        self.asked: Counter[str] = Counter()
        self.delay = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Rater

    def log_message(self, *args: Any) -> None: ...

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][0]["content"]
        assert prompt.startswith(MARKER)
        found = re.search(r"issue (\d+)", prompt)
        assert found is not None
        self.server.asked[found[1]] += 1
        time.sleep(self.server.delay)
        reply = self.server.replies.get(found[1], ANSWER)
        document: dict[str, Any] = {"error": {"message": "no", "type": "invalid_request_error"}}
        if isinstance(reply, str):
            choice = {"index": 0, "message": {"role": "assistant", "content": reply}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 1, "completion_tokens": 0, "total_tokens": 1}
            document = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
            document["usage"] = usage
        data = json.dumps(document).encode()
        self.send_response(200 if isinstance(reply, str) else reply)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def rater() -> Iterator[Rater]:
    server = Rater()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def issues(number: int) -> dict[str, str]:
    return {f"owner__repo-{k}": f"issue {k}: it breaks" for k in range(number)}


def ask(rater: Rater, path: Path, number: int, **more: Any) -> Ratings:
    model = ModelConfig(
        name="rater", model="openai/m", api_base=rater.url, input_cost_per_token=PRICE, output_cost_per_token=0.0
    )
    return rate_issues(issues(number), model, path, retry=RetryConfig(max_attempts=1), workers=2, **more)


def test_each_issue_is_paid_once(rater: Rater, tmp_path: Path) -> None:
    path = tmp_path / "ratings.jsonl"
    first = ask(rater, path, 6)
    assert (first.rated, first.missing, first.unusable) == (6, 0, 0)
    assert first.spent == first.spent_now == pytest.approx(6 * PRICE)
    again = ask(rater, path, 8)
    assert (again.rated, again.spent_now) == (8, pytest.approx(2 * PRICE))
    assert set(rater.asked.values()) == {1}
    assert rated(path)["owner__repo-3"].ratings == {name: k + 2 for k, name in enumerate(QUESTIONS)}


def test_replies_that_cannot_be_used_are_paid_and_counted(rater: Rater, tmp_path: Path) -> None:
    path = tmp_path / "ratings.jsonl"
    rater.replies = {"1": "no idea", "2": ANSWER.replace("2", "200"), "3": "", "4": ANSWER + "\nscope: 9\udc80"}
    found = ask(rater, path, 6)
    assert (found.rated, found.unusable, found.missing) == (3, 3, 0)
    assert found.spent == pytest.approx(6 * PRICE)
    assert rated(path)["owner__repo-4"].ratings["scope"] == 9, "the last answer counts"
    assert ask(rater, path, 6).spent_now == 0
    assert set(rater.asked.values()) == {1}


def test_the_cost_limit_holds_over_starts(rater: Rater, tmp_path: Path) -> None:
    path = tmp_path / "ratings.jsonl"
    found = ask(rater, path, 10, max_cost=4 * PRICE)
    assert 4 <= found.rated <= 5, "one call may pass the limit"
    assert "cost limit" in found.stopped
    assert ask(rater, path, 10, max_cost=4 * PRICE).spent_now == 0
    assert ask(rater, path, 10).missing == 0
    assert set(rater.asked.values()) == {1}


def test_a_failing_issue_is_asked_again_and_a_failing_provider_is_left_alone(rater: Rater, tmp_path: Path) -> None:
    path = tmp_path / "ratings.jsonl"
    rater.replies = {"2": 400}
    found = ask(rater, path, 5)
    assert (found.rated, found.missing) == (4, 1)
    assert "bad-request" in found.stopped
    rater.replies = {}
    assert ask(rater, path, 5).rated == 5
    rater.replies = {str(k): 401 for k in range(100)}
    assert ask(rater, path, 60).missing == 55
    assert sum(rater.asked.values()) < 20, "three failures are enough"


def test_a_killed_command_pays_nothing_twice(rater: Rater, tmp_path: Path) -> None:
    path, tasks, config = tmp_path / "ratings.jsonl", tmp_path / "tasks.jsonl", tmp_path / "run.yaml"
    rows = [{"instance_id": name, "repo": "owner/repo", "problem_statement": text} for name, text in issues(24).items()]
    tasks.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config.write_text(
        "dataset: {name: sample}\npool:\n"
        f"  - {{name: rater, model: openai/m, api_base: '{rater.url}', "
        f"input_cost_per_token: {PRICE}, output_cost_per_token: 0.0}}\n"
    )
    words = ["dataset", "rate", str(tasks), "--model", "rater", "--config", str(config), "--out", str(path)]
    rater.delay = 0.2
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen([sys.executable, "-m", "harness", *words, "--workers", "2"], env=environment, cwd=root)
    deadline = time.monotonic() + 60
    while not path.is_file() or path.read_text().count("\n") < 5:
        assert time.monotonic() < deadline, "no reply was written"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {row.instance_id for row in read_rows(path)}
    assert 5 <= len(kept) < 24
    rater.delay = 0.0
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "24 of 24 issues rated by rater" in done.output
    number = {name: name.rpartition("-")[2] for name in issues(24)}
    assert {rater.asked[number[name]] for name in kept} == {1}
    assert sum(rater.asked.values()) <= 24 + 2, "only what was in flight is asked again"


def test_the_stand_ins_answer_is_fixed_and_labelled(tmp_path: Path) -> None:
    path = tmp_path / "ratings.jsonl"
    words = ["dataset", "rate", "sample", "--model", "small", "--out", str(path)]
    ahead = CliRunner().invoke(app, [*words, "--dry-run"])
    left = r"15 of 15 issues are left for scripted-small to rate: about pretended \$([\d.]+), "
    expected = re.search(left, ahead.output)
    assert expected is not None, ahead.output
    assert not path.exists()
    done = CliRunner().invoke(app, [*words, "--max-cost", "0.0001"])
    assert done.exit_code == EXIT_INCOMPLETE, done.output
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "15 of 15 issues rated by scripted-small" in done.output
    paid = sum(row.cost_usd for row in read_rows(path))
    assert paid < float(expected[1]) < 10 * paid, "the stand-in's replies are shorter than a model's"
    assert "0 of 15 issues are left" in CliRunner().invoke(app, [*words, "--dry-run"]).output
    assert {tuple(row.ratings.values()) for row in read_rows(path)} == {(5.0,) * 5}
    assert hardest(rated(path)) == [], "equal ratings name nobody"
    drawn = CliRunner().invoke(
        app, ["dataset", "sample", "sample", "--ratings", str(path), "--size", "4", "--out", str(tmp_path / "ids.txt")]
    )
    assert drawn.exit_code == 0, drawn.output
    assert len((tmp_path / "ids.txt").read_text().split()) == 4


def test_a_file_is_for_one_process_and_one_model(rater: Rater, tmp_path: Path) -> None:
    path = tmp_path / "ratings.jsonl"
    with appending(path) as file:
        append(file, RatingRow("owner__repo-0", "x", "somebody", 0.0))
        with pytest.raises(InputError, match="another process"):
            ask(rater, path, 1)
    with pytest.raises(InputError, match="made by somebody; name another file for rater"):
        ask(rater, path, 1)
    assert not rater.asked


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "ratings.jsonl"
    whole = json.dumps({"instance_id": "a", "issue": "x", "model": "m", "cost_usd": 0.1, "ratings": {}})
    path.write_text(f"{whole}\n{whole[:30]}")
    assert [row.instance_id for row in read_rows(path)] == ["a"], "a line that a kill cut short"
    for line in (
        "{",
        "[]",
        whole.replace("0.1", "-1"),
        whole.replace("{}", '{"scope": 3}'),
        whole.replace("0.1", "NaN"),
    ):
        path.write_text(f"{whole}\n{line}\n")
        with pytest.raises(InputError, match=r"line 2: not a line of `polyswe dataset rate`"):
            read_rows(path)


def test_thirds_and_the_hardest() -> None:
    rows = {f"i{k}": RatingRow(f"i{k}", "", "m", 0.0, dict.fromkeys(QUESTIONS, float(k % 10))) for k in range(30)}
    thirds = Counter(difficulties(rows).values())
    assert set(thirds) == {"rated easy", "rated middle", "rated hard"}
    assert min(thirds.values()) >= 9
    assert hardest(rows) == ["i19", "i29", "i9"]


@pytest.mark.parametrize(
    ("reply", "scope"),
    [
        (ANSWER, 6),
        (ANSWER.upper(), 6),
        (ANSWER.replace("side_effects", "Side effects").replace(": ", " = "), 6),
        ("\n".join(f"**{name}**: 7/10" for name in QUESTIONS), 7),
        (ANSWER.replace("scope: 6", ""), None),
        (ANSWER.replace("scope: 6", "scope: 11"), None),
        ("scope: " * 20_000 + "5", None),
    ],
)
def test_ratings_are_read_from_replies(reply: str, scope: float | None) -> None:
    assert read_ratings(reply).get("scope") == scope
