#!/bin/bash
set -uxo pipefail
cd /testbed
git config --global --add safe.directory /testbed
git status
git apply -v - <<'EOF_114329324912'
diff --git a/tests/test_accounting.py b/tests/test_accounting.py
new file mode 100644
index 0000000..9e35e58
--- /dev/null
+++ b/tests/test_accounting.py
@@ -0,0 +1,117 @@
+"""The books must not depend on what callers do to values they were given."""
+
+import pytest
+
+from hotcache import Cache, ManualClock, ValueTooLargeError
+
+
+def grown_and_shrunk(**kwargs):
+    cache = Cache(capacity=20, weigher=len, **kwargs)
+    cache.put("still", [0] * 4)
+    cache.put("grown", [1, 2, 3])
+    cache.put("shrunk", [1, 2, 3, 4, 5])
+    cache.get("grown").extend(range(6))
+    cache.get("shrunk").clear()
+    return cache
+
+
+def test_discard_after_growth():
+    cache = Cache(capacity=100, weigher=len)
+    cache.put("rows", [1, 2, 3])
+    cache.get("rows").extend([4, 5])
+    cache.discard("rows")
+    assert cache.used == 0
+
+
+def test_other_entries_keep_their_weight():
+    cache = grown_and_shrunk()
+    assert cache.used == 12
+    cache.discard("grown")
+    assert cache.used == 9
+    cache.discard("shrunk")
+    assert cache.used == 4
+    cache.discard("still")
+    assert cache.used == 0
+
+
+def test_overwriting_a_grown_value():
+    cache = grown_and_shrunk()
+    cache.put("grown", [1])
+    assert cache.used == 10
+    cache.put("shrunk", [1])
+    assert cache.used == 6
+
+
+def test_update_after_growth_weighs_once():
+    cache = grown_and_shrunk()
+    cache.update("grown", lambda rows: rows.append("last"))
+    assert cache.used == 4 + 5 + 10
+    cache.discard("grown")
+    assert cache.used == 9
+
+
+def test_update_that_outgrows_the_cache():
+    cache = grown_and_shrunk()
+    with pytest.raises(ValueTooLargeError):
+        cache.update("grown", lambda rows: rows.extend(range(30)))
+    assert "grown" not in cache
+    assert cache.used == 9
+
+
+def test_expiry_after_growth():
+    clock = ManualClock()
+    cache = grown_and_shrunk(clock=clock, ttl=10)
+    clock.advance(5)
+    cache.put("fresh", [1, 2])
+    clock.advance(5)
+    assert cache.expire() == 3
+    assert cache.used == 2
+
+
+def test_clear_after_growth():
+    cache = grown_and_shrunk()
+    cache.clear()
+    assert cache.used == 0
+    cache.put("full", [0] * 20)
+    assert cache.used == 20
+
+
+def test_capacity_eviction_uses_the_booked_weight():
+    cache = Cache(capacity=10, weigher=len)
+    cache.put("a", [1] * 4)
+    cache.put("b", [2] * 4)
+    cache.get("a").clear()
+    cache.get("b")
+    cache.put("c", [3] * 6)
+    assert cache.keys() == ["b", "c"]
+    assert cache.used == 10
+
+
+def test_values_are_weighed_only_when_handed_over():
+    weighed = []
+
+    def weigher(value):
+        weighed.append(value)
+        return len(value)
+
+    cache = Cache(capacity=10, weigher=weigher)
+    cache.put("a", "aaaa")
+    cache.put("b", "bbbb")
+    seen = len(weighed)
+    cache.get("a")
+    cache.discard("a")
+    cache.clear()
+    assert len(weighed) == seen
+
+
+def test_reused_list_under_two_keys():
+    cache = Cache(capacity=10, weigher=len)
+    shared = [1, 2]
+    cache.put("a", shared)
+    shared.append(3)
+    cache.put("b", shared)
+    assert cache.used == 5
+    cache.discard("b")
+    assert cache.used == 2
+    cache.discard("a")
+    assert cache.used == 0
EOF_114329324912
: '>>>>> Start Test Output'
python3 -m pytest -rA --tb=short -p no:cacheprovider tests/test_accounting.py tests/test_expiry.py tests/test_lru.py
: '>>>>> End Test Output'
rm -f tests/test_accounting.py
