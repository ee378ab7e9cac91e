#!/bin/bash
set -uxo pipefail
cd /testbed
git config --global --add safe.directory /testbed
git status
git apply -v - <<'EOF_114329324912'
diff --git a/tests/test_sharing.py b/tests/test_sharing.py
new file mode 100644
index 0000000..7a79455
--- /dev/null
+++ b/tests/test_sharing.py
@@ -0,0 +1,119 @@
+import threading
+
+from bucketeer import KeyState, Limiter, ManualClock, Rate, TokenBucket
+
+
+def make(rate, burst):
+    clock = ManualClock()
+    limiter = Limiter(Rate.parse(rate), burst, clock)
+    limiter.acquire("k", burst)
+    return limiter, clock
+
+
+def granted(limiter, clock, steps, seconds, consumers=1):
+    """Tokens that go to consumers who all ask once after each step."""
+    total = 0
+    for _ in range(steps):
+        clock.advance(seconds)
+        total += sum(limiter.try_acquire("k") for _ in range(consumers))
+    return total
+
+
+def test_snapshots_cost_nothing():
+    limiter, clock = make("10/s", 5)
+    for _ in range(50):
+        clock.advance(0.02)
+        limiter.snapshot()
+    assert limiter.try_acquire("k")
+    assert limiter.snapshot() == {"k": KeyState(4, 5, 0.0)}
+
+
+def test_impatient_consumers_get_the_rate():
+    limiter, clock = make("10/s", 5)
+    assert granted(limiter, clock, steps=1000, seconds=0.01, consumers=8) == 100
+
+
+def test_steps_longer_than_a_token_lose_nothing():
+    limiter, clock = make("10/s", 5)
+    assert granted(limiter, clock, steps=100, seconds=0.15, consumers=4) == 150
+
+
+def test_rates_that_do_not_divide_a_second():
+    limiter, clock = make("3/s", 2)
+    assert granted(limiter, clock, steps=7000, seconds=0.1) == 2100
+    limiter, clock = make("7/min", 2)
+    assert granted(limiter, clock, steps=600, seconds=1) == 70
+
+
+def test_asking_how_long_costs_nothing():
+    limiter, clock = make("1/s", 3)
+    for _ in range(9):
+        clock.advance(0.1)
+        limiter.retry_after("k")
+        limiter.forget_idle()
+    clock.advance(0.1)
+    assert limiter.try_acquire("k")
+
+
+def test_retry_after_counts_what_is_there_of_a_token():
+    limiter, clock = make("1/s", 3)
+    clock.advance(0.7)
+    assert not limiter.try_acquire("k")
+    assert limiter.retry_after("k") == 0.3
+    assert limiter.retry_after("k", 2) == 1.3
+    clock.advance(0.8)
+    assert limiter.retry_after("k", 2) == 0.5
+
+
+def test_acquire_sleeps_no_longer_than_it_has_to():
+    limiter, clock = make("1/s", 3)
+    clock.advance(0.6)
+    assert not limiter.try_acquire("k")
+    limiter.acquire("k", timeout=0.4)
+    assert clock.now_ns() == 1_000_000_000
+
+
+def test_a_full_bucket_saves_nothing_up():
+    limiter, clock = make("1/s", 2)
+    clock.advance(2.9)
+    assert limiter.try_acquire("k", 2)
+    clock.advance(0.2)
+    assert not limiter.try_acquire("k")
+    assert limiter.retry_after("k") == 0.8
+
+
+def test_burst_plus_rate_is_never_exceeded():
+    limiter, clock = make("3/s", 4)
+    clock.advance(100)
+    assert granted(limiter, clock, steps=1000, seconds=0.033, consumers=3) == 102  # 4 + 99 less what the first step adds to a full bucket
+
+
+def test_a_taken_token_leaves_the_rest_of_the_next_one():
+    limiter, clock = make("2/s", 2)
+    clock.advance(0.75)
+    assert limiter.try_acquire("k")
+    clock.advance(0.25)
+    assert limiter.try_acquire("k")
+    assert limiter.retry_after("k") == 0.5
+
+
+def test_threads_that_ask_all_the_time():
+    clock = ManualClock()
+    bucket = TokenBucket(Rate.parse("10/s"), 5, clock)
+    assert bucket.try_take(5)
+    threads, rounds, taken = 4, 100, []
+    together = threading.Barrier(threads, action=lambda: clock.advance(0.01))
+
+    def consume():
+        mine = 0
+        for _ in range(rounds):
+            together.wait(timeout=10)
+            mine += bucket.try_take()
+        taken.append(mine)
+
+    consumers = [threading.Thread(target=consume) for _ in range(threads)]
+    for consumer in consumers:
+        consumer.start()
+    for consumer in consumers:
+        consumer.join()
+    assert sum(taken) == 10
EOF_114329324912
: '>>>>> Start Test Output'
python3 -m pytest -rA --tb=short -p no:cacheprovider tests/test_bucket.py tests/test_limiter.py tests/test_rate.py tests/test_sharing.py
: '>>>>> End Test Output'
rm -f tests/test_sharing.py
