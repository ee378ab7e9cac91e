"""A provider's limits in a whole run: what the server sees, and that the other models' cells go on."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agents.scripted.server import ScriptedServer
from harness.config import Config, find_config, load_config, with_overrides
from harness.data.instances import Dataset
from harness.run.interrupt import Stop
from harness.run.journal import EVENTS_FILE, LOG_FILE
from harness.run.pipeline import evaluate
from harness.sample import PLAYBOOK
from harness.store.rows import Cell
from harness.store.run_folder import RunFolder
from harness.store.store import Store

pytestmark = [pytest.mark.docker, pytest.mark.slow]

SMALL, MEDIUM, LARGE = "scripted-small", "scripted-medium", "scripted-large"


class Observed(ScriptedServer):
    """Records when calls arrive, by model, and how many conversations of a model are open at the same time."""

    def __init__(self) -> None:
        super().__init__(PLAYBOOK)
        self.arrivals: list[tuple[float, str, str]] = []
        self.guard = threading.Lock()

    def reply(self, model: str, messages: list[dict[str, Any]], attempt: int = 1) -> dict[str, Any]:
        issue = next(message["content"] for message in messages if message["role"] == "user")
        with self.guard:
            self.arrivals.append((time.monotonic(), model, str(issue)))
        if model == SMALL:
            time.sleep(0.3)
        return super().reply(model, messages, attempt)

    def of(self, model: str) -> list[tuple[float, str]]:
        return [(at, issue) for at, name, issue in self.arrivals if name == model]


def config(url: str, instances: list[str]) -> Config:
    loaded = with_overrides(load_config(find_config("sample")), {"dataset.instances": instances})
    pool = [model.model_copy(update={"api_base": url}) for model in loaded.pool]
    limits = {SMALL: {"max_parallel": 1}, MEDIUM: {"rpm": 120}}
    pool = [model.model_copy(update=limits.get(model.name, {})) for model in pool]
    return loaded.model_copy(update={"pool": pool})


def check_journal(folder: RunFolder) -> None:
    """The journal tells the same as the store."""
    events = [json.loads(text) for text in (folder.path / EVENTS_FILE).read_text().splitlines()]
    kinds = Counter(event["event"] for event in events)
    with Store(folder.store_path, read_only=True) as store:
        rows = {row.cell: row for row in store.rows()}
    assert (events[0]["event"], events[-1]["event"]) == ("run_started", "run_ended")
    assert (
        kinds["attempt_started"] == kinds["attempt_ended"] == kinds["cell_graded"] == len(rows) == events[-1]["graded"]
    )
    for event in events:
        if event["event"] in ("attempt_ended", "cell_graded"):
            row = rows[Cell(event["instance"], event["model"], event["attempt"])]
            assert event.get("verdict", row.verdict) == row.verdict
            assert event.get("cost_usd", row.cost_usd) == row.cost_usd
    log = (folder.path / LOG_FILE).read_text()
    assert all(f"{cell}: {row.verdict}" in log for cell, row in rows.items())


def test_a_server_sees_the_limits_kept_while_other_models_go_on(sample: Dataset, tmp_path: Path) -> None:
    with Observed() as server:
        instances = [instance.instance_id for instance in sample.instances[:3]]
        folder = RunFolder(tmp_path / "run")
        end = evaluate(config(server.url, instances), folder, stop=Stop())
    assert end.missing == []
    check_journal(folder)
    small, medium, large = (server.of(model) for model in (SMALL, MEDIUM, LARGE))
    conversations = [issue for _, issue in small]
    changes = sum(one != other for one, other in itertools.pairwise(conversations))
    assert changes == 2, "two attempts of a model with max_parallel 1 were mixed"
    meanwhile = {issue for at, issue in (*medium, *large) if at < small[-1][0]}
    assert len(meanwhile) > 1, "the slow model held the others up"
    for start, _ in medium:
        assert sum(start <= at < start + 4 for at, _ in medium) <= 8 + 2, "two a second; some may arrive late"
