"""Playbooks: what is accepted, and that what is refused says where and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agents.errors import PlaybookError
from agents.scripted.playbook import Playbook, Script, Step, load_playbook, load_playbooks, recognise


def write(folder: Path, data: Any, name: str = "demo__calc-1.yaml") -> Path:
    path = folder / name
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data))
    return path


def test_reads_what_was_written(tmp_path: Path, playbook: dict[str, Any]) -> None:
    book = load_playbook(write(tmp_path, playbook))
    assert book.model_dump(mode="json", exclude_unset=True) == playbook


@pytest.mark.parametrize(
    ("bend", "complaint"),
    [
        (lambda book: book.pop("title"), "title: Field required"),
        (lambda book: book.update(titel="x"), "titel: Extra inputs"),
        (lambda book: book.update(title="  "), "title: "),
        (lambda book: book.update(instance_id="other"), "must equal the file's name"),
        (lambda book: book["attempts"].clear(), "attempts: "),
        (lambda book: book["attempts"].update({"gpt-5": book["attempts"]["scripted-small"]}), "gpt-5"),
        (lambda book: book["attempts"]["scripted-small"].update(intent="clever"), "scripted-small.intent: "),
        (lambda book: book["attempts"]["scripted-small"].update(steps=[]), "scripted-small.steps: "),
        (lambda book: book["attempts"]["scripted-small"]["steps"][1].pop("say"), "scripted-small.steps.1.say: Field"),
        (lambda book: book["attempts"]["scripted-small"]["steps"][0].update(run="ls"), "scripted-small.steps.0.run: "),
        (lambda book: book["attempts"]["scripted-small"]["steps"][0].update(run=[True]), "steps.0.run.0: "),
        (lambda book: book["attempts"]["scripted-small"]["steps"].pop(), "needs a step that submits"),
        (lambda book: book["attempts"]["scripted-medium"].pop("loop"), "needs loop: true"),
        (lambda book: book["attempts"]["scripted-small"].update(intent="limit", loop=True), "no step that submits"),
    ],
)
def test_refuses_with_the_place(tmp_path: Path, playbook: dict[str, Any], bend: Any, complaint: str) -> None:
    bend(playbook)
    with pytest.raises(PlaybookError) as caught:
        load_playbook(write(tmp_path, playbook))
    message = str(caught.value)
    assert complaint in message
    assert "demo__calc-1.yaml" in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["", "[1, 2", "- a\n- b\n", "title: {", "\t"])
def test_refuses_what_is_no_playbook(tmp_path: Path, text: str) -> None:
    with pytest.raises(PlaybookError, match=r"demo__calc-1\.yaml"):
        load_playbook(write(tmp_path, text))


def test_refuses_an_empty_folder_and_equal_titles(tmp_path: Path, playbook: dict[str, Any]) -> None:
    with pytest.raises(PlaybookError, match="holds no playbook"):
        load_playbooks(tmp_path)
    write(tmp_path, playbook)
    write(tmp_path, playbook | {"instance_id": "demo__calc-2"}, "demo__calc-2.yaml")
    with pytest.raises(PlaybookError, match="demo__calc-1 and demo__calc-2 have the same title"):
        load_playbooks(tmp_path)


def test_the_longest_title_wins(playbook: dict[str, Any]) -> None:
    short = Playbook.model_validate(playbook)
    long = short.model_copy(update={"title": short.title + " for floats"})
    assert recognise("Issue: add() subtracts for floats. Help!", [short, long]) is long
    assert recognise("Issue: add() subtracts.", [short, long]) is short
    assert recognise("Another issue", [short, long]) is None


texts = st.text(min_size=1).filter(lambda text: text.strip())
steps = st.lists(st.builds(Step, say=texts, run=st.lists(texts).map(tuple)), min_size=1, max_size=5)


@given(steps=steps, turn=st.integers(0, 12))
def test_a_looping_script_never_ends_and_others_do(steps: list[Step], turn: int) -> None:
    steps = [step for step in steps if not any("COMPLETE_TASK" in command for command in step.run)] or [Step(say="x")]
    submitting = [*steps, Step(say="done", run=("echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT",))]
    looping = Script(intent="limit", steps=tuple(steps), loop=True)
    ending = Script(intent="empty", steps=tuple(submitting))
    assert looping.step(turn) == steps[min(turn, len(steps) - 1)]
    assert ending.step(turn) == (submitting[turn] if turn < len(submitting) else None)


@given(
    data=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_yaml_is_read_or_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    path = write(tmp_path_factory.mktemp("book"), data)
    with pytest.raises(PlaybookError) as caught:
        load_playbook(path)
    assert str(path) in str(caught.value)


def test_some_repeated_attempts_end_otherwise_and_always_the_same_ones(playbook: dict[str, Any]) -> None:
    steps = [{"say": "Done.", "run": ["echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"]}]
    attempts = {
        "scripted-small": {"intent": "wrong", "steps": steps},
        "scripted-large": {"intent": "right", "steps": steps},
    }
    book = Playbook.model_validate(playbook | {"attempts": attempts})
    played = [[book.script("scripted-small", attempt) for attempt in range(1, 60)] for _ in range(2)]
    assert played[0] == played[1]
    intents = [script.intent for script in played[0] if script]
    assert intents[0] == "wrong", "the first attempt is the playbook's own"
    assert 5 < intents.count("right") < 25
    alone = Playbook.model_validate(playbook | {"attempts": {"scripted-small": attempts["scripted-small"]}})
    assert {alone.script("scripted-small", attempt) for attempt in range(1, 60)} == {alone.script("scripted-small")}
    assert book.script("scripted-other", 2) is None
