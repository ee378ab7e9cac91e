from hotcache import Cache, ManualClock


def test_expired_entries_are_not_served_and_release_their_weight():
    clock = ManualClock()
    cache = Cache(capacity=10, weigher=len, ttl=60, clock=clock)
    cache.put("a", "aaaa")
    clock.advance(59)
    assert cache.get("a") == "aaaa"
    clock.advance(1)
    assert cache.get("a") is None
    assert cache.used == 0


def test_own_ttl():
    clock = ManualClock()
    cache = Cache(capacity=2, ttl=60, clock=clock)
    cache.put("short", 1, ttl=5)
    cache.put("long", 2)
    clock.advance(10)
    assert cache.keys() == ["long"]


def test_expired_entries_make_room_before_live_ones():
    clock = ManualClock()
    cache = Cache(capacity=2, clock=clock)
    cache.put("live", 1)
    cache.put("stale", 2, ttl=1)
    clock.advance(2)
    cache.put("new", 3)
    assert cache.keys() == ["live", "new"]


def test_listeners_hear_the_reason():
    heard = []
    clock = ManualClock()
    cache = Cache(capacity=1, clock=clock)
    cache.on_evicted(lambda key, value, reason: heard.append((key, reason)))
    cache.put("a", 1)
    cache.put("b", 2, ttl=1)
    clock.advance(1)
    cache.expire()
    assert heard == [("a", "capacity"), ("b", "expired")]
