#!/bin/bash
set -uxo pipefail
cd /testbed
git config --global --add safe.directory /testbed
git status
git apply -v - <<'EOF_114329324912'
diff --git a/tests/test_lost_leases.py b/tests/test_lost_leases.py
new file mode 100644
index 0000000..abb4462
--- /dev/null
+++ b/tests/test_lost_leases.py
@@ -0,0 +1,123 @@
+import pytest
+from jobqueue import LeaseLost, Outcome, Worker
+
+
+@pytest.fixture
+def handed_on(queue, clock):
+    """Two leases of the same job, the first of which ran out; both workers have the same name."""
+    queue.put("a")
+    first = queue.lease("host")
+    clock.advance(60)
+    return first, queue.lease("host")
+
+
+def test_late_ack_of_another_worker(queue, clock):
+    queue.put("a")
+    slow = queue.lease("host-a")
+    clock.advance(61)
+    fast = queue.lease("host-b")
+    with pytest.raises(LeaseLost, match="host-a has lost job 1"):
+        queue.ack(slow)
+    assert queue.counts()["leased"] == 1
+    queue.ack(fast)
+    assert queue.counts()["done"] == 1
+
+
+def test_late_ack_of_a_namesake(queue, handed_on):
+    late, current = handed_on
+    with pytest.raises(LeaseLost):
+        queue.ack(late)
+    assert queue.counts()["leased"] == 1
+    queue.ack(current)
+
+
+def test_late_nack_changes_nothing(queue, clock, handed_on):
+    late, current = handed_on
+    with pytest.raises(LeaseLost):
+        queue.nack(late, "late")
+    clock.advance(30)
+    assert queue.lease("host") is None
+    queue.nack(current, "boom")
+    assert queue.counts()["ready"] == 1
+
+
+def test_late_heartbeat_changes_nothing(queue, clock, handed_on):
+    late, _ = handed_on
+    clock.advance(40)
+    with pytest.raises(LeaseLost):
+        queue.heartbeat(late)
+    clock.advance(20)
+    assert queue.lease("host").attempt == 3
+
+
+def test_a_lease_survives_its_heartbeats(queue, clock, handed_on):
+    _, current = handed_on
+    for _ in range(3):
+        clock.advance(40)
+        current = queue.heartbeat(current)
+    queue.ack(current)
+    assert queue.counts()["done"] == 1
+
+
+def test_a_lease_from_before_a_nack_is_lost(queue, clock):
+    queue.put("a")
+    first = queue.lease("host")
+    queue.nack(first)
+    clock.advance(10)
+    queue.lease("host")
+    with pytest.raises(LeaseLost):
+        queue.ack(first)
+    assert queue.counts()["leased"] == 1
+
+
+def test_a_lease_from_before_a_revival_is_lost(connect, clock):
+    queue = connect(max_attempts=1)
+    queue.put("a")
+    buried = queue.lease("host")
+    clock.advance(60)
+    assert queue.lease("host") is None
+    queue.revive(buried.job_id)
+    current = queue.lease("host")
+    for use in (queue.ack, queue.nack, queue.heartbeat):
+        with pytest.raises(LeaseLost):
+            use(buried)
+    assert queue.counts()["leased"] == 1
+    queue.ack(current)
+
+
+def test_a_lease_holds_across_processes(connect, clock):
+    connect().put("a")
+    slow = connect().lease("host")
+    clock.advance(60)
+    fast = connect().lease("host")
+    with pytest.raises(LeaseLost):
+        connect().ack(slow)
+    connect().ack(fast)
+    assert connect().counts()["done"] == 1
+
+
+def test_a_late_nack_counts_while_nobody_else_has_the_job(queue, clock):
+    queue.put("a")
+    lease = queue.lease("host")
+    clock.advance(300)
+    queue.nack(lease, "boom")
+    assert queue.counts()["ready"] == 1
+
+
+def test_a_slow_handler_leaves_the_job_to_the_other(queue, clock):
+    taken = []
+
+    def slow(_):
+        clock.advance(60)
+        taken.append(queue.lease("w"))
+
+    def slow_and_bad(_):
+        slow(_)
+        raise RuntimeError
+
+    worker = Worker(queue, "w", {"slow": slow, "bad": slow_and_bad})
+    for kind in ("slow", "bad"):
+        queue.put(kind)
+        assert worker.run_one() is Outcome.LOST
+        assert queue.counts()["leased"] == 1
+        queue.ack(taken.pop())
EOF_114329324912
: '>>>>> Start Test Output'
python3 -m pytest -rA --tb=short -p no:cacheprovider tests/test_lost_leases.py tests/test_queue.py tests/test_worker.py
: '>>>>> End Test Output'
rm -f tests/test_lost_leases.py
