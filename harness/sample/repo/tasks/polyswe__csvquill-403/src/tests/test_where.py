import pytest
from csvquill.errors import ConditionError
from csvquill.table import Record, Table
from csvquill.where import Condition


def holds(text, *fields):
    table = Table(("name", "total"), iter(()))
    return Condition.parse(text).test(table)(Record(2, fields))


def test_text_operators():
    assert holds("name=Ada", "Ada", "1")
    assert not holds("name!=Ada", "Ada", "1")
    assert holds("name~d", "Ada", "1")


def test_numbers_compare_as_numbers():
    assert holds("total>=9", "Ada", "10")
    assert not holds("total<9", "Ada", "10")


def test_a_field_that_is_no_number_never_compares():
    assert not holds("total<9", "Ada", "n/a")


def test_unknown_column():
    with pytest.raises(ConditionError, match="no column 'age'"):
        holds("age=3", "Ada", "1")


def test_conditions_that_make_no_sense():
    for text in ("name", "=3", "total<ten"):
        with pytest.raises(ConditionError):
            Condition.parse(text)
