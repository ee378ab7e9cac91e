from jobqueue import Outcome, Worker


def test_rounds(queue):
    seen = []
    worker = Worker(queue, "w", {"good": seen.append, "bad": lambda _: 1 / 0})
    queue.put("good", {"n": 1})
    queue.put("bad")
    assert [worker.run_one() for _ in range(3)] == [Outcome.DONE, Outcome.FAILED, Outcome.IDLE]
    assert seen == [{"n": 1}]
    assert queue.counts() == {"ready": 1, "leased": 0, "done": 1, "dead": 0}


def test_a_job_somebody_else_has_done_is_lost(queue, clock):
    def slow(_):
        clock.advance(60)
        queue.ack(queue.lease("other"))

    queue.put("slow")
    assert Worker(queue, "w", {"slow": slow}).run_one() is Outcome.LOST
    assert queue.counts()["done"] == 1
