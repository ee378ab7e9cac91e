import pytest

from depgraph import FormatError, dump, load

TEXT = """
# what the site is made of
site: pages \\
      assets
pages: templates content   # order matters here
assets:
"""


def test_load():
    graph = load(TEXT)
    assert list(graph) == ["site", "pages", "assets", "templates", "content"]
    assert graph.needs("site") == ("pages", "assets")
    assert graph.needs("assets") == ()


def test_round_trip():
    graph = load(TEXT)
    assert list(load(dump(graph)).edges()) == list(graph.edges())


def test_errors_carry_the_line():
    with pytest.raises(FormatError, match="line 2: no colon"):
        load("a: b\nc d\n")
    with pytest.raises(FormatError, match="not a task name"):
        load("a b: c")
    with pytest.raises(FormatError, match="line 1: the last line"):
        load("a: b \\\n")
