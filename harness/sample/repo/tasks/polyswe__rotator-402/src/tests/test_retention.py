from datetime import timedelta

import pytest
from rotator import RetentionPolicy, prune


def test_max_files_keeps_the_newest(live, archived, clock):
    old, older, new = archived(2), archived(3), archived(1)
    assert prune(live, RetentionPolicy(max_files=2), clock()) == [older]
    assert old.exists()
    assert new.exists()


def test_max_age(live, archived, clock):
    exactly, beyond = archived(7), archived(7.01)
    assert prune(live, RetentionPolicy(max_age=timedelta(days=7)), clock()) == [beyond]
    assert exactly.exists()


def test_max_total_bytes_drops_everything_older_than_the_first_misfit(live, archived, clock):
    small, big, newest = archived(3, size=5), archived(2, size=80), archived(1, size=30)
    assert prune(live, RetentionPolicy(max_total_bytes=100), clock()) == [small, big]
    assert newest.exists()


def test_no_limits_no_deletion(live, archived, clock):
    archived(1000)
    assert prune(live, RetentionPolicy(), clock()) == []


def test_negative_limits_are_refused():
    with pytest.raises(ValueError, match="max_files"):
        RetentionPolicy(max_files=-1)
