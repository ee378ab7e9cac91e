"""What the rounds of one run share."""

from __future__ import annotations

from pathlib import Path

from agents.pool import ModelConfig
from harness.config import find_config, load_config
from harness.data.instances import load_dataset
from harness.run.interrupt import Stop
from harness.run.journal import Journal
from harness.run.open_run import OpenRun
from harness.store.run_folder import RunFolder
from harness.store.store import Store


def test_a_round_does_not_open_its_providers_minute_anew(tmp_path: Path) -> None:
    config = load_config(find_config("sample"))
    folder = RunFolder(tmp_path)
    slow, free = (ModelConfig(name=name, model="openai/m", free=True, rpm=rpm) for name, rpm in [("a", 1), ("b", None)])
    with Journal(folder.path, config.pool) as journal, Store(folder.store_path) as store:
        run = OpenRun(config, load_dataset(config.dataset), folder, store, Stop(), journal, whole=folder)
        first = run.context([slow, free], [], print).rates
        assert set(first) == {"a"}
        assert first["a"].reserve(100).seconds == 0
        assert 30 < run.context([slow], [], print).rates["a"].reserve(100).seconds <= 60
