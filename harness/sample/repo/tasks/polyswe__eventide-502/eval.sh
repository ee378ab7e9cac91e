#!/bin/bash
set -uxo pipefail
cd /testbed
git config --global --add safe.directory /testbed
git status
git apply -v - <<'EOF_114329324912'
diff --git a/tests/test_delivery.py b/tests/test_delivery.py
new file mode 100644
index 0000000..4e30f0a
--- /dev/null
+++ b/tests/test_delivery.py
@@ -0,0 +1,199 @@
+import threading
+from contextlib import contextmanager
+
+import pytest
+from eventide import DispatchError, EventBus
+
+PATIENCE = 10
+
+
+@pytest.fixture
+def bus():
+    return EventBus()
+
+
+@pytest.fixture
+def calls():
+    return []
+
+
+@contextmanager
+def held_up(target, entered, leave):
+    """Runs `target` in a thread as far as `entered`; at the end of the block, lets it leave and waits for it."""
+    thread = threading.Thread(target=target, daemon=True)
+    thread.start()
+    try:
+        assert entered.wait(PATIENCE)
+        yield
+    finally:
+        leave.set()
+        thread.join(PATIENCE)
+
+
+def test_neighbouring_once_handlers_are_all_called(bus, calls):
+    for name in ("a", "b", "c"):
+        bus.once("t", lambda _, name=name: calls.append(name))
+    bus.subscribe("t", lambda _: calls.append("d"))
+    assert bus.publish("t") == 4
+    assert bus.publish("t") == 1
+    assert calls == ["a", "b", "c", "d", "d"]
+
+
+def test_cancelling_oneself_skips_nobody(bus, calls):
+    def leave(_):
+        calls.append("leave")
+        own.cancel()
+
+    own = bus.subscribe("t", leave)
+    bus.subscribe("t", lambda _: calls.append("stay"))
+    bus.publish("t")
+    bus.publish("t")
+    assert calls == ["leave", "stay", "stay"]
+
+
+def test_cancelling_an_earlier_handler_skips_nobody(bus, calls):
+    first = bus.subscribe("t", lambda _: calls.append("first"))
+    bus.subscribe("t", lambda _: first.cancel())
+    bus.subscribe("t", lambda _: calls.append("third"))
+    bus.publish("t")
+    assert calls == ["first", "third"]
+
+
+def test_a_cancelled_handler_does_not_get_the_event_under_way(bus, calls):
+    bus.subscribe("t", lambda _: later.cancel())
+    later = bus.subscribe("t", lambda _: calls.append("later"))
+    bus.subscribe("t", lambda _: calls.append("last"))
+    assert bus.publish("t") == 2
+    assert calls == ["last"]
+
+
+def test_a_cancelled_once_handler_is_not_called(bus, calls):
+    bus.subscribe("t", lambda _: later.cancel())
+    later = bus.once("t", lambda _: calls.append("later"))
+    bus.publish("t")
+    assert calls == []
+
+
+def test_new_subscriptions_do_not_get_the_event_under_way(bus, calls):
+    def join(_):
+        if len(bus) == 1:
+            bus.subscribe("t", lambda event: calls.append(event.payload))
+
+    bus.subscribe("t", join)
+    assert bus.publish("t", 1) == 1
+    assert bus.publish("t", 2) == 2
+    assert calls == [2]
+
+
+def test_a_new_subscription_of_higher_priority_repeats_nobody(bus, calls):
+    def join(_):
+        calls.append("join")
+        if len(calls) < 5:
+            bus.subscribe("*", lambda _: calls.append("urgent"), priority=9)
+
+    bus.subscribe("t", join)
+    assert bus.publish("t") == 1
+    assert calls == ["join"]
+
+
+def test_new_subscriptions_get_events_published_from_handlers(bus, calls):
+    def plug_in(_):
+        bus.subscribe("loaded", lambda event: calls.append(event.payload))
+        bus.publish("loaded", "nested")
+
+    bus.subscribe("load", plug_in)
+    bus.publish("load")
+    assert calls == ["nested"]
+
+
+def test_a_new_subscription_gets_a_nested_event_on_the_same_topic(bus, calls):
+    def plug_in(event):
+        if event.payload == "outer":
+            bus.subscribe("t", lambda event: calls.append(event.payload))
+            bus.publish("t", "inner")
+
+    bus.subscribe("t", plug_in)
+    bus.publish("t", "outer")
+    assert calls == ["inner"]
+
+
+def test_a_once_handler_may_publish_on_its_own_topic(bus, calls):
+    def again(event):
+        calls.append(event.payload)
+        if event.payload < 3:
+            bus.publish("t", event.payload + 1)
+
+    bus.once("t", again)
+    assert bus.publish("t", 0) == 1
+    assert calls == [0]
+    assert len(bus) == 0
+
+
+def test_a_once_handler_is_used_up_by_a_nested_event(bus, calls):
+    def nest(event):
+        if event.payload == "outer":
+            bus.publish("t", "inner")
+
+    bus.subscribe("t", nest)
+    bus.once("t", lambda event: calls.append(event.payload))
+    assert bus.publish("t", "outer") == 1
+    assert calls == ["inner"]
+
+
+def test_a_once_handler_that_raises_is_used_up(bus, calls):
+    def fail(_):
+        calls.append("fail")
+        raise RuntimeError
+
+    bus.once("t", fail)
+    bus.once("t", fail)
+    with pytest.raises(DispatchError) as caught:
+        bus.publish("t")
+    assert len(caught.value.errors) == 2
+    assert bus.publish("t") == 0
+
+
+def test_a_once_handler_that_is_running_is_not_entered_by_another_thread(bus, calls):
+    entered, leave = threading.Event(), threading.Event()
+
+    def slow(event):
+        calls.append(event.payload)
+        if event.payload == 1:
+            entered.set()
+            leave.wait(PATIENCE)
+
+    bus.once("t", slow)
+    with held_up(lambda: bus.publish("t", 1), entered, leave):
+        assert bus.publish("t", 2) == 0
+    assert calls == [1]
+
+
+def test_a_once_handler_taken_by_another_thread_is_skipped(bus, calls):
+    entered, leave = threading.Event(), threading.Event()
+
+    def hold(event):
+        if event.payload == 1:
+            entered.set()
+            leave.wait(PATIENCE)
+
+    bus.subscribe("t", hold)
+    bus.once("t", lambda event: calls.append(event.payload))
+    with held_up(lambda: calls.append(("called", bus.publish("t", 1))), entered, leave):
+        assert bus.publish("t", 2) == 2
+    assert calls == [2, ("called", 1)]
+
+
+def test_another_thread_changes_the_bus_while_a_handler_runs(bus, calls):
+    entered, leave = threading.Event(), threading.Event()
+
+    def hold(event):
+        entered.set()
+        leave.wait(PATIENCE)
+
+    bus.subscribe("slow", hold)
+    doomed = bus.subscribe("slow", lambda _: calls.append("doomed"))
+    with held_up(lambda: bus.publish("slow"), entered, leave):
+        doomed.cancel()
+        bus.subscribe("quick", lambda _: calls.append("quick"))
+        assert bus.publish("quick") == 1
+    assert calls == ["quick"]
EOF_114329324912
: '>>>>> Start Test Output'
python3 -m pytest -rA --tb=short -p no:cacheprovider tests/test_bus.py tests/test_delivery.py tests/test_topics.py
: '>>>>> End Test Output'
rm -f tests/test_delivery.py
