import pytest

from depgraph import CycleError, Graph, batches, load, order


def test_order_respects_needs_and_mention():
    graph = load("site: pages assets\npages: templates content\nassets:\n")
    assert order(graph) == ["assets", "templates", "content", "pages", "site"]


def test_batches():
    graph = load("d: b c\nb: a\nc: a\ne:\n")
    assert batches(graph) == [["e", "a"], ["b", "c"], ["d"]] or batches(graph) == [["a", "e"], ["b", "c"], ["d"]]


def test_targets():
    graph = load("a: b\nb:\nc: d\nd:\n")
    assert order(graph, ["a"]) == ["b", "a"]
    assert batches(graph, ["c", "b"]) == [["b", "d"], ["c"]]


def test_unknown_target():
    with pytest.raises(KeyError):
        order(load("a:"), ["z"])


def test_cycle_of_two():
    graph = load("a: b\nb: a\n")
    for schedule in (order, batches):
        with pytest.raises(CycleError) as caught:
            schedule(graph)
        assert caught.value.path == ("a", "b", "a")


def test_task_that_needs_itself():
    with pytest.raises(CycleError, match="a -> a"):
        order(load("a: a"))


def test_cycle_elsewhere_is_no_concern_of_the_target():
    graph = load("a: b\nx: y\ny: x\n")
    assert order(graph, ["a"]) == ["b", "a"]


def test_long_chain():
    graph = Graph()
    for number in range(20_000):
        graph.add(f"t{number}", [f"t{number + 1}"])
    assert order(graph)[0] == "t20000"
