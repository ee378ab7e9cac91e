"""Readers of others' predictions: what is refused and why, and that no file ends in a traceback."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from prediction_sources import SOURCES

from harness.errors import InputError
from harness.importers import load_outcomes
from harness.importers.predictions import attempt_of, read_predictions, refuse_predictions
from harness.importers.predictions.trajectories import record_in

PATCH = "diff --git a/x b/x\n"


def row(instance: str = "a__b-1", patch: object = PATCH, model: object = "m", **others: object) -> dict[str, Any]:
    return {"instance_id": instance, "model_name_or_path": model, "model_patch": patch} | others


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def test_the_three_plain_forms_are_the_same(tmp_path: Path) -> None:
    rows = [row("a__b-1"), row("a__b-2", None)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "b.json").write_text(json.dumps({one["instance_id"]: one for one in rows}))
    sources = [read_predictions(tmp_path / "a.json"), read_predictions(tmp_path / "b.json")]
    sources.append(read_predictions(lines(tmp_path / "c.jsonl", *rows)))
    # under a name of another form
    sources.append(read_predictions(lines(tmp_path / "d.json", *rows)))
    for name, indent in (("e.jsonl", None), ("f.jsonl", 2)):
        (tmp_path / name).write_text(json.dumps(rows, indent=indent))
        sources.append(read_predictions(tmp_path / name))
    (tmp_path / "g.jsonl").write_text((tmp_path / "b.json").read_text().replace("{", "{\n", 1))
    sources.append(read_predictions(tmp_path / "g.jsonl"))
    for source in sources:
        assert [(p.instance_id, p.model, p.patch) for p in source.predictions] == [
            ("a__b-1", "m", PATCH),
            ("a__b-2", "m", ""),
        ]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([row(), row()], ""),
        ([row(), row(model="other", patch="")], ""),
        ([row(), row(patch="")], "line 1 and line 2"),
        ([row(model=None)], "line 1 names no model; give it a name with --model-name"),
        ([row(), {"instance_id": "a__b-2"}], "line 2: no model_patch"),
        ([row(), row(patch=["x"])], "line 2: its model_patch is no text"),
        ([row(patch="\ud800")], "line 1: its model_patch holds half a character"),
        ([row(instance="")], "line 1: no instance_id"),
        ([row(), 7], "line 2: not an object"),
    ],
)
def test_faults_are_named_with_their_line(tmp_path: Path, rows: list[object], reason: str) -> None:
    path = lines(tmp_path / "p.jsonl", *rows)
    if not reason:
        read_predictions(path)
        return
    with pytest.raises(InputError, match=reason):
        read_predictions(path)


def test_the_same_patch_twice_counts_once_and_is_noted(tmp_path: Path) -> None:
    source = read_predictions(lines(tmp_path / "p.jsonl", row(), row()))
    assert len(source.predictions) == 1
    assert "1 prediction is given twice" in source.notes[0]


def test_a_key_given_twice_is_no_silent_loss(tmp_path: Path) -> None:
    path = tmp_path / "preds.json"
    one, two = json.dumps(row()), json.dumps(row(patch="other"))
    path.write_text(f'{{"a__b-1": {one}, "a__b-1": {two}}}')
    with pytest.raises(InputError, match="entry 1 and entry 2"):
        read_predictions(path)


def test_a_name_may_be_given_for_one_model_only(tmp_path: Path) -> None:
    assert read_predictions(lines(tmp_path / "p.jsonl", row()), "mine").predictions[0].model == "mine"
    with pytest.raises(InputError, match="2 models"):
        read_predictions(lines(tmp_path / "q.jsonl", row(), row("a__b-2", model="n")), "mine")


def test_a_file_that_is_named_may_be_a_link_and_an_unreadable_one_is_named(tmp_path: Path) -> None:
    lines(tmp_path / "p.jsonl", row())
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "p.jsonl")
    assert len(read_predictions(tmp_path / "link.jsonl").predictions) == 1
    with pytest.raises(InputError, match="--model-name: the name is empty"):
        read_predictions(tmp_path / "link.jsonl", " ")
    deep = tmp_path / "deep.jsonl"
    deep.write_text('{"instance_id": ' + "[" * 100_000 + "]" * 100_000 + "}\n")
    with pytest.raises(InputError, match=r"line 1: .*nested too deeply"):
        read_predictions(deep)


def test_names_cannot_steer_a_terminal_or_break_a_line(tmp_path: Path) -> None:
    source = read_predictions(lines(tmp_path / "p.jsonl", row(model="a\x1b[31mb\nc" + "d" * 500)))
    (prediction,) = source.predictions
    assert prediction.model.isprintable()
    assert len(prediction.model) <= 120


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("results.json", {"rows": [], "verdict": "", "pool": []}, "polyswe report"),
        ("leaderboards.json", {"leaderboards": []}, "polyswe replay"),
        ("m.run.json", {"resolved_ids": [], "schema_version": 2}, "polyswe replay"),
        ("per_instance_details.json", {"a__b-1": {"resolved": True, "cost": 1}}, "polyswe replay"),
        ("report.json", {"a__b-1": {"resolved": True, "tests_status": {}}}, "one verdict"),
        ("results.json", {"resolved": ["a__b-1"], "no_generation": []}, "polyswe replay"),
        ("data.json", [{"instance_id": "a__b-1", "problem_statement": "x"}], "--dataset"),
        ("a.traj.json", {"messages": [], "trajectory_format": "mini-swe-agent-1.1"}, "output folder"),
        ("outcomes.csv", "instance_id,model,resolved\n", "polyswe replay"),
        ("my.yaml", "dataset: {name: sample}\n", "polyswe evaluate"),
        ("run.yaml", "config: {}\nversions: {}\n", "polyswe report"),
        ("x.patch", PATCH, "one bare patch"),
        ("x.txt", "hello", "neither JSON"),
        ("empty.json", "", "empty"),
    ],
)
def test_other_files_are_told_what_they_are(tmp_path: Path, name: str, content: object, what: str) -> None:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InputError, match=what):
        read_predictions(path)


def test_packed_files_and_folders_of_nothing_are_refused(tmp_path: Path) -> None:
    packed = tmp_path / "p.jsonl.gz"
    packed.write_bytes(gzip.compress(json.dumps(row()).encode()))
    for path, what in ((packed, "unpack it first"), (tmp_path, "no predictions"), (tmp_path / "no", "no such file")):
        with pytest.raises(InputError, match=what):
            read_predictions(path)


def test_commands_that_need_verdicts_name_the_one_that_grades(tmp_path: Path) -> None:
    path = lines(tmp_path / "preds.jsonl", row())
    for refused in (path, tmp_path):
        with pytest.raises(InputError, match="polyswe grade"):
            load_outcomes([refused])
        with pytest.raises(InputError, match="polyswe grade"):
            refuse_predictions(refused)


def test_ids_and_links_lead_nowhere_outside_the_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for place, cost in ((tmp_path / "secret", 1.0), (out / "a__b-1", 2.0)):
        place.mkdir(parents=True)
        content = {"messages": [], "info": {"model_stats": {"instance_cost": cost, "api_calls": 1}}}
        (place / f"{place.name}.traj.json").write_text(json.dumps(content))
    (out / "a__b-2").symlink_to(tmp_path / "secret")
    (out / "a__b-3").mkdir()
    (out / "a__b-3" / "a__b-3.traj.json").symlink_to(tmp_path / "secret" / "secret.traj.json")
    ids = ["a__b-1", "../secret", "a__b-3"]
    (out / "preds.json").write_text(json.dumps([row(instance) for instance in ids]))
    source = read_predictions(out)
    assert source.format == "mini-swe-agent"
    assert [attempt_of(source, p).cost_usd for p in source.predictions] == [2.0, None, None]


def test_a_harbor_job_without_patches_says_what_to_do(tmp_path: Path) -> None:
    trial = tmp_path / "a__b-1__x"
    trial.mkdir()
    (trial / "result.json").write_text(json.dumps({"task_name": "a__b-1", "trial_name": trial.name}))
    with pytest.raises(InputError, match=r"without patches.*artifacts/model\.patch"):
        read_predictions(tmp_path)


def test_openhands_sdk_events_are_read(tmp_path: Path) -> None:
    """Events of its agent SDK name their kinds; those of the first OpenHands are in the test of real gradings."""
    history = [
        {"kind": "MessageEvent", "source": "user", "llm_message": {"role": "user", "content": [{"text": "Mend it."}]}},
        {
            "kind": "ActionEvent", "source": "agent", "tool_call_id": "1", "thought": [{"text": "I look."}],
            "action": {"kind": "TerminalAction", "command": "pytest -q"}, "timestamp": "2026-01-01T00:00:00",
        },
        {
            "kind": "ObservationEvent", "tool_call_id": "1", "timestamp": "2026-01-01T00:00:09",
            "observation": {"kind": "TerminalObservation", "content": [{"text": "1 passed"}], "exit_code": 0},
        },
    ]  # fmt: skip
    line = {"instance_id": "a__b-1", "test_result": {"git_patch": "$ git diff\n" + PATCH.rstrip()}, "history": history}
    path = lines(tmp_path / "output.jsonl", line | {"metadata": {"llm": {"model": "m"}}, "error": "Out of\nluck"})
    source = read_predictions(path)
    (prediction,) = source.predictions
    assert (prediction.patch, prediction.model) == (PATCH, "OpenHands m")
    attempt = attempt_of(source, prediction)
    assert (attempt.seconds, attempt.exit_status, attempt.cost_usd) == (9.0, "Out of luck", None)
    assert [message["role"] for message in attempt.messages] == ["user", "assistant", "tool"]
    assert attempt.messages[1]["extra"]["actions"] == [{"command": "pytest -q", "tool_call_id": "1"}]
    assert attempt.messages[2]["extra"] == {"raw_output": "1 passed", "returncode": 0}


JUNK = (None, True, -1, 0.5, 10**400, "\ud800", [], [[]], {}, {"": [0]})


@pytest.mark.parametrize("model", SOURCES)
def test_no_value_in_a_file_ends_in_a_traceback(tmp_path: Path, model: str) -> None:
    """Every value of a sound source in turn is replaced by what does not belong there."""
    source = SOURCES[model](tmp_path)
    whole = read_predictions(source)
    tried = 0
    for path in sorted(source.rglob("*.*")) if source.is_dir() else [source]:
        if path.suffix in (".patch", ".yaml") or path.is_dir():
            continue
        text = path.read_text()
        one_a_line = path.suffix == ".jsonl"
        document = [json.loads(line) for line in text.splitlines()] if one_a_line else json.loads(text)
        for broken in damaged(document):
            path.write_text("".join(json.dumps(row) + "\n" for row in broken) if one_a_line else json.dumps(broken))
            tried += 1
            for prediction in whole.predictions:
                attempt_of(whole, prediction)
            try:
                read_predictions(source)
            except InputError:
                continue
        path.write_text(text)
    assert tried > 100
    assert read_predictions(source) == whole


def damaged(document: Any) -> Iterator[Any]:
    """The document with one value of it replaced, for each value and each replacement."""
    places = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in list(places):
        for other in JUNK:
            document[key] = other
            yield document
        document[key] = value
        if isinstance(value, dict | list):
            for _ in damaged(value):
                yield document


@given(st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_bytes_end_in_a_traceback(tmp_path: Path, content: bytes) -> None:
    for name in ("preds.json", "preds.jsonl", "x/x.traj.json", "metadata.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
        record_in(tmp_path / name)
    for source in (tmp_path / "preds.json", tmp_path / "preds.jsonl", tmp_path):
        try:
            read_predictions(source)
        except InputError:
            continue
