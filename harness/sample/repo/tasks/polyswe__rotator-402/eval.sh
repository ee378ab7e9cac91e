#!/bin/bash
set -uxo pipefail
cd /testbed
git config --global --add safe.directory /testbed
git checkout HEAD -- tests/test_retention.py tests/test_rotation.py
git apply -v - <<'EOF_114329324912'
diff --git a/tests/test_retention.py b/tests/test_retention.py
index 40913a8..b9f2bbd 100644
--- a/tests/test_retention.py
+++ b/tests/test_retention.py
@@ -1,3 +1,4 @@
+import os
 from datetime import timedelta
 
 import pytest
@@ -31,3 +32,61 @@ def test_no_limits_no_deletion(live, archived, clock):
 def test_negative_limits_are_refused():
     with pytest.raises(ValueError, match="max_files"):
         RetentionPolicy(max_files=-1)
+
+
+def restore(*paths):
+    """Gives the files the times that a restore in the order of `paths` leaves behind."""
+    for second, path in enumerate(paths):
+        os.utime(path, (1_740_830_400 + second, 1_740_830_400 + second))
+
+
+def test_max_files_after_a_restore(live, archived, clock):
+    oldest, middle, newest = archived(3), archived(2), archived(1)
+    restore(newest, oldest, middle)
+    assert prune(live, RetentionPolicy(max_files=1), clock()) == [oldest, middle]
+
+
+def test_max_age_after_a_restore(live, archived, clock):
+    january, february = archived(40), archived(20)
+    restore(january, february)
+    assert prune(live, RetentionPolicy(max_age=timedelta(days=30)), clock()) == [january]
+
+
+def test_max_age_does_not_ask_how_long_the_log_was_quiet(live, archived, clock):
+    path = archived(1)
+    os.utime(path, (1_700_000_000, 1_700_000_000))
+    assert prune(live, RetentionPolicy(max_age=timedelta(days=30)), clock()) == []
+
+
+def test_max_total_bytes_after_a_restore(live, archived, clock):
+    oldest, middle, newest = archived(3, size=60), archived(2, size=60), archived(1, size=30)
+    restore(middle, newest, oldest)
+    assert prune(live, RetentionPolicy(max_total_bytes=100), clock()) == [oldest]
+
+
+def test_archives_of_one_second_are_ordered_by_number(live, archived, clock):
+    first = archived(1)
+    others = [first.with_name(f"{first.name}-{number}") for number in range(1, 12)]
+    for path in others:
+        path.write_bytes(b"x")
+    for path in (first, *others):
+        restore(path)
+    assert prune(live, RetentionPolicy(max_files=2), clock()) == [first, *others[:-2]]
+
+
+def test_a_compressed_archive_is_as_old_as_its_name(live, archived, clock):
+    first = archived(1)
+    second = first.with_name(f"{first.name}-1.gz")
+    third = first.with_name(f"{first.name}-2")
+    for path in (second, third):
+        path.write_bytes(b"x")
+    restore(third, second, first)
+    assert prune(live, RetentionPolicy(max_files=1), clock()) == [first, second]
+
+
+def test_strangers_stay(live, archived, clock):
+    stranger = live.with_name("app.log.audit.20240101T000000")
+    stranger.write_bytes(b"x")
+    old = archived(400)
+    assert prune(live, RetentionPolicy(max_files=0), clock()) == [old]
+    assert stranger.exists()
diff --git a/tests/test_rotation.py b/tests/test_rotation.py
index 4644a53..0babee2 100644
--- a/tests/test_rotation.py
+++ b/tests/test_rotation.py
@@ -1,4 +1,6 @@
 import gzip
+import os
+from datetime import timedelta
 
 from rotator import RetentionPolicy, Rotator
 
@@ -44,3 +46,23 @@ def test_rotation_applies_the_policy(live, clock):
     log.write("gone\n")
     log.rotate()
     assert names(live) == []
+
+
+def test_the_newest_archive_survives_the_compression_of_the_one_before(live, clock):
+    log = Rotator(live, max_bytes=100, policy=RetentionPolicy(max_files=1), compress=True, clock=clock)
+    for text in ("first day", "second day", "third day"):
+        clock.advance(days=1)
+        log.write(text)
+        os.utime(live, (clock().timestamp() - 3600, clock().timestamp() - 3600))
+        kept = log.rotate()
+        assert names(live) == [kept.name]
+        assert kept.read_text() == text
+
+
+def test_compressed_archives_grow_old(live, clock):
+    log = Rotator(live, max_bytes=100, policy=RetentionPolicy(max_age=timedelta(days=2)), compress=True, clock=clock)
+    for text in ("a", "b", "c", "d", "e"):
+        log.write(text)
+        log.rotate()
+        clock.advance(days=1)
+    assert names(live) == ["app.log.20250303T120000.gz", "app.log.20250304T120000.gz", "app.log.20250305T120000"]
EOF_114329324912
: '>>>>> Start Test Output'
python3 -m pytest -rA --tb=short -p no:cacheprovider tests/test_naming.py tests/test_retention.py tests/test_rotation.py
: '>>>>> End Test Output'
git checkout HEAD -- tests/test_retention.py tests/test_rotation.py
