import pytest
from bucketeer import AcquireTimeout, KeyState, Limiter, ManualClock, Rate


def make(rate="10/s", burst=2):
    clock = ManualClock()
    return Limiter(Rate.parse(rate), burst, clock), clock


def test_keys_do_not_share():
    limiter, _ = make()
    assert limiter.try_acquire("a", 2)
    assert not limiter.try_acquire("a")
    assert limiter.try_acquire("b")


def test_acquire_waits():
    limiter, clock = make()
    for _ in range(4):
        limiter.acquire("a")
    assert clock.now_ns() == 200_000_000


def test_acquire_gives_up_at_once():
    limiter, clock = make()
    limiter.acquire("a", 2)
    with pytest.raises(AcquireTimeout) as caught:
        limiter.acquire("a", 2, timeout=0.1)
    assert caught.value.wait_ns == 200_000_000
    assert clock.now_ns() == 0


def test_snapshot():
    limiter, _ = make()
    limiter.try_acquire("a", 2)
    limiter.try_acquire("b")
    assert limiter.snapshot() == {"a": KeyState(0, 2, 0.1), "b": KeyState(1, 2, 0.0)}


def test_full_buckets_are_forgotten():
    limiter, clock = make()
    limiter.try_acquire("a")
    limiter.try_acquire("b", 2)
    clock.advance(0.1)
    assert limiter.forget_idle() == 1
    assert list(limiter.snapshot()) == ["b"]
