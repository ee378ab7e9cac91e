import pytest
from tabula import render


def test_grid_with_headers():
    assert render([["apples", 3], ["pears", 12]], headers=["fruit", "count"]).splitlines() == [
        "+--------+-------+",
        "| fruit  | count |",
        "+--------+-------+",
        "| apples |     3 |",
        "| pears  |    12 |",
        "+--------+-------+",
    ]


def test_plain_has_no_borders_and_no_trailing_spaces():
    assert render([["a", "bb"], ["ccc", "d"]], style="plain") == "a    bb\nccc  d"


def test_markdown():
    assert render([["x", 1]], headers=["k", "v"], style="markdown").splitlines() == [
        "| k | v |",
        "|---|---|",
        "| x | 1 |",
    ]


def test_line_breaks_in_cells_are_kept():
    assert render([["one\ntwo", "x"]], style="plain").splitlines() == ["one  x", "two"]


def test_explicit_alignment():
    assert render([["a", "b", "c"]], headers=["one", "two", "three"], style="plain", align="rcl").splitlines() == [
        "one  two  three",
        "  a   b   c",
    ]


def test_wide_characters_are_measured():
    lines = render([["寿司", 12], ["ramen", 9]], headers=["dish", "price"]).splitlines()
    assert lines[3] == "| 寿司  |    12 |"
    assert lines[4] == "| ramen |     9 |"


def test_empty_table():
    assert render([]) == ""


def test_none_is_an_empty_cell():
    assert render([[None, 1]], style="markdown") == "|  | 1 |"


def test_ragged_rows_are_refused():
    with pytest.raises(ValueError, match="differ in length"):
        render([["a"], ["b", "c"]])


def test_unknown_style_is_refused():
    with pytest.raises(ValueError, match="unknown style"):
        render([["a"]], style="fancy")
