#!/bin/bash
set -uxo pipefail
cd /testbed
git config --global --add safe.directory /testbed
git status
git apply -v - <<'EOF_114329324912'
diff --git a/tests/test_month_ends.py b/tests/test_month_ends.py
new file mode 100644
index 0000000..ad7b260
--- /dev/null
+++ b/tests/test_month_ends.py
@@ -0,0 +1,113 @@
+from datetime import date, timedelta
+from itertools import islice
+
+import pytest
+from recurra import Series, occurrences, parse_rule
+
+
+def first(text, count, since=None):
+    return [str(day) for day in islice(occurrences(parse_rule(text), since), count)]
+
+
+def test_the_31st_comes_back_after_february():
+    assert first("every month from 2024-01-31", 5) == [
+        "2024-01-31",
+        "2024-02-29",
+        "2024-03-31",
+        "2024-04-30",
+        "2024-05-31",
+    ]
+
+
+def test_the_30th_is_not_the_end_of_the_month():
+    assert first("every month from 2024-01-30", 3) == ["2024-01-30", "2024-02-29", "2024-03-30"]
+    assert first("every month from 2024-04-30", 3) == ["2024-04-30", "2024-05-30", "2024-06-30"]
+
+
+def test_the_28th_of_february_is_not_the_end_of_the_month():
+    assert first("every month from 2023-02-28", 3) == ["2023-02-28", "2023-03-28", "2023-04-28"]
+
+
+def test_leap_day_comes_back():
+    assert first("every year from 2024-02-29", 5) == [
+        "2024-02-29",
+        "2025-02-28",
+        "2026-02-28",
+        "2027-02-28",
+        "2028-02-29",
+    ]
+
+
+def test_several_months():
+    assert first("every 3 months from 2023-11-30", 4) == ["2023-11-30", "2024-02-29", "2024-05-30", "2024-08-30"]
+
+
+def test_weekends_do_not_move_what_follows():
+    assert first("every month from 2024-06-15, weekends forward", 4) == [
+        "2024-06-17",
+        "2024-07-15",
+        "2024-08-15",
+        "2024-09-16",
+    ]
+    assert first("every month from 2024-06-01, weekends back", 3) == ["2024-05-31", "2024-07-01", "2024-08-01"]
+
+
+def test_weekend_at_the_end_of_a_month():
+    assert first("every month from 2024-07-31, weekends forward", 4) == [
+        "2024-07-31",
+        "2024-09-02",
+        "2024-09-30",
+        "2024-10-31",
+    ]
+
+
+def test_weekly_on_saturdays():
+    assert first("every week from 2024-06-15, weekends back", 3) == ["2024-06-14", "2024-06-21", "2024-06-28"]
+
+
+def test_working_days_are_counted_once():
+    assert first("every day from 2024-06-14, weekends back, 4 times", 9) == [
+        "2024-06-14",
+        "2024-06-17",
+        "2024-06-18",
+        "2024-06-19",
+    ]
+    assert first("every day from 2024-06-15, weekends forward", 3) == ["2024-06-17", "2024-06-18", "2024-06-19"]
+
+
+def test_until_looks_at_the_reported_date():
+    assert first("every month from 2024-07-31, weekends forward, until 2024-09-01", 9) == ["2024-07-31"]
+
+
+def test_times_counts_no_skipped_months():
+    assert first("every month from 2024-01-31, skip short months, 3 times", 9) == [
+        "2024-01-31",
+        "2024-03-31",
+        "2024-05-31",
+    ]
+
+
+def test_starting_in_the_middle():
+    assert first("every month from 2024-01-31", 2, since=date(2025, 2, 10)) == ["2025-02-28", "2025-03-31"]
+    assert first("every year from 2024-02-29", 2, since=date(2027, 1, 1)) == ["2027-02-28", "2028-02-29"]
+
+
+@pytest.fixture
+def rules():
+    return [
+        "every month from 2023-01-31, weekends forward",
+        "every month from 2023-01-31, weekends back",
+        "every month from 2023-01-30, weekends forward, skip short months",
+        "every 2 weeks from 2023-01-07, weekends forward",
+        "every day from 2023-01-07, weekends back",
+    ]
+
+
+def test_next_after_agrees_with_the_whole_list(rules):
+    for text in rules:
+        rule = parse_rule(text)
+        dates = list(islice(occurrences(rule), 900))
+        series = Series(rule)
+        for offset in range(800):
+            day = date(2022, 12, 30) + timedelta(days=offset)
+            assert series.next_after(day) == next(later for later in dates if later > day), text
EOF_114329324912
: '>>>>> Start Test Output'
python3 -m pytest -rA --tb=short -p no:cacheprovider tests/test_grammar.py tests/test_month_ends.py tests/test_occurrences.py
: '>>>>> End Test Output'
rm -f tests/test_month_ends.py
