import pytest

from hotcache import Cache, ValueTooLargeError


def test_least_recently_used_goes_first():
    cache = Cache(capacity=3)
    for key in "abc":
        cache.put(key, key.upper())
    cache.get("a")
    cache.put("d", "D")
    assert cache.keys() == ["c", "a", "d"]


def test_default_for_absent_keys():
    cache = Cache(capacity=1)
    assert cache.get("x") is None
    assert cache.get("x", 7) == 7
    assert "x" not in cache


def test_weights_decide_how_many_go():
    cache = Cache(capacity=10, weigher=len)
    cache.put("a", "aaa")
    cache.put("b", "bbb")
    cache.put("c", "ccc")
    cache.put("d", "dddddd")
    assert cache.keys() == ["c", "d"]
    assert cache.used == 9


def test_overwriting_releases_the_old_weight():
    cache = Cache(capacity=10, weigher=len)
    cache.put("a", "aaaaaaaa")
    cache.put("a", "aa")
    assert cache.used == 2
    cache.discard("a")
    assert cache.used == 0


def test_too_large_is_refused_and_leaves_no_old_value():
    cache = Cache(capacity=4, weigher=len)
    cache.put("a", "aa")
    with pytest.raises(ValueTooLargeError, match="'a'"):
        cache.put("a", "aaaaa")
    assert "a" not in cache
    assert cache.used == 0


def test_update_in_place_is_weighed_again():
    cache = Cache(capacity=10, weigher=len)
    cache.put("a", [1, 2])
    cache.update("a", lambda value: value.extend([3, 4, 5]))
    assert cache.used == 5
    with pytest.raises(KeyError):
        cache.update("b", list.clear)


def test_clear():
    cache = Cache(capacity=10, weigher=len)
    cache.put("a", "aaa")
    cache.put("b", "b")
    cache.clear()
    assert (len(cache), cache.used) == (0, 0)
