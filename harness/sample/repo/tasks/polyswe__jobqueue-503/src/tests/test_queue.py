import threading

import pytest
from jobqueue import LeaseLost, UnknownJob


def test_jobs_are_handed_out_in_order(queue):
    queue.put("a", {"n": 1})
    queue.put("b")
    first, second = queue.lease("w"), queue.lease("w")
    assert (first.kind, first.payload, first.attempt) == ("a", {"n": 1}, 1)
    assert second.kind == "b"
    assert queue.lease("w") is None


def test_ack(queue):
    queue.put("a")
    lease = queue.lease("w")
    queue.ack(lease)
    assert queue.counts() == {"ready": 0, "leased": 0, "done": 1, "dead": 0}
    with pytest.raises(LeaseLost, match="w has lost job 1"):
        queue.ack(lease)


def test_nack_delays_and_the_delay_doubles(queue, clock):
    queue.put("a")
    for delay in (10, 20):
        queue.nack(queue.lease("w"), "boom")
        clock.advance(delay - 1)
        assert queue.lease("w") is None
        clock.advance(1)
    queue.nack(queue.lease("w"), "final boom")
    assert queue.dead() == {1: "final boom"}


def test_a_delayed_job_waits(queue, clock):
    queue.put("a", delay=5)
    assert queue.lease("w") is None
    clock.advance(5)
    assert queue.lease("w") is not None


def test_an_expired_lease_is_handed_to_the_next(queue, clock):
    queue.put("a")
    queue.lease("w1")
    clock.advance(59)
    assert queue.lease("w2") is None
    clock.advance(1)
    assert queue.lease("w2").attempt == 2


def test_heartbeat_keeps_the_lease(queue, clock):
    queue.put("a")
    lease = queue.lease("w1")
    clock.advance(40)
    assert queue.heartbeat(lease).expires_at == clock() + 60
    clock.advance(40)
    assert queue.lease("w2") is None


def test_a_late_ack_counts_while_nobody_else_has_the_job(queue, clock):
    queue.put("a")
    lease = queue.lease("w")
    clock.advance(300)
    queue.ack(lease)
    assert queue.counts()["done"] == 1


def test_a_job_whose_last_lease_runs_out_is_dead_until_revived(connect, clock):
    queue = connect(max_attempts=1)
    queue.put("a")
    queue.lease("w")
    clock.advance(60)
    assert queue.lease("w") is None
    assert queue.dead() == {1: "lease ran out"}
    queue.revive(1)
    assert queue.lease("w").attempt == 1
    with pytest.raises(UnknownJob):
        queue.revive(1)


def test_jobs_survive(connect):
    connect().put("a", {"n": 1})
    assert connect().lease("w").payload == {"n": 1}


def test_threads_never_get_the_same_job(connect):
    queues = [connect() for _ in range(3)]
    for _ in range(6):
        queues[0].put("a")
    start, got = threading.Barrier(3), []

    def take(queue):
        start.wait(timeout=60)
        got.extend(queue.lease("w").job_id for _ in range(2))

    threads = [threading.Thread(target=take, args=(queue,)) for queue in queues]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [1, 2, 3, 4, 5, 6]
