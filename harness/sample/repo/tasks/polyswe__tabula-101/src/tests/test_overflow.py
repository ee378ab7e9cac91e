from tabula import render
from tabula.columns import Column, fit
from tabula.wrap import cut_cell, wrap_cell


def test_widest_column_is_narrowed_first():
    assert fit([Column(10, "l"), Column(4, "l")], 11) == [7, 4]


def test_columns_never_get_too_narrow():
    assert fit([Column(10, "l"), Column(10, "l")], 3) == [4, 4]


def test_words_are_wrapped():
    assert wrap_cell("the quick brown fox", 9) == ["the quick", "brown fox"]


def test_long_words_are_split():
    assert wrap_cell("a internationalisation", 8) == ["a", "internat", "ionalisa", "tion"]


def test_ellipsis():
    assert cut_cell("the quick brown fox", 9) == ["the quic…"]
    assert cut_cell("short", 9) == ["short"]


def test_max_width_is_kept():
    text = render([["a long description of something", 12]], headers=["description", "n"], max_width=24)
    assert {len(line) for line in text.splitlines()} == {24}
