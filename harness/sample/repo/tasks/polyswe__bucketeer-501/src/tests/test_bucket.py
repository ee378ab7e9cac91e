import threading

import pytest
from bucketeer import ManualClock, Rate, TokenBucket


def make(rate="2/s", burst=5):
    clock = ManualClock()
    return TokenBucket(Rate.parse(rate), burst, clock), clock


def test_starts_full_and_runs_dry():
    bucket, _ = make()
    assert [bucket.try_take() for _ in range(6)] == [True] * 5 + [False]


def test_is_refilled_at_the_rate():
    bucket, clock = make("2/s")
    assert bucket.try_take(5)
    clock.advance(1.5)
    assert bucket.level() == 3


def test_never_holds_more_than_the_burst():
    bucket, clock = make("2/s")
    assert bucket.try_take(2)
    clock.advance(3600)
    assert bucket.level() == 5


def test_a_refused_request_takes_nothing():
    bucket, _ = make()
    assert bucket.try_take(3)
    assert not bucket.try_take(3)
    assert bucket.level() == 2


def test_wait_is_what_the_missing_tokens_take():
    bucket, clock = make("3/s")
    assert bucket.wait_ns(5) == 0
    assert bucket.try_take(5)
    assert bucket.wait_ns(1) == 333_333_334
    clock.sleep_ns(bucket.wait_ns(2))
    assert bucket.level() == 2


def test_requests_that_can_never_be_met():
    bucket, _ = make(burst=5)
    with pytest.raises(ValueError, match="between 1 and 5"):
        bucket.try_take(6)


def test_threads_share_what_is_there():
    bucket, _ = make(burst=10)
    start, granted = threading.Barrier(4), []

    def consume():
        start.wait()
        granted.append(sum(bucket.try_take() for _ in range(5)))

    threads = [threading.Thread(target=consume) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == 10
