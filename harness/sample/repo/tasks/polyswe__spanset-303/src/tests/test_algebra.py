from spanset import EMPTY, REALS, parse


def test_union_merges_what_overlaps_or_touches():
    assert str(parse("[1,3) | [2,5)")) == "[1,5)"
    assert str(parse("[1,3) | [3,5)")) == "[1,5)"
    assert str(parse("[7,8] | [1,2]")) == "[1,2] | [7,8]"


def test_a_span_within_another():
    assert str(parse("[1,9] | [3,4]")) == "[1,9]"


def test_intersection():
    assert str(parse("[0,5] | [8,12)") & parse("[3,9]")) == "[3,5] | [8,9]"
    assert parse("[0,1)") & parse("[2,3)") == EMPTY


def test_complement():
    assert str(~parse("[9,12) | [13,17]")) == "(-inf,9) | [12,13) | (17,inf)"
    assert ~EMPTY == REALS
    assert ~REALS == EMPTY


def test_difference():
    assert str(parse("[9,12)") - parse("[10,11]")) == "[9,10) | (11,12)"
    assert parse("[1,2]") - parse("[0,5]") == EMPTY


def test_symmetric_difference():
    assert str(parse("[0,4)") ^ parse("[2,6)")) == "[0,2) | [4,6)"


def test_subset():
    assert parse("[1,2]") <= parse("[0,3]")
    assert not parse("[1,4]") <= parse("[0,3]")


def test_measure():
    assert parse("[0,1/2) | {3} | (5,7]").measure == 2.5
