"""People type parts of model names; the right run must be taken, or none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.model_names import match_names
from harness.errors import InputError

BOARD = (
    "Claude 4.5 Opus medium (20251101)",
    "Gemini 3 Pro Preview (2025-11-18)",
    "Claude 4.5 Sonnet (20250929)",
    "Claude 4 Opus (20250514)",
    "Gemini 2.5 Pro (2025-05-06)",
    "GPT-5 mini (2025-08-07) (medium reasoning)",
    "GPT-5 nano (2025-08-07) (medium reasoning)",
)


def test_unique_parts_find_the_run():
    assert match_names(["opus medium", "gemini 3 pro", "4.5 sonnet"], BOARD) == [BOARD[0], BOARD[1], BOARD[2]]


def test_words_may_be_scattered_and_in_any_order():
    assert match_names(["medium claude"], BOARD) == [BOARD[0]]


def test_a_phrase_beats_scattered_words():
    # "4 opus" is one phrase in "Claude 4 Opus", but both words also occur in "Claude 4.5 Opus medium"
    assert match_names(["4 opus"], BOARD) == [BOARD[3]]


def test_the_whole_name_wins_over_names_that_contain_it():
    assert match_names(["GPT-5"], ["gpt-5", "gpt-5-mini"]) == ["gpt-5"]


def test_an_ambiguous_part_lists_what_it_could_mean():
    with pytest.raises(InputError, match=r"'gpt-5' stands for 2 models.*mini.*nano"):
        match_names(["gpt-5"], BOARD)


def test_an_unknown_name_lists_the_nearest_first():
    with pytest.raises(InputError, match=r"no model is called 'gemini 4 pro': 'Gemini"):
        match_names(["gemini 4 pro"], BOARD)


def test_asking_twice_for_one_model_is_refused():
    with pytest.raises(InputError, match=r"'opus medium' and 'claude 4\.5 opus' both stand for"):
        match_names(["opus medium", "claude 4.5 opus"], BOARD)


def test_an_empty_query_does_not_match_everything():
    with pytest.raises(InputError, match="empty model name"):
        match_names(["  "], BOARD[:1])


def test_names_that_differ_in_case_only_can_still_be_named():
    assert match_names(["Qwen"], ["qwen", "Qwen"]) == ["Qwen"]


def test_a_glob_stands_for_several_models_where_options_take_it():
    assert match_names(["*sonnet*", "gpt-5*nano"], ["a-sonnet-4", "b-Sonnet-4.5", "gpt-5-nano"], globs=True) == [
        "a-sonnet-4", "b-Sonnet-4.5", "gpt-5-nano",
    ]  # fmt: skip
    with pytest.raises(InputError, match="no model is called"):
        match_names(["opus*"], ["sonnet"], globs=True)


@given(st.lists(st.text(min_size=1).filter(str.strip), unique_by=lambda s: " ".join(s.casefold().split()), min_size=1))
def test_every_full_name_finds_itself(names: list[str]):
    assert match_names(names, names) == match_names(names, names, globs=True) == names
