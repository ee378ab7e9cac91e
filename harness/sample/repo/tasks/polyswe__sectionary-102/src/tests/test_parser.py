import pytest
from sectionary import Config, ParseError
from sectionary.parser import parse, unparse


def test_sections_and_parents():
    document = parse("[a]\nx = 1\n[b : a]\ny = 2\n")
    assert list(document.sections) == ["a", "b"]
    assert document.sections["b"].parent == "a"


def test_continuation_lines_are_joined():
    config = Config.from_text("[worker]\nqueues = mail,\n         reports,  ; slow\n\n         thumbnails\nport = 1\n")
    assert config.get_list("worker", "queues") == ["mail", "reports", "thumbnails"]
    assert config.get_int("worker", "port") == 1


def test_hash_inside_a_word_is_no_comment():
    assert Config.from_text("[a]\nchannel = #ops\nanchor = page#top # note\n").get("a", "anchor") == "page#top"


def test_errors_name_the_line():
    with pytest.raises(ParseError, match="line 3: cannot make sense"):
        parse("[a]\nx = 1\nnonsense\n")
    with pytest.raises(ParseError, match=r"line 2: section .a. is declared twice"):
        parse("[a]\n[a]\n")


def test_unparse_round_trip():
    document = parse("[b : a]\ny = ${x}\n\n[a]\nx = 1\n")
    assert parse(unparse(document)) == document
